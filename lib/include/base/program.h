/*
 * What discovery and programs register: entries of linker sections, so that linking a file is all it takes.
 */
#ifndef BASE_PROGRAM_H
#define BASE_PROGRAM_H

#include <base/util.h>

/* A program: chosen by app=NAME. Its return value is the image's status (0: success). */
struct program {
	const char *name, *summary;
	int (*run)(void);
};
LINKER_SET(vireo_programs, const struct program);
#define PROGRAM(id, text, function)                                                                                              \
	static const struct program id##_program = {.name = #id, .summary = text, .run = function};                              \
	LINKER_ENTRY(vireo_programs, id##_program)

/* A bus: scanned once at boot. `order` 0 first, DISCOVERY_LAST at most. */
#define DISCOVERY_LAST 99
struct discovery {
	const char *name;
	unsigned order;
	void (*scan)(void);
};
LINKER_SET(vireo_discoveries, const struct discovery);
#define DISCOVERY(id, rank, function)                                                                                            \
	_Static_assert((rank) <= DISCOVERY_LAST, "order of " #id);                                                               \
	static const struct discovery id##_discovery = {.name = #id, .order = rank, .scan = function};                           \
	LINKER_ENTRY(vireo_discoveries, id##_discovery)

const struct program *program_find(const char *name); /* NULL: no such program */

/* The program that runs without app=NAME: "selftest", weakly; an image made by `make app` defines it again. */
extern const char program_default[];

/* The end of the image, as when a program returns `status`: the "end" record, then arch_end(). exit() comes here too. */
[[gnu::noreturn]] void program_end(int status);

/* boot/ ends here. */
struct boot_info;
[[gnu::noreturn]] void kernel_main(struct boot_info *boot);

#endif
