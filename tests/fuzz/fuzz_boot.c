/*
 * The files of boot/ with any information of a loader at all. The input is memory of a loader's, behind a first byte that chooses
 * the protocol. Where a protocol has its first pointers, those are made to point into that memory, as few would by themselves. It
 * ends in the kernel, with memory ranges that are sorted and disjoint and few lines, or in a panic; what is behind the memory is read
 * by nobody.
 */
#include "fuzz.h"

#include <string.h>

#include <base/page.h>

#include "../../boot/efi.h"
#include "boot_stub.h"

#define PROTOCOLS 5

static uint8_t *arena;

/* A pointer into the arena from what stands there. */
static void tame(size_t at, bool wide)
{
	uint64_t value = 0;

	memcpy(&value, arena + at, 4);
	value = (uintptr_t)arena + value % 0x1000;
	memcpy(arena + at, &value, wide ? 8 : 4);
}

static void put32(size_t at, uint32_t value) { memcpy(arena + at, &value, 4); }

/* Behind the first byte's lowest values, the same without any help. */
static void (*prepare(unsigned protocol, bool help))(const void *)
{
	switch (protocol) {
	case 0:
		put32(0, 0x336ec578);
		for (size_t at = 16; help && at <= 40; at += 8)
			tame(at, true);
		return pvh_start;
	case 1:
		put32(0x202, 0x53726448);
		if (help) {
			tame(0x228, false);
			tame(0x250, true);
			put32(0xc8, 0);
		}
		return linux64_start;
	case 2:
		if (help) {
			tame(16, false);
			tame(24, false);
			tame(48, false);
		}
		return multiboot1_start;
	case 3:
		return multiboot2_start;
	default:
		for (size_t at = 0; help && at <= 40; at += at ? 16 : 24)
			tame(at, true);
		return efi_start;
	}
}

static void check(void)
{
	uint64_t end = 0;

	fuzz_check(boot_found.memory_count <= BOOT_MEMORY_MAX && boot_found.module_count <= BOOT_MODULE_MAX, "counts");
	for (unsigned i = 0; i < boot_found.memory_count; i++) {
		const struct memory_range *m = &boot_found.memory[i];

		fuzz_check(m->base >= end && m->size && m->base + m->size > m->base, "memory range %u", i);
		fuzz_check(m->kind != MEMORY_RAM || !((m->base | m->size) % PAGE_SIZE), "RAM in parts of pages");
		end = m->base + m->size;
	}
	for (unsigned i = 0; i < boot_found.module_count; i++) {
		const struct boot_module *m = &boot_found.module[i];

		fuzz_check(m->size && m->base + m->size > m->base && m->cmdline, "module %u", i);
		fuzz_check(strlen(m->cmdline) <= 65536, "a long name");
		for (unsigned other = 0; other < i; other++)
			fuzz_check(m->base >= boot_found.module[other].base + boot_found.module[other].size ||
			                   boot_found.module[other].base >= m->base + m->size,
			           "modules %u and %u overlap", i, other);
	}
}

static void run(const uint8_t *data, size_t size)
{
	void (*start)(const void *);

	if (!size)
		return;
	host_boot(64 << 10);
	host_console_capture(true);
	arena = boot_arena();
	memcpy(arena, data + 1, size - 1);
	start = prepare(data[0] % PROTOCOLS, data[0] < 8 * PROTOCOLS);
	if (boot_run(start, arena) == HOST_ENDED)
		check();
	fuzz_check(fuzz_log_lines() <= 2 * BOOT_MODULE_MAX + 8, "%u log lines", fuzz_log_lines());
}

static void give(const char *name, const uint8_t *memory, size_t size, unsigned protocol)
{
	fuzz_put(protocol, 1);
	fuzz_put_all(memory, size);
	fuzz_seed(name);
}

static void seeds(void)
{
	static uint8_t memory[0x800];
	static const uint64_t range[3] = {0x100000, 0x7f00000, 1};
	static const uint8_t tags[] = {96, 0, 0, 0, 0,  0, 0, 0, 1, 0,  0, 0, 10, 0,  0, 0, 'x', 0, 0,
	                               0,  0, 0, 0, 0,  6, 0, 0, 0, 40, 0, 0, 0,  24, 0, 0, 0,   0, 0,
	                               0,  0, 0, 0, 16, 0, 0, 0, 0, 0,  0, 0, 0,  1,  0, 0, 0,   0, 1};

	memory[4] = memory[12] = memory[48] = 1;
	memory[17] = 2;
	memory[25] = 3;
	memory[41] = 1;
	memcpy(memory + 0x100, range, sizeof(range));
	memcpy(memory + 0x200, range, 16);
	give("pvh", memory, 0x300, 0);
	memset(memory, 0, sizeof(memory));
	memory[0x1e8] = 2;
	memcpy(memory + 0x2d0, range, 20);
	memory[0x219] = memory[0x21d] = 16;
	give("linux", memory, 0x700, 1);
	memory[0x1e8] = 255;
	give("linux, many", memory, 0x700, 1);
	memset(memory, 0, sizeof(memory));
	memory[0] = 0x4d;
	memory[20] = memory[25] = memory[49] = 1;
	memory[44] = 24;
	memory[0x100] = 20;
	memcpy(memory + 0x104, range, 20);
	give("multiboot1", memory, 0x300, 2);
	memset(memory, 0, sizeof(memory));
	memcpy(memory, tags, sizeof(tags));
	give("multiboot2", memory, 0x100, 3);
	memset(memory, 0, sizeof(memory));
	memory[1] = 1;
	memory[8] = memory[16] = 48;
	memory[0x100] = 7;
	memory[0x10a] = 16;
	memory[0x118] = 99;
	give("efi", memory, 0x200, 4);
}

FUZZ_TARGET(boot);
