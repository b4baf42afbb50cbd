/*
 * See boot_stub.h.
 */
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include <arch/platform.h>
#include <base/program.h>
#include <base/util.h>

#include "../../boot/boot.h"
#include "boot_stub.h"

struct boot_info boot_found;
char image_start[1], image_end[1];

static void (*to_run)(const void *);
static const void *argument_of_it;

static uint8_t *arena;

uint8_t *boot_arena(void)
{
	if (!arena) {
		arena = mmap(NULL, BOOT_ARENA_BYTES + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1,
		             0);
		if (arena == MAP_FAILED || mprotect(arena + BOOT_ARENA_BYTES, 4096, PROT_NONE))
			panic("no memory below 2 GiB");
	}
	memset(arena, 0, BOOT_ARENA_BYTES);
	return arena;
}

/* Instead of boot/loader_data.c's: the arena is all the memory there is. */
bool boot_reachable(uint64_t base, uint64_t size)
{
	uint64_t start = (uintptr_t)arena;

	return base >= start && base - start < BOOT_ARENA_BYTES && size <= BOOT_ARENA_BYTES - (base - start);
}

static void call(void) { to_run(argument_of_it); }

enum host_end boot_run(void (*start)(const void *), const void *argument)
{
	to_run = start;
	argument_of_it = argument;
	return host_run(call);
}

/* kernel_main() of the files of boot/. */
void boot_done(struct boot_info *boot)
{
	boot_found = *boot;
	arch_end(0);
}
