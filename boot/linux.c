/*
 * The Linux/x86 boot protocol ("The Linux/x86 Boot Protocol" in Linux's documentation): the loader hands over boot_params, a page
 * whose fields are named here as there. Four ways lead here: through the real-mode setup of the bzImage (boot/bzimage/), which
 * asks the BIOS and fills the page itself; by the bzImage's 32-bit entry; by its 64-bit entry; and by the entry of the ELF in long
 * mode, as Firecracker starts kernels.
 */
#include "efi.h"

#include <string.h>

#include <arch/platform.h>
#include <base/log.h>
#include <base/program.h>
#include <base/util.h>

#define HEADER_MAGIC 0x53726448  /* "HdrS" */
#define EFI_LOADER_64 0x34364c45 /* "EL64" */
#define E820_TABLE_MAX 128

enum setup_data_type { SETUP_E820_EXT = 1, SETUP_DTB };
#define SETUP_DATA_MAX 64 /* links that are followed */

struct boot_e820_entry {
	uint64_t addr, size;
	uint32_t type;
} __attribute__((packed));
_Static_assert(sizeof(struct boot_e820_entry) == 20, "boot_e820_entry");

struct boot_params {
	uint8_t pad0[0x02];
	uint16_t ext_mem_k; /* of the screen's information */
	uint8_t pad1[0x70 - 0x04];
	uint64_t acpi_rsdp_addr;
	uint8_t pad2[0xc0 - 0x78];
	uint32_t ext_ramdisk_image, ext_ramdisk_size, ext_cmd_line_ptr;
	uint8_t pad3[0x1c0 - 0xcc];
	uint32_t efi_loader_signature, efi_systab, efi_memmap[4], efi_systab_hi, efi_memmap_hi;
	uint32_t alt_mem_k, scratch;
	uint8_t e820_entries;
	uint8_t pad4[0x202 - 0x1e9];
	uint32_t header;
	uint16_t version;
	uint8_t pad5[0x210 - 0x208];
	uint8_t type_of_loader, loadflags;
	uint8_t pad6[0x218 - 0x212];
	uint32_t ramdisk_image, ramdisk_size;
	uint8_t pad7[0x228 - 0x220];
	uint32_t cmd_line_ptr;
	uint8_t pad8[0x250 - 0x22c];
	uint64_t setup_data;
	uint8_t pad9[0x2d0 - 0x258];
	struct boot_e820_entry e820_table[E820_TABLE_MAX];
} __attribute__((packed));
_Static_assert(offsetof(struct boot_params, e820_table) == 0x2d0, "boot_params");

struct setup_data {
	uint64_t next;
	uint32_t type, len;
	uint8_t data[];
} __attribute__((packed));

void linux16_start(const struct boot_params *params);
void linux32_start(const struct boot_params *params);
void linux64_start(const struct boot_params *params);
void linux_elf64_start(const struct boot_params *params);

/* The table in boot_params, and what a link of setup_data adds to it. */
struct map {
	const struct boot_e820_entry *table, *more;
	unsigned count;
};

static struct e820_entry memory_entry(const void *map, unsigned index)
{
	const struct map *m = map;
	const struct boot_e820_entry *e = index < m->count ? &m->table[index] : &m->more[index - m->count];

	return (struct e820_entry){.base = e->addr, .size = e->size, .type = e->type};
}

/* The links of setup_data that count; NULL: there is none. */
struct extensions {
	const struct setup_data *e820, *dtb;
};

static struct extensions find_extensions(const struct boot_params *params)
{
	struct extensions found = {0};
	uint64_t at = params->setup_data;

	for (unsigned links = 0; at; links++) {
		const struct setup_data *data = (const struct setup_data *)(uintptr_t)at;

		if (links == SETUP_DATA_MAX || !boot_reachable(at, sizeof(*data)) ||
		    !boot_reachable(at, sizeof(*data) + data->len)) {
			log_warn("linux: setup_data at 0x%llx left out: out of reach, or there is no end to it",
			         (unsigned long long)at);
			break;
		}
		if (data->type == SETUP_E820_EXT)
			found.e820 = data;
		else if (data->type == SETUP_DTB)
			found.dtb = data;
		at = data->next;
	}
	return found;
}

static void take_memory(struct boot_info *boot, const struct boot_params *params, const struct setup_data *extension)
{
	struct map map = {.table = params->e820_table, .count = params->e820_entries};
	uint64_t more = 0;

	if (map.count > E820_TABLE_MAX) {
		log_warn("linux: boot_params tells of %u e820 entries, it has room for %u", map.count, E820_TABLE_MAX);
		map.count = E820_TABLE_MAX;
	}
	if (extension) {
		map.more = (const struct boot_e820_entry *)extension->data;
		more = extension->len / sizeof(*map.more);
	}
	if (map.count + more)
		boot_memory(boot, &map, map.count + more, memory_entry);
	else if (params->alt_mem_k || params->ext_mem_k)
		boot_memory_sizes(boot, 640, params->alt_mem_k ? params->alt_mem_k : params->ext_mem_k);
	else
		panic("linux: boot_params tells of no memory");
}

[[gnu::noreturn]] static void start(const struct boot_params *params, const char *protocol)
{
	struct boot_info *boot = boot_begin(protocol);

	if (!boot_reachable((uintptr_t)params, sizeof(*params)) || params->header != HEADER_MAGIC)
		panic("%s: no boot_params at 0x%llx", protocol, (unsigned long long)(uintptr_t)params);

	const uint64_t initrd = (uint64_t)params->ext_ramdisk_image << 32 | params->ramdisk_image;
	const struct extensions extensions = find_extensions(params);
	const uint64_t initrd_size = (uint64_t)params->ext_ramdisk_size << 32 | params->ramdisk_size;

	boot->cmdline = boot_text((uint64_t)params->ext_cmd_line_ptr << 32 | params->cmd_line_ptr, "command line");
	boot->rsdp = params->acpi_rsdp_addr;
	if (!boot->rsdp && params->efi_loader_signature == EFI_LOADER_64)
		boot->rsdp = boot_efi_rsdp((uint64_t)params->efi_systab_hi << 32 | params->efi_systab);
	take_memory(boot, params, extensions.e820);
	if (initrd_size)
		boot_module(boot, initrd, initrd_size, "");
	if (extensions.dtb)
		boot_device_tree(boot, (uintptr_t)extensions.dtb->data);
	kernel_main(boot);
}

void linux16_start(const struct boot_params *params) { start(params, "linux16"); }
void linux32_start(const struct boot_params *params) { start(params, "linux32"); }
void linux64_start(const struct boot_params *params) { start(params, "linux64"); }
void linux_elf64_start(const struct boot_params *params) { start(params, "linux-elf64"); }
