/*
 * The files of boot/: what each protocol's loader tells arrives, and what is broken costs one line, or ends in one clear message.
 */
#include "check.h"

#include <base/page.h>
#include <base/util.h>

#include "../../boot/boot.h"
#include "../../boot/efi.h"
#include "boot_stub.h"

#define RAM_BASE 0x100000u
#define RAM_BYTES 0x7f00000u

static uint8_t *arena;

static int set_up(void **state)
{
	(void)state;
	host_boot(1 << 20);
	host_console_capture(true);
	arena = boot_arena();
	return 0;
}

static uint32_t low(const void *at) { return (uint32_t)(uintptr_t)at; }

static void put(size_t at, uint64_t value, unsigned bytes) { memcpy(arena + at, &value, bytes); }

static const char *text(size_t at, const char *string) { return strcpy((char *)arena + at, string); }

static void check_booted(enum host_end end, const char *protocol, const char *cmdline)
{
	if (end != HOST_ENDED)
		fail_msg("panic: %s", host_panic_text);
	assert_string_equal(boot_found.protocol, protocol);
	assert_string_equal(boot_found.cmdline, cmdline);
	assert_int_equal(boot_found.memory_count, 1);
	assert_int_equal(boot_found.memory[0].base, RAM_BASE);
	assert_int_equal(boot_found.memory[0].size, RAM_BYTES);
	assert_string_equal(host_console_text(), "");
}

static void check_warned(enum host_end end, const char *line)
{
	if (end != HOST_ENDED)
		fail_msg("panic: %s", host_panic_text);
	if (count_in(host_console_text(), line) != 1 || count_in(host_console_text(), "\n") != 1)
		fail_msg("not \"%s\" in:\n%s", line, host_console_text());
}

static void check_panicked(enum host_end end, const char *message)
{
	assert_int_equal(end, HOST_PANICKED);
	assert_non_null(strstr(host_panic_text, message));
}

/* ---- Linux: the arena starts with boot_params ---- */

static void linux_params(void)
{
	put(0x202, 0x53726448, 4);
	put(0x1e8, 1, 1);
	put(0x2d0, RAM_BASE, 8);
	put(0x2d8, RAM_BYTES, 8);
	put(0x2e0, E820_RAM, 4);
	put(0x228, low(text(0x2000, "app=x")), 4);
}

static void test_linux(void **state)
{
	(void)state;
	linux_params();
	put(0x70, 0xe0000, 8);
	put(0x218, 0x34567000, 4);
	put(0xc0, 0x12, 4);
	put(0x21c, 4096, 4);
	check_booted(boot_run(linux64_start, arena), "linux64", "app=x");
	assert_int_equal(boot_found.rsdp, 0xe0000);
	assert_int_equal(boot_found.module_count, 1);
	assert_int_equal(boot_found.module[0].base, UINT64_C(0x1234567000));
	assert_int_equal(boot_found.module[0].size, 4096);
}

static void test_linux_setup_data(void **state)
{
	static const uint8_t dtb[] = {0xd0, 0x0d, 0xfe, 0xed, 0, 0, 1, 0};

	(void)state;
	linux_params();
	put(0x1e8, 0, 1); /* the whole map is in the extension */
	put(0x250, low(arena + 0x3000), 8);
	put(0x3000, low(arena + 0x3100), 8);
	put(0x3008, 9, 4); /* a seed for random numbers */
	put(0x3100, low(arena + 0x3200), 8);
	put(0x3108, 1, 4);
	put(0x310c, 20, 4);
	put(0x3110, RAM_BASE, 8);
	put(0x3118, RAM_BYTES, 8);
	put(0x3120, E820_RAM, 4);
	put(0x3208, 2, 4);
	put(0x320c, 256, 4);
	memcpy(arena + 0x3210, dtb, sizeof(dtb));
	check_booted(boot_run(linux64_start, arena), "linux64", "app=x");
	assert_int_equal(boot_found.dtb, low(arena + 0x3210));
	assert_int_equal(boot_found.module_count, 1);
	assert_string_equal(boot_found.module[0].cmdline, "dtb");
}

