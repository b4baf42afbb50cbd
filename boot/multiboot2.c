/*
 * The Multiboot2 protocol, version 2.0: the loader puts a pointer to its information into ebx, a list of tags. Unknown tags are
 * passed over. The map of memory is Multiboot's own if there is one, else EFI's, else two sizes.
 */
#include "efi.h"

#include <string.h>

#include <arch/platform.h>
#include <base/log.h>
#include <base/program.h>
#include <base/util.h>

#define INFO_MAX (4u << 20) /* bytes, of all tags together */

enum tag_type {
	TAG_END,
	TAG_CMDLINE,
	TAG_MODULE = 3,
	TAG_SIZES,
	TAG_MAP = 6,
	TAG_ACPI_OLD = 14,
	TAG_ACPI_NEW,
	TAG_EFI_MAP = 17,
};

#define TAG_HEADER 8u
#define RSDP_MAX 36u /* the longest RSDP: of ACPI 2.0 and later */

struct multiboot2_info {
	uint32_t total_size, reserved;
} __attribute__((packed)); /* this and what is in it: loaders may align it to nothing */

struct tag {
	uint32_t type, size; /* size: without what aligns the next one to 8 bytes */
	union {
		char string[1];
		struct {
			uint32_t start, end;
			char string[1];
		} module;
		struct {
			uint32_t lower, upper; /* KiB */
		} sizes;
		struct {
			uint32_t stride, version;
			uint8_t entries[8];
		} map; /* Multiboot's or EFI's */
		uint8_t rsdp[RSDP_MAX];
	};
} __attribute__((packed));

struct mmap_entry {
	uint64_t base, length;
	uint32_t type, reserved;
} __attribute__((packed));

struct map {
	const uint8_t *first;
	uint32_t stride;
};

/* The last of each kind that there may be one of. */
struct tags {
	const struct tag *cmdline, *sizes, *map, *efi_map, *acpi;
};

void multiboot2_start(const struct multiboot2_info *info);

static struct e820_entry memory_entry(const void *map, unsigned index)
{
	const struct map *m = map;
	const struct mmap_entry *e = (const struct mmap_entry *)(m->first + (size_t)index * m->stride);

	return (struct e820_entry){.base = e->base, .size = e->length, .type = e->type};
}

/* The tag at an offset, whole and with what its type needs at least; NULL: there is none. */
static const struct tag *tag_at(const struct multiboot2_info *info, uint64_t offset)
{
	static const uint8_t least[] = {
		[TAG_CMDLINE] = 9,   [TAG_MODULE] = 17,   [TAG_SIZES] = 16,   [TAG_MAP] = 16,
		[TAG_ACPI_OLD] = 28, [TAG_ACPI_NEW] = 44, [TAG_EFI_MAP] = 16,
	};
	const struct tag *tag = (const struct tag *)((uintptr_t)info + offset);

	if (offset + TAG_HEADER > info->total_size || tag->size < TAG_HEADER || tag->size > info->total_size - offset)
		return NULL;
	return tag->type < ARRAY_SIZE(least) && tag->size < least[tag->type] ? NULL : tag;
}

static uint64_t behind(uint64_t offset, const struct tag *tag) { return offset + ALIGN_UP((uint64_t)tag->size, UINT64_C(8)); }

static void find_tags(const struct multiboot2_info *info, struct tags *tags)
{
	const struct tag *tag;
	uint64_t offset = sizeof(*info);

	for (; (tag = tag_at(info, offset)) && tag->type != TAG_END; offset = behind(offset, tag)) {
		if (tag->type == TAG_CMDLINE)
			tags->cmdline = tag;
		else if (tag->type == TAG_SIZES)
			tags->sizes = tag;
		else if (tag->type == TAG_MAP)
			tags->map = tag;
		else if (tag->type == TAG_EFI_MAP)
			tags->efi_map = tag;
		else if (tag->type == TAG_ACPI_NEW || (tag->type == TAG_ACPI_OLD && !tags->acpi))
			tags->acpi = tag;
	}
	if (!tag)
		log_warn("multiboot2: the tag at offset %llu of %u is cut short, the rest is left out",
		         (unsigned long long)offset, info->total_size);
}

static void take_memory(struct boot_info *boot, const struct tags *tags)
{
	const struct tag *map = tags->map, *efi = tags->efi_map, *sizes = tags->sizes;

	if (map && map->map.stride >= sizeof(struct mmap_entry) && map->map.stride % 8 == 0) {
		struct map entries = {.first = map->map.entries, .stride = map->map.stride};

		boot_memory(boot, &entries, (map->size - offsetof(struct tag, map.entries)) / entries.stride, memory_entry);
	} else if (efi) {
		boot_memory_efi(boot, efi->map.entries, efi->size - offsetof(struct tag, map.entries), efi->map.stride);
	}
	if (boot->memory_count)
		return;
	if (!sizes)
		panic("multiboot2: the loader tells of no memory");
	boot_memory_sizes(boot, sizes->sizes.lower, sizes->sizes.upper);
}

/* The list of tags is whole up to where find_tags() warned. */
static void take_modules(struct boot_info *boot, const struct multiboot2_info *info)
{
	const struct tag *tag;

	for (uint64_t offset = sizeof(*info); (tag = tag_at(info, offset)) && tag->type != TAG_END;
	     offset = behind(offset, tag)) {
		if (tag->type == TAG_MODULE)
			boot_module(boot, tag->module.start, (uint64_t)tag->module.end - tag->module.start,
			            boot_text((uintptr_t)tag->module.string, "module's command line"));
	}
}

/* The tag has a copy of the RSDP, in memory that is nobody's soon: acpi_init() gets a copy of that. */
static uint64_t keep_rsdp(const struct tag *acpi)
{
	static uint8_t rsdp[RSDP_MAX] __attribute__((aligned(16)));

	if (!acpi)
		return 0;
	memcpy(rsdp, acpi->rsdp, MIN(acpi->size - TAG_HEADER, RSDP_MAX));
	return (uintptr_t)rsdp;
}

void multiboot2_start(const struct multiboot2_info *info)
{
	struct boot_info *boot = boot_begin("multiboot2");
	struct tags tags = {0};

	if (!boot_reachable((uintptr_t)info, sizeof(*info)) || info->total_size > INFO_MAX ||
	    !boot_reachable((uintptr_t)info, info->total_size))
		panic("multiboot2: no information at 0x%llx", (unsigned long long)(uintptr_t)info);
	find_tags(info, &tags);
	boot->cmdline = tags.cmdline ? boot_text((uintptr_t)tags.cmdline->string, "command line") : "";
	boot->rsdp = keep_rsdp(tags.acpi);
	take_memory(boot, &tags);
	take_modules(boot, info);
	kernel_main(boot);
}
