/*
 * Small words that every file needs.
 */
#ifndef BASE_UTIL_H
#define BASE_UTIL_H

#include <stddef.h>
#include <stdint.h>

/* The formatter takes (x) - 1 for a cast of -1. */
/* clang-format off */
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define container_of(pointer, type, member) ((type *)(void *)((char *)(pointer) - offsetof(type, member)))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define BIT64(n) (UINT64_C(1) << (n))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define ALIGN_UP(x, alignment) (((x) + ((alignment) - 1)) & ~((__typeof__(x))(alignment) - 1))
#define ALIGN_DOWN(x, alignment) ((x) & ~((__typeof__(x))(alignment) - 1))
/* clang-format on */

/* One access, which the compiler neither repeats nor merges: for memory that a device or another CPU also writes. The thread
 * sanitizer's build on the host has its own. */
#ifndef READ_ONCE
#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, value) (*(volatile __typeof__(x) *)&(x) = (value))
#endif

/* Entries of a linker section: LINKER_ENTRY(virtio_drivers, const struct virtio_driver, blk) = {...}. Sorted by name, kept with
 * KEEP; LINKER_FOR_EACH walks pointers to them. */
#define LINKER_SET(set, type)                                                                                                    \
	extern type *const __start_##set[] __attribute__((weak, visibility("hidden")));                                          \
	extern type *const __stop_##set[] __attribute__((weak, visibility("hidden")))
#define LINKER_ENTRY(set, object)                                                                                                \
	static const __typeof__(object) *const set##_##object##_entry __attribute__((used, section(#set))) = &(object)
#define LINKER_FOR_EACH(set, item) for (__typeof__(&__start_##set[0]) item = __start_##set; item < __stop_##set; item++)

/* For loops that take four steps at a time, which spares them most of the instructions that make a loop; a step that can fail is true or
 * false. When it is false, those before it were taken for nothing: they are again, one at a time. */
#define FOUR(step, i) (step(i) && step((i) + 1) && step((i) + 2) && step((i) + 3))

#endif