/* A loader that was an EFI application itself, as GRUB there: it gives the system table. */
static void test_linux_from_efi(void **state)
{
	static const struct efi_guid acpi1 = EFI_ACPI1_GUID, acpi2 = EFI_ACPI2_GUID;

	(void)state;
	linux_params();
	put(0x1c0, 0x34364c45, 4);
	put(0x1c4, low(arena + 0x4000), 4);
	memcpy(arena + 0x4000, "IBI SYST", 8);
	put(0x4000 + 104, 3, 8);
	put(0x4000 + 112, low(arena + 0x5000), 8);
	memcpy(arena + 0x5000, &acpi2, 16);
	put(0x5010, 0x7777000, 8);
	memcpy(arena + 0x5030, &acpi1, 16);
	put(0x5040, 0x7776000, 8);
	check_booted(boot_run(linux64_start, arena), "linux64", "app=x");
	assert_int_equal(boot_found.rsdp, 0x7777000);
	put(0x5000, 1, 4);
	check_booted(boot_run(linux64_start, arena), "linux64", "app=x");
	assert_int_equal(boot_found.rsdp, 0x7776000);
	put(0x4000 + 104, UINT64_MAX, 8);
	check_booted(boot_run(linux64_start, arena), "linux64", "app=x");
	assert_int_equal(boot_found.rsdp, 0);
}

static void test_linux_odd(void **state)
{
	(void)state;
	check_panicked(boot_run(linux64_start, arena), "no boot_params");
	check_panicked(boot_run(linux64_start, NULL), "no boot_params");
	linux_params();
	put(0x1e8, 255, 1);
	check_warned(boot_run(linux64_start, arena), "tells of 255 e820 entries, it has room for 128");
	assert_int_equal(boot_found.memory_count, 1);

	set_up(NULL);
	linux_params();
	put(0x1e8, 0, 1);
	check_panicked(boot_run(linux64_start, arena), "tells of no memory");
	put(0x1e0, RAM_BYTES >> 10, 4);
	check_warned(boot_run(linux64_start, arena), "none told, only sizes: 640 KiB, and 130048 KiB");

	set_up(NULL);
	linux_params();
	put(0x250, low(arena + 0x3000), 8); /* a link to itself */
	put(0x3000, low(arena + 0x3000), 8);
	put(0x3008, 9, 4);
	check_warned(boot_run(linux64_start, arena), "setup_data at");

	set_up(NULL);
	linux_params();
	put(0xc8, 1, 4);
	check_warned(boot_run(linux64_start, arena), "the command line at 0x1");
	assert_string_equal(boot_found.cmdline, "");

	set_up(NULL);
	linux_params();
	memset(arena + 0x2000, 'x', 0x20000);
	check_warned(boot_run(linux64_start, arena), "left out: it does not end");

	set_up(NULL);
	linux_params();
	put(0x218, 0xffffffff, 4);
	put(0x21c, 0xffffffff, 4);
	put(0xc0, 0xffffffff, 4);
	check_warned(boot_run(linux64_start, arena), "left out: empty, or it wraps around");

	set_up(NULL);
	linux_params();
	put(0x218, 0xffffff00, 4);
	put(0x21c, 0x10, 4);
	put(0xc0, 0xffffffff, 4); /* its page wraps around */
	check_warned(boot_run(linux64_start, arena), "left out: empty, or it wraps around");
}

/* ---- PVH ---- */

static void pvh_info(void)
{
	put(0, 0x336ec578, 4);
	put(4, 1, 4);
	put(24, low(text(0x2000, "app=y")), 8);
	put(32, 0xf0010, 8);
	put(40, low(arena + 0x100), 8);
	put(48, 1, 4);
	put(0x100, RAM_BASE, 8);
	put(0x108, RAM_BYTES, 8);
	put(0x110, E820_RAM, 4);
}

static void test_pvh(void **state)
{
	(void)state;
	pvh_info();
	put(12, 3, 4);
	put(16, low(arena + 0x200), 8);
	put(0x200, 0x5000000, 8);
	put(0x208, 0x1000, 8);
	put(0x210, low(text(0x2100, "one")), 8);
	put(0x220, 0x6000000, 8);
	put(0x228, 0x1000, 8);
	put(0x240, 0x5000800, 8); /* overlaps the first */
	put(0x248, 0x1000, 8);
	check_warned(boot_run(pvh_start, arena), "module of 0x1000 bytes at 0x5000800 left out: it overlaps another");
	assert_string_equal(boot_found.protocol, "pvh");
	assert_int_equal(boot_found.rsdp, 0xf0010);
	assert_int_equal(boot_found.module_count, 2);
	assert_string_equal(boot_found.module[0].cmdline, "one");
	assert_string_equal(boot_found.module[1].cmdline, "");
}

static void test_pvh_odd(void **state)
{
	(void)state;
	check_panicked(boot_run(pvh_start, arena), "no hvm_start_info");
	pvh_info();
	put(48, 0xffffffff, 4);
	check_panicked(boot_run(pvh_start, arena), "the memory map is out of reach");
	put(4, 0, 4);
	check_panicked(boot_run(pvh_start, arena), "no memory map");
	pvh_info();
	put(12, 0xffffffff, 4);
	put(16, low(arena), 8);
	check_warned(boot_run(pvh_start, arena), "out of reach, 4294967295 modules left out");
}

