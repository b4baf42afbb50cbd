/*
 * Registers, ports and firmware memory: every access is dispatched to the region that a test registered for it.
 *
 * mmu_map_device() needs no tables: the pointer that it gives is the physical address under a mark (see <impl/mmio.h>).
 */
#include <arch/mmio.h>
#include <arch/mmu.h>
#include <arch/platform.h>

#include "local.h"

#define PHYS_LIMIT (UINT64_C(1) << 48)
#define FIRMWARE_MAX 16

struct firmware {
	uint64_t phys, size;
	const char *memory;
};

bool host_pio_present = true;
uint64_t (*host_virt_to_phys_hook)(const void *virt);
void (*host_access_hook)(const struct host_region *region, const struct host_access *access);

static struct host_region *mmio_regions, *pio_regions;
static struct firmware firmware[FIRMWARE_MAX];
static unsigned firmware_count;
atomic_ulong host_strays;

static uint32_t (*pci_read)(void *context, uint16_t bdf, uint16_t offset, unsigned width);
static void (*pci_write)(void *context, uint16_t bdf, uint16_t offset, unsigned width, uint32_t value);
static void *pci_context;
static uint64_t pci_window[2][2]; /* memory, ports: base, end */

void host_io_reset(void)
{
	mmio_regions = pio_regions = NULL;
	firmware_count = 0;
	host_strays = 0;
	host_pio_present = true;
	host_virt_to_phys_hook = NULL;
	host_access_hook = NULL;
	host_pci_ports_set(NULL, NULL, NULL);
	host_pci_window_set(false, 0, 0);
	host_pci_window_set(true, 0, 0);
}

uint64_t host_stray_count(void) { return host_strays; }

static void add(struct host_region **list, struct host_region *region)
{
	for (struct host_region *other = *list; other; other = other->next) {
		if (region->base < other->base + other->size && other->base < region->base + region->size)
			host_fail("regions overlap at %#llx", (unsigned long long)region->base);
	}
	region->next = *list;
	*list = region;
}

static void remove_from(struct host_region **list, struct host_region *region)
{
	while (*list && *list != region)
		list = &(*list)->next;
	if (*list)
		*list = region->next;
}

void host_mmio_add(struct host_region *region) { add(&mmio_regions, region); }

void host_mmio_remove(struct host_region *region) { remove_from(&mmio_regions, region); }

void host_pio_add(struct host_region *region) { add(&pio_regions, region); }

void host_pio_remove(struct host_region *region) { remove_from(&pio_regions, region); }

static const struct host_region *find(const struct host_region *region, uint64_t address, unsigned width)
{
	while (region && (address < region->base || address - region->base > region->size ||
	                  region->size - (address - region->base) < width))
		region = region->next;
	if (!region)
		host_strays++;
	return region;
}

static void tell(const struct host_region *region, uint64_t address, unsigned width, uint64_t value, bool write)
{
	if (host_access_hook)
		host_access_hook(region, &(struct host_access){address - (region ? region->base : 0), value, width, write});
}

static uint64_t region_read(const struct host_region *region, uint64_t address, unsigned width)
{
	uint64_t value = region && region->read ? region->read(region->context, address - region->base, width) : UINT64_MAX;

	tell(region, address, width, value, false);
	return value;
}

static void region_write(const struct host_region *region, uint64_t address, unsigned width, uint64_t value)
{
	tell(region, address, width, value, true);
	if (region && region->write)
		region->write(region->context, address - region->base, width, value);
}

uint64_t host_mmio_read(uint64_t phys, unsigned width)
{
	if (phys % width)
		host_fail("unaligned read of %u bytes at %#llx", width, (unsigned long long)phys);
	return region_read(find(mmio_regions, phys, width), phys, width);
}

void host_mmio_write(uint64_t phys, unsigned width, uint64_t value)
{
	if (phys % width)
		host_fail("unaligned write of %u bytes at %#llx", width, (unsigned long long)phys);
	region_write(find(mmio_regions, phys, width), phys, width, value);
}

bool pio_present(void) { return host_pio_present; }

uint64_t host_pio_read(uint16_t port, unsigned width) { return region_read(find(pio_regions, port, width), port, width); }

void host_pio_write(uint16_t port, unsigned width, uint64_t value)
{
	region_write(find(pio_regions, port, width), port, width, value);
}

/* As on a machine: any address that is not RAM can be mapped, whether something answers there or not. */
volatile void *mmu_map_device(uint64_t phys, uint64_t size)
{
	uint64_t end;

	if (!size || __builtin_add_overflow(phys, size, &end) || end > PHYS_LIMIT || host_overlaps_ram(phys, size))
		return NULL;
	return (volatile void *)(uintptr_t)(HOST_MMIO_MARK << 48 | phys);
}

void host_firmware_add(uint64_t phys, const void *memory, size_t size)
{
	if (firmware_count == FIRMWARE_MAX)
		host_fail("more than %d pieces of firmware", FIRMWARE_MAX);
	firmware[firmware_count++] = (struct firmware){phys, size, memory};
}

static struct {
	uint64_t phys, size;
} device_memory;

void host_device_memory(void *memory, uint64_t size)
{
	device_memory.phys = (uintptr_t)memory;
	device_memory.size = size;
}

void *mmu_map_memory(uint64_t phys, uint64_t size)
{
	if (!size || phys < device_memory.phys || phys - device_memory.phys > device_memory.size ||
	    size > device_memory.size - (phys - device_memory.phys))
		return NULL;
	return (void *)(uintptr_t)phys;
}

const void *mmu_map_firmware(uint64_t phys, uint64_t size)
{
	for (unsigned i = 0; size && i < firmware_count; i++) {
		const struct firmware *piece = &firmware[i];

		if (phys >= piece->phys && phys - piece->phys <= piece->size && size <= piece->size - (phys - piece->phys))
			return piece->memory + (phys - piece->phys);
	}
	return size && host_is_ram(phys, size) ? (const void *)(uintptr_t)phys : NULL;
}

uint64_t mmu_virt_to_phys(const void *virt) { return host_virt_to_phys_hook ? host_virt_to_phys_hook(virt) : (uintptr_t)virt; }

void host_pci_ports_set(uint32_t (*read)(void *context, uint16_t bdf, uint16_t offset, unsigned width),
                        void (*write)(void *context, uint16_t bdf, uint16_t offset, unsigned width, uint32_t value),
                        void *context)
{
	pci_read = read;
	pci_write = write;
	pci_context = context;
}

bool arch_pci_ports_present(void) { return pci_read != NULL; }

static void check_pci_access(uint16_t offset, unsigned width)
{
	if (!pci_read || offset >= 256 || (width != 1 && width != 2 && width != 4) || offset % width)
		host_fail("PCI port access of %u bytes at %#x", width, offset);
}

uint32_t arch_pci_ports_read(uint16_t bdf, uint16_t offset, unsigned width)
{
	check_pci_access(offset, width);
	return pci_read(pci_context, bdf, offset, width);
}

void arch_pci_ports_write(uint16_t bdf, uint16_t offset, unsigned width, uint32_t value)
{
	check_pci_access(offset, width);
	if (pci_write)
		pci_write(pci_context, bdf, offset, width, value);
}

void host_pci_window_set(bool ports, uint64_t base, uint64_t end)
{
	pci_window[ports][0] = base;
	pci_window[ports][1] = end;
}

void arch_pci_window(bool ports, uint64_t *base, uint64_t *end)
{
	*base = pci_window[ports][0];
	*end = pci_window[ports][1];
}
