/*
 * What the thread sanitizer is told of the accesses that driver and device share. Included before all else in its build (make tsan).
 *
 * It takes volatile accesses for plain ones and knows no fences. So READ_ONCE() and WRITE_ONCE() become relaxed atomics, and the barriers give
 * what C11's fences give, and no more: after a read barrier, all that led to the values loaded before it has happened (acquire); the
 * store behind a write barrier tells whoever loads it of all before the barrier (release). A full barrier acquires, too, but does not
 * release: nothing here may rely on it for that. A barrier that is missing leaves plain accesses of two threads without an order, and that is reported.
 */
#ifndef TSAN_H
#define TSAN_H

#define HOST_TSAN 1

void host_tsan_loaded(const volatile void *address);
void host_tsan_storing(volatile void *address);
void host_tsan_mb(void);
void host_tsan_rmb(void);
void host_tsan_wmb(void);

/* To try out whether it would be seen: barriers that are not there. */
extern _Bool host_tsan_no_rmb, host_tsan_no_wmb;

#define READ_ONCE(x)                                                                                                             \
	({                                                                                                                       \
		__auto_type once_at = &(x);                                                                                      \
		__auto_type once_value = __atomic_load_n(once_at, __ATOMIC_RELAXED);                                             \
		host_tsan_loaded(once_at);                                                                                       \
		once_value;                                                                                                      \
	})
#define WRITE_ONCE(x, value)                                                                                                     \
	do {                                                                                                                     \
		__auto_type once_at = &(x);                                                                                      \
		host_tsan_storing(once_at);                                                                                      \
		__atomic_store_n(once_at, value, __ATOMIC_RELAXED);                                                              \
	} while (0)

#endif