/* ---- Multiboot: the information at the start of the arena ---- */

static void multiboot1_info(void)
{
	put(0, 0x4d, 4); /* sizes, command line, modules, map */
	put(4, 640, 4);
	put(8, RAM_BYTES >> 10, 4);
	put(16, low(text(0x2000, "/boot/vireo.elf app=z")), 4);
	put(44, 24 + 28, 4);
	put(48, low(arena + 0x100), 4);
	put(0x100, 24, 4); /* an entry with more than there is to it */
	put(0x104, RAM_BASE, 8);
	put(0x10c, 0x100000, 8);
	put(0x114, E820_RAM, 4);
	put(0x11c, 20, 4);
	put(0x120, RAM_BASE + 0x100000, 8);
	put(0x128, RAM_BYTES - 0x100000, 8);
	put(0x130, E820_RAM, 4);
}

static void test_multiboot1(void **state)
{
	(void)state;
	multiboot1_info();
	put(20, 1, 4);
	put(24, low(arena + 0x200), 4);
	put(0x200, 0x5000000, 4);
	put(0x204, 0x5000123, 4);
	put(0x208, low(text(0x2100, "initrd.cpio x")), 4);
	check_booted(boot_run(multiboot1_start, arena), "multiboot1", " app=z");
	assert_int_equal(boot_found.module_count, 1);
	assert_int_equal(boot_found.module[0].size, 0x123);
	assert_string_equal(boot_found.module[0].cmdline, "initrd.cpio x");
}

static void test_multiboot1_odd(void **state)
{
	(void)state;
	check_panicked(boot_run(multiboot1_start, arena), "the loader tells of no memory");
	check_panicked(boot_run(multiboot1_start, NULL), "no information");
	put(0, 1, 4);
	put(4, 640, 4);
	put(8, RAM_BYTES >> 10, 4);
	check_warned(boot_run(multiboot1_start, arena), "only sizes");
	assert_string_equal(boot_found.cmdline, "");

	set_up(NULL);
	multiboot1_info();
	put(0x11c, 5000, 4); /* the second entry is longer than the map */
	check_warned(boot_run(multiboot1_start, arena), "24 bytes at the end of the memory map make no entry");
	put(0x11c, 3, 4);
	host_console_capture(true);
	check_warned(boot_run(multiboot1_start, arena), "24 bytes at the end of the memory map make no entry");

	set_up(NULL);
	multiboot1_info();
	put(20, 1, 4);
	put(24, low(arena + 0x200), 4);
	put(0x200, 0x5000000, 4);
	put(0x204, 0x4000000, 4); /* ends before it starts */
	assert_int_equal(boot_run(multiboot1_start, arena), HOST_ENDED);
	assert_int_equal(boot_found.module_count, 0);
	assert_int_equal(count_in(host_console_text(), "left out: empty, or it wraps around"), 1);
}

static size_t tag_at;

static void tag(uint32_t type, const void *data, size_t size)
{
	put(tag_at, type, 4);
	put(tag_at + 4, 8 + size, 4);
	memcpy(arena + tag_at + 8, data, size);
	tag_at += ALIGN_UP(8 + size, (size_t)8);
	put(0, tag_at, 4);
}

static void multiboot2_map(void)
{
	uint64_t map[4] = {24, RAM_BASE, RAM_BYTES, E820_RAM};

	tag(6, map, sizeof(map));
}

static void test_multiboot2(void **state)
{
	uint32_t module[3] = {0x5000000, 0x5001000, 0};
	uint8_t rsdp[36] = "RSD PTR ", old[20] = "RSD PTR ";

	(void)state;
	memcpy(&module[2], "m.x", 4);
	rsdp[15] = 2;
	tag_at = 8;
	tag(1, "app=2", 6);
	tag(3, module, sizeof(module));
	tag(77, "what is this?", 13);
	multiboot2_map();
	tag(15, rsdp, sizeof(rsdp));
	tag(14, old, sizeof(old));
	tag(0, "", 0);
	check_booted(boot_run(multiboot2_start, arena), "multiboot2", "app=2");
	assert_memory_equal((void *)(uintptr_t)boot_found.rsdp, rsdp, sizeof(rsdp));
	assert_int_equal(boot_found.module_count, 1);
	assert_string_equal(boot_found.module[0].cmdline, "m.x");
}

