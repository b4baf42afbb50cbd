/*
 * Page tables: one address space, virtual addresses equal physical ones.
 *
 * Code is read-only and executable, constants are read-only, and everything else (data, all other RAM) is writable but never
 * executable. The first page and the page below each stack are not mapped. RAM takes the largest pages that fit; what is not RAM
 * is mapped when somebody asks: device registers uncached, firmware tables read-only.
 *
 * All CPUs share the tables, and none ever has to flush another's TLB, for mappings are only added: an entry goes from not present,
 * which no TLB keeps, to its final value. The exceptions change what no other CPU can have used: guard pages are
 * unmapped before the stack above them is handed out, a large page is split into pieces that say the same, and registers that lie in a page
 * of firmware tables change its flags at boot, when only the first CPU reads such tables.
 *
 * The tables for RAM are needed before there is an allocator. They are taken from the RAM behind the image, whose end moves up
 * over them, past anything that the loader put there.
 */
#include <arch/mmu.h>

#include <string.h>

#include <arch/platform.h>
#include <base/log.h>
#include <base/page.h>
#include <base/spinlock.h>
#include <base/util.h>

#include "local.h"
#include "x86.h"

#define PTE_PRESENT BIT64(0)
#define PTE_WRITABLE BIT64(1)
#define PTE_UNCACHED (BIT64(3) | BIT64(4)) /* PWT and PCD: strong uncacheable in the PAT that the CPU starts with */
#define PTE_LARGE BIT64(7)
#define PTE_ADDRESS UINT64_C(0x000ffffffffff000)

#define LEVEL_TOP 3
#define ENTRIES 512
#define LOW_MEMORY_END 0xa0000u

static uint64_t *root;
static uint64_t no_execute; /* PTE bit 63, where the CPU has it */
static unsigned largest;    /* level of the largest pages: 2 is 1 GiB, 1 is 2 MiB */
static uint64_t limit;      /* the first address out of reach */
static const struct boot_info *boot_info;
static uint64_t early_end; /* where the next early table goes */
static bool early;
static struct spinlock lock; /* for changes of the tables */

static uint64_t span(unsigned level) { return BIT64(12 + 9 * level); }

static uint64_t *slot(uint64_t *table, uint64_t address, unsigned level)
{
	return &table[(address >> (12 + 9 * level)) & (ENTRIES - 1)];
}

static bool overlaps(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size) { return a < b + b_size && b < a + a_size; }

/* Where something of the loader's that overlaps the page ends; 0: the page is free. */
static uint64_t loader_data_end(uint64_t page)
{
	uint64_t text = (uintptr_t)boot_info->cmdline;

	if (overlaps(page, PAGE_SIZE, text, strlen(boot_info->cmdline) + 1))
		return text + strlen(boot_info->cmdline) + 1;
	for (unsigned i = 0; i < boot_info->module_count; i++) {
		const struct boot_module *module = &boot_info->module[i];

		text = (uintptr_t)module->cmdline;
		if (overlaps(page, PAGE_SIZE, module->base, module->size))
			return module->base + module->size;
		if (overlaps(page, PAGE_SIZE, text, strlen(module->cmdline) + 1))
			return text + strlen(module->cmdline) + 1;
	}
	return 0;
}

static bool is_ram(uint64_t base, uint64_t size)
{
	for (unsigned i = 0; i < boot_info->memory_count; i++) {
		const struct memory_range *m = &boot_info->memory[i];

		if (m->kind == MEMORY_RAM && overlaps(base, size, m->base, m->size))
			return true;
	}
	return false;
}

static bool is_all_ram(uint64_t base, uint64_t size)
{
	for (unsigned i = 0; i < boot_info->memory_count; i++) {
		const struct memory_range *m = &boot_info->memory[i];

		if (m->kind == MEMORY_RAM && base >= m->base && base - m->base < m->size && size <= m->size - (base - m->base))
			return true;
	}
	return false;
}

static uint64_t *early_table(void)
{
	uint64_t page = early_end, end;

	while ((end = loader_data_end(page)) != 0)
		page = ALIGN_UP(end, PAGE_SIZE);
	if (page >= BIT64(32) || !is_ram(page, PAGE_SIZE))
		panic("no RAM behind the image for page tables (at 0x%llx)", (unsigned long long)page);
	early_end = page + PAGE_SIZE;
	mmu_clear_pages((void *)page, PAGE_SIZE);
	return (uint64_t *)page;
}

