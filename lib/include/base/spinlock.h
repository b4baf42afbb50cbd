/*
 * A spin lock, for what CPUs share and is not on the data path: short sections, in which the holder runs no turn of the loop.
 * Where an interrupt takes it, too, interrupts are masked around it by the caller.
 */
#ifndef BASE_SPINLOCK_H
#define BASE_SPINLOCK_H

#include <stdbool.h>

#include <arch/cpu.h>

struct spinlock {
	bool held;
};

static inline void spin_lock(struct spinlock *lock)
{
	/* Acquire: nothing of the section is done before. Between tries it only reads, which leaves the line to the holder. */
	while (__atomic_exchange_n(&lock->held, true, __ATOMIC_ACQUIRE)) {
		while (__atomic_load_n(&lock->held, __ATOMIC_RELAXED))
			cpu_relax();
	}
}

static inline void spin_unlock(struct spinlock *lock)
{
	/* Release: all of the section is done before. */
	__atomic_store_n(&lock->held, false, __ATOMIC_RELEASE);
}

#endif
