/*
 * newlib's lock around malloc() and its like, which any CPU may call. They call each other, so the holder may take it again.
 */
#include <malloc.h>

#include <arch/cpu.h>
#include <base/spinlock.h>

static struct spinlock lock;
static unsigned holder = CPU_MAX, depth; /* holder: atomic */

void __malloc_lock(struct _reent *reent)
{
	(void)reent;
	if (__atomic_load_n(&holder, __ATOMIC_RELAXED) != cpu_index()) {
		spin_lock(&lock);
		__atomic_store_n(&holder, cpu_index(), __ATOMIC_RELAXED);
	}
	depth++;
}

void __malloc_unlock(struct _reent *reent)
{
	(void)reent;
	if (--depth == 0) {
		__atomic_store_n(&holder, CPU_MAX, __ATOMIC_RELAXED);
		spin_unlock(&lock);
	}
}