static uint64_t *new_table(void) { return early ? early_table() : page_alloc(PAGE_SIZE, PAGE_SIZE); }

/* The entry that decides about `address`: a page, of any size, or one that is not present. */
static uint64_t *lookup(uint64_t address, unsigned *level)
{
	uint64_t *entry = slot(root, address, LEVEL_TOP);

	for (*level = LEVEL_TOP; *level > 0 && (*entry & PTE_PRESENT) && !(*entry & PTE_LARGE);) {
		--*level;
		entry = slot((uint64_t *)(*entry & PTE_ADDRESS), address, *level);
	}
	return entry;
}

/* Put a new table under an entry of `level` > 0 that is not present or a large page; the page is kept, in pieces. */
static uint64_t *descend(uint64_t *entry, unsigned level)
{
	uint64_t *table = new_table(), piece = *entry;

	if (!table)
		return NULL;
	if (piece & PTE_PRESENT) {
		if (level == 1)
			piece &= ~PTE_LARGE;
		for (unsigned i = 0; i < ENTRIES; i++)
			table[i] = piece + i * span(level - 1);
	}
	*entry = (uintptr_t)table | PTE_PRESENT | PTE_WRITABLE;
	return table;
}

/* Map [at, end) one to one. What is mapped already stays, but a 4 KiB page with other flags than `force`d ones takes those. */
static bool map(uint64_t at, uint64_t end, uint64_t flags, unsigned top, bool force)
{
	at = ALIGN_DOWN(at, PAGE_SIZE);
	end = ALIGN_UP(end, PAGE_SIZE);
	while (at < end) {
		unsigned level;
		uint64_t *entry = lookup(at, &level);

		if (*entry & PTE_PRESENT) {
			if (force && level == 0) {
				*entry = at | flags;
				invlpg(at);
			}
			at = ALIGN_DOWN(at, span(level)) + span(level);
			continue;
		}
		for (; level > top || at & (span(level) - 1) || end - at < span(level); entry = slot(entry, at, level)) {
			entry = descend(entry, level--);
			if (!entry)
				return false;
		}
		/* And its neighbours in the table, as far as they are alike. */
		do {
			*entry++ = at | flags | (level > 0 ? PTE_LARGE : 0);
			at += span(level);
		} while (end - at >= span(level) && at & (span(level + 1) - 1) && !(*entry & PTE_PRESENT));
	}
	return true;
}

/* Give one page an entry of its own. False: no memory for it. */
static bool set_page(uint64_t address, uint64_t value)
{
	unsigned level;
	uint64_t *entry;

	spin_lock(&lock);
	entry = lookup(address, &level);
	for (; entry && level > 0; entry = entry ? slot(entry, address, level) : NULL)
		entry = descend(entry, level--);
	if (entry)
		*entry = value;
	spin_unlock(&lock);
	invlpg(address);
	return entry != NULL;
}

/* An image that is built right never fails here. */
void mmu_guard(const void *page)
{
	if (!set_page((uintptr_t)page, 0))
		panic("no memory for a guard page at %p", page);
}

static void detect(void)
{
	struct cpuid extended = cpuid(0x80000001), sizes = cpuid(0x80000008);
	unsigned bits = sizes.eax & 0xff;

	if (extended.edx & BIT64(20)) {
		wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
		no_execute = BIT64(63);
	}
	largest = extended.edx & BIT64(26) ? 2 : 1;
	/* One to one means the lower half of the virtual addresses: 47 bits. */
	limit = BIT64(bits == 0 ? 36 : MIN(bits, 47u));
}

static void map_loader_text(const char *text)
{
	map((uintptr_t)text, (uintptr_t)text + strlen(text) + 1, PTE_PRESENT | no_execute, 0, false);
}

