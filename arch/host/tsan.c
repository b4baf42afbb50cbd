/*
 * The thread sanitizer's view of barriers: see tsan.h. Each thread remembers what it has loaded since its last barrier; the sanitizer keeps
 * for each address what was released there.
 */
#ifdef HOST_TSAN

#include <stdbool.h>
#include <sanitizer/tsan_interface.h>

#define LOADED_MAX 32u /* the loop's own loads lie between those of a queue */

bool host_tsan_no_rmb, host_tsan_no_wmb;

static _Thread_local void *loaded[LOADED_MAX];
static _Thread_local unsigned loaded_count;
static _Thread_local bool release_next;

void host_tsan_loaded(const volatile void *address) { loaded[loaded_count++ % LOADED_MAX] = (void *)(__UINTPTR_TYPE__)address; }

void host_tsan_storing(volatile void *address)
{
	if (release_next)
		__tsan_release((void *)(__UINTPTR_TYPE__)address);
	release_next = false;
}

static void acquire(void)
{
	for (unsigned i = 0; i < loaded_count && i < LOADED_MAX; i++)
		__tsan_acquire(loaded[i]);
	loaded_count = 0;
}

void host_tsan_rmb(void)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (!host_tsan_no_rmb)
		acquire();
}

void host_tsan_wmb(void)
{
	__atomic_thread_fence(__ATOMIC_RELEASE);
	release_next = !host_tsan_no_wmb;
}

void host_tsan_mb(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!host_tsan_no_rmb)
		acquire();
}

#endif
