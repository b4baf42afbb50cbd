/*
 * What the address sanitizer is told of memory that we hand out ourselves: on the host, touching a free page or the bytes behind an
 * allocation is reported like the same mistake with malloc(). In the kernel all of it is nothing.
 */
#ifndef BASE_POISON_H
#define BASE_POISON_H

#include <stdbool.h>
#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define POISON_WORKS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISON_WORKS 1
#endif
#endif

#ifdef POISON_WORKS
#include <sanitizer/asan_interface.h>

static inline void memory_poison(const void *memory, size_t bytes) { __asan_poison_memory_region(memory, bytes); }
static inline void memory_unpoison(const void *memory, size_t bytes) { __asan_unpoison_memory_region(memory, bytes); }

/* Any byte of it. */
static inline bool memory_is_poisoned(const void *memory, size_t bytes)
{
	return __asan_region_is_poisoned((void *)(size_t)memory, bytes);
}
#else
static inline void memory_poison(const void *memory, size_t bytes) { (void)memory, (void)bytes; }
static inline void memory_unpoison(const void *memory, size_t bytes) { (void)memory, (void)bytes; }
static inline bool memory_is_poisoned(const void *memory, size_t bytes)
{
	(void)memory, (void)bytes;
	return false;
}
#endif

#endif