/* What the CPU does not address is nobody's, whatever the loader says. */
static void drop_out_of_reach(struct boot_info *boot)
{
	uint64_t lost = 0;
	unsigned kept = 0;

	/* The map is sorted. */
	for (; boot->memory_count > 0; boot->memory_count--) {
		struct memory_range *last = &boot->memory[boot->memory_count - 1];
		uint64_t end = last->base + last->size;

		if (end <= limit)
			break;
		lost += last->kind == MEMORY_RAM ? end - MAX(last->base, limit) : 0;
		if (last->base < limit) {
			last->size = limit - last->base;
			break;
		}
	}
	if (lost)
		log_warn("memory map: 0x%llx bytes of RAM lie beyond the CPU's reach (0x%llx)", (unsigned long long)lost,
		         (unsigned long long)limit);
	for (unsigned i = 0; i < boot->module_count; i++) {
		const struct boot_module *module = &boot->module[i];

		if (module->base >= PAGE_SIZE && module->base < limit && module->size <= limit - module->base)
			boot->module[kept++] = *module;
		else
			log_warn("module of 0x%llx bytes at 0x%llx left out: out of reach", (unsigned long long)module->size,
			         (unsigned long long)module->base);
	}
	boot->module_count = kept;
}

void arch_init_memory(struct boot_info *boot)
{
	descriptors_init(&boot_cpu);
	mptable_early();
	boot_info = boot;
	detect();
	drop_out_of_reach(boot);

	const uint64_t data = PTE_PRESENT | PTE_WRITABLE | no_execute, constant = PTE_PRESENT | no_execute;

	early = true;
	early_end = (uintptr_t)image_end;
	root = new_table();
	map((uintptr_t)image_start, (uintptr_t)image_text_end, PTE_PRESENT, 0, false);
	map((uintptr_t)image_text_end, (uintptr_t)image_rodata_end, constant, 0, false);
	map((uintptr_t)image_rodata_end, (uintptr_t)image_end, data, 0, false);
	for (unsigned i = 0; i < boot->memory_count; i++) {
		const struct memory_range *m = &boot->memory[i];

		if (m->kind == MEMORY_RAM)
			map(MAX(m->base, (uint64_t)PAGE_SIZE), m->base + m->size, data, largest, false);
	}
	map_loader_text(boot->cmdline);
	for (unsigned i = 0; i < boot->module_count; i++) {
		map(boot->module[i].base, boot->module[i].base + boot->module[i].size, constant, largest, false);
		map_loader_text(boot->module[i].cmdline);
	}
	/* The image's pages have entries of their own. */
	for (unsigned i = 0, level; i < STACK_COUNT; i++)
		*lookup((uintptr_t)boot_cpu.stacks[i].low, &level) = 0;
	write_cr3((uintptr_t)root);
	early = false;
}

void arch_image_range(uint64_t *start, uint64_t *end)
{
	*start = (uintptr_t)image_start;
	*end = early_end;
}

static bool in_reach(uint64_t phys, uint64_t size)
{
	return size > 0 && phys < limit && size <= limit - phys && phys >= PAGE_SIZE;
}

static bool map_locked(uint64_t phys, uint64_t size, uint64_t flags, unsigned top, bool force)
{
	bool mapped;

	spin_lock(&lock);
	mapped = map(phys, phys + size, flags, top, force);
	spin_unlock(&lock);
	return mapped;
}

volatile void *mmu_map_device(uint64_t phys, uint64_t size)
{
	const uint64_t flags = PTE_PRESENT | PTE_WRITABLE | PTE_UNCACHED | no_execute;

	if (!in_reach(phys, size) || is_ram(phys, size) || !map_locked(phys, size, flags, largest, true))
		return NULL;
	return (volatile void *)phys;
}

void *mmu_map_memory(uint64_t phys, uint64_t size)
{
	const uint64_t flags = PTE_PRESENT | PTE_WRITABLE | no_execute;

	if (!in_reach(phys, size) || is_ram(phys, size) || !map_locked(phys, size, flags, largest, true))
		return NULL;
	return (void *)phys;
}

const void *mmu_map_firmware(uint64_t phys, uint64_t size)
{
	if (!in_reach(phys, size) || !map_locked(phys, size, PTE_PRESENT | no_execute, 0, false))
		return NULL;
	return (const void *)phys;
}

/* The highest page that is RAM and nobody's. page_init() leaves out the first MiB, so nobody else is given it. */
void *mmu_low_page(void)
{
	uint64_t at = LOW_MEMORY_END - PAGE_SIZE;

	while (at && (!is_all_ram(at, PAGE_SIZE) || loader_data_end(at)))
		at -= PAGE_SIZE;
	return (void *)at;
}

bool mmu_make_code(void *page) { return set_page((uintptr_t)page, (uintptr_t)page | PTE_PRESENT); }
