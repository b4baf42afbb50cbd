/* The device is another thread, or code that runs inside ours. */
#ifndef IMPL_BARRIER_H
#define IMPL_BARRIER_H

#define barrier_compiler() __asm__ volatile("" ::: "memory")

/* A test may look at memory, and change it, at each barrier: what was stored before, what is loaded after. Not with the thread sanitizer. */
enum host_barrier { HOST_VIRT_MB, HOST_VIRT_RMB, HOST_VIRT_WMB, HOST_IO_MB, HOST_IO_RMB, HOST_IO_WMB };
extern void (*host_barrier_hook)(enum host_barrier barrier);

#ifdef HOST_TSAN
#define virt_mb() host_tsan_mb()
#define virt_rmb() host_tsan_rmb()
#define virt_wmb() host_tsan_wmb()
#define io_mb() virt_mb()
#define io_rmb() virt_rmb()
#define io_wmb() virt_wmb()
#else
#define host_fence(barrier, order) (__atomic_thread_fence(order), host_barrier_hook ? host_barrier_hook(barrier) : (void)0)
#define virt_mb() host_fence(HOST_VIRT_MB, __ATOMIC_SEQ_CST)
#define virt_rmb() host_fence(HOST_VIRT_RMB, __ATOMIC_ACQUIRE)
#define virt_wmb() host_fence(HOST_VIRT_WMB, __ATOMIC_RELEASE)
#define io_mb() host_fence(HOST_IO_MB, __ATOMIC_SEQ_CST)
#define io_rmb() host_fence(HOST_IO_RMB, __ATOMIC_ACQUIRE)
#define io_wmb() host_fence(HOST_IO_WMB, __ATOMIC_RELEASE)
#endif

#endif
