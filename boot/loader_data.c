/*
 * What a loader left in memory for the kernel: strings and modules.
 *
 * The loader is trusted as far as it must be, it placed this code. What lies beyond the 4 GiB that are mapped this early is taken
 * as not given, and so is what lies in the image's own memory: the image's zeros have overwritten it.
 */
#include "boot.h"

#include <string.h>

#include <base/log.h>
#include <base/page.h>
#include <base/util.h>

#define REACH BIT64(32)
#define PAGES_END (0 - (uint64_t)PAGE_SIZE) /* the last end whose page ends, too */
#define TEXT_MAX (64u << 10)

#define DTB_MAGIC 0xd00dfeed
#define DTB_HEADER 40u

extern char image_start[], image_end[];

struct boot_info *boot_begin(const char *protocol)
{
	static struct boot_info boot;

	boot = (struct boot_info){.protocol = protocol, .cmdline = ""};
	return &boot;
}

/* Tests on the host have less memory. */
[[gnu::weak]] bool boot_reachable(uint64_t base, uint64_t size) { return base != 0 && base < REACH && size <= REACH - base; }

static bool overlaps(uint64_t base, uint64_t end, uint64_t other, uint64_t other_end) { return base < other_end && other < end; }

static bool in_image(uint64_t base, uint64_t end) { return overlaps(base, end, (uintptr_t)image_start, (uintptr_t)image_end); }

const char *boot_text(uint64_t address, const char *what)
{
	const char *text = (const char *)(uintptr_t)address, *problem = NULL;
	size_t length;

	if (!address)
		return "";
	if (!boot_reachable(address, TEXT_MAX + 1))
		problem = "it is out of reach";
	else if ((length = strnlen(text, TEXT_MAX + 1)) > TEXT_MAX)
		problem = "it does not end";
	else if (in_image(address, address + length + 1))
		problem = "it is in the image's memory";
	if (!problem)
		return text;
	log_warn("boot: the %s at 0x%llx is left out: %s", what, (unsigned long long)address, problem);
	return "";
}

/* A file's name is a first word with a slash of either kind, and no "=". */
const char *boot_without_name(const char *cmdline)
{
	size_t word = strcspn(cmdline, " ");

	return strcspn(cmdline, "/\\") < word && strcspn(cmdline, "=") > word ? cmdline + word : cmdline;
}

void boot_module(struct boot_info *boot, uint64_t base, uint64_t size, const char *cmdline)
{
	const char *problem = NULL;

	if (boot->module_count == BOOT_MODULE_MAX)
		problem = "too many";
	else if (!size || base >= PAGES_END || size > PAGES_END - base)
		problem = "empty, or it wraps around";
	else if (in_image(base, base + size))
		problem = "it is in the image's memory";
	for (unsigned i = 0; i < boot->module_count && !problem; i++) {
		const struct boot_module *other = &boot->module[i];

		if (overlaps(base, base + size, other->base, other->base + other->size))
			problem = "it overlaps another";
	}
	if (problem)
		log_warn("boot: module of 0x%llx bytes at 0x%llx left out: %s", (unsigned long long)size,
		         (unsigned long long)base, problem);
	else
		boot->module[boot->module_count++] = (struct boot_module){.base = base, .size = size, .cmdline = cmdline};
}

/* The header is big-endian: magic, total size. */
void boot_device_tree(struct boot_info *boot, uint64_t address)
{
	uint32_t header[2] = {0};
	unsigned modules = boot->module_count;

	if (!address)
		return;
	if (boot_reachable(address, DTB_HEADER))
		memcpy(header, (const void *)(uintptr_t)address, sizeof(header));
	if (__builtin_bswap32(header[0]) != DTB_MAGIC) {
		log_warn("boot: no device tree at 0x%llx, where the loader told it", (unsigned long long)address);
		return;
	}
	boot_module(boot, address, __builtin_bswap32(header[1]), "dtb");
	if (boot->module_count > modules)
		boot->dtb = address;
}
