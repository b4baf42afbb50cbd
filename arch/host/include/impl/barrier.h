/* The device is another thread, or code that runs inside ours. */
#ifndef IMPL_BARRIER_H
#define IMPL_BARRIER_H

#define barrier_compiler() __asm__ volatile("" ::: "memory")

#if defined(__SANITIZE_THREAD__)
#define HOST_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HOST_TSAN 1
#endif
#endif

#ifdef HOST_TSAN
/* The thread sanitizer knows no fences, but atomic accesses: both sides meet at this word, which orders more than a fence. */
extern unsigned host_barrier_word;
#define host_fence(order) ((void)__atomic_fetch_add(&host_barrier_word, 1, __ATOMIC_SEQ_CST))
#else
#define host_fence(order) __atomic_thread_fence(order)
#endif

#define virt_mb() host_fence(__ATOMIC_SEQ_CST)
#define virt_rmb() host_fence(__ATOMIC_ACQUIRE)
#define virt_wmb() host_fence(__ATOMIC_RELEASE)
#define io_mb() virt_mb()
#define io_rmb() virt_rmb()
#define io_wmb() virt_wmb()

#endif