static void test_multiboot2_odd(void **state)
{
	uint64_t sizes = 640 | (uint64_t)(RAM_BYTES >> 10) << 32;
	uint64_t efi[2 + 2 * 6] = {48, 0, 7, RAM_BASE, 0, 0x100, 0, 0, 7, RAM_BASE + 0x100000, 0, (RAM_BYTES >> 12) - 0x100,
	                           0,  0};

	(void)state;
	check_panicked(boot_run(multiboot2_start, NULL), "no information");
	put(0, UINT32_MAX, 4);
	check_panicked(boot_run(multiboot2_start, arena), "no information");
	tag_at = 8;
	tag(0, "", 0);
	check_panicked(boot_run(multiboot2_start, arena), "tells of no memory");

	tag_at = 8;
	tag(4, &sizes, 8);
	tag(0, "", 0);
	check_warned(boot_run(multiboot2_start, arena), "only sizes");

	set_up(NULL);
	tag_at = 8;
	memcpy(efi, (uint32_t[]){48, 1}, 8);
	memmove(efi + 1, efi + 2, sizeof(efi) - 16);
	tag(17, efi, 8 + 2 * 48);
	tag(0, "", 0);
	check_booted(boot_run(multiboot2_start, arena), "multiboot2", "");

	set_up(NULL);
	tag_at = 8;
	multiboot2_map();
	tag(1, "lost", 5);
	put(tag_at - 12, 4000, 4); /* its size */
	check_warned(boot_run(multiboot2_start, arena), "cut short");
	assert_int_equal(boot_found.memory_count, 1);
	put(tag_at - 12, 3, 4);
	host_console_capture(true);
	check_warned(boot_run(multiboot2_start, arena), "cut short");
}

/* ---- EFI ---- */

static void test_efi(void **state)
{
	struct efi_handoff *handoff = (struct efi_handoff *)(void *)arena;
	static const struct {
		uint32_t type;
		uint64_t base, pages;
	} map[] = {{7, 0x100000, 0x100}, {3, 0x200000, 0x100},    {2, 0x300000, 0x7d00},
	           {9, 0x8000000, 1},    {11, 0xffc00000, 0x400}, {6, 0x8001000, 2}};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(map); i++) {
		put(0x1000 + 48 * i, map[i].type, 4);
		put(0x1008 + 48 * i, map[i].base, 8);
		put(0x1018 + 48 * i, map[i].pages, 8);
	}
	*handoff = (struct efi_handoff){.map = low(arena + 0x1000),
	                                .map_size = 48,
	                                .map_stride = 48,
	                                .cmdline = low(text(0x3000, "e"))};
	handoff->map_size = 3 * 48;
	handoff->epoch = 1234567890;
	handoff->rsdp = 0x8000010;
	handoff->initrd = 0x5000000;
	handoff->initrd_size = 77;
	check_booted(boot_run(efi_start, handoff), "efi", "e");
	assert_int_equal(boot_found.epoch, 1234567890);
	assert_int_equal(boot_found.rsdp, 0x8000010);
	assert_int_equal(boot_found.module[0].size, 77);
	handoff->map_size = sizeof(map) / sizeof(map[0]) * 48;
	assert_int_equal(boot_run(efi_start, handoff), HOST_ENDED);
	assert_int_equal(boot_found.memory_count, 4);
	assert_int_equal(boot_found.memory[1].kind, MEMORY_FIRMWARE);
	assert_int_equal(boot_found.memory[2].kind, MEMORY_RESERVED);

	put(0x1018, UINT64_MAX, 8);
	handoff->map_size = 2 * 48;
	check_warned(boot_run(efi_start, handoff), "1 of 2 entries are bad");
	handoff->map_stride = 8;
	host_console_capture(true);
	check_panicked(boot_run(efi_start, handoff), "tells of no memory");
	assert_int_equal(count_in(host_console_text(), "descriptors of 8 bytes"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_linux, set_up),          cmocka_unit_test_setup(test_linux_setup_data, set_up),
		cmocka_unit_test_setup(test_linux_odd, set_up),      cmocka_unit_test_setup(test_pvh, set_up),
		cmocka_unit_test_setup(test_pvh_odd, set_up),        cmocka_unit_test_setup(test_multiboot1, set_up),
		cmocka_unit_test_setup(test_multiboot1_odd, set_up), cmocka_unit_test_setup(test_multiboot2, set_up),
		cmocka_unit_test_setup(test_multiboot2_odd, set_up), cmocka_unit_test_setup(test_efi, set_up),
		cmocka_unit_test_setup(test_linux_from_efi, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
