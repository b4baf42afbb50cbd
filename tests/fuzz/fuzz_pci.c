/*
 * drivers/bus/pci*.c and virtio/transport_pci*.c with a configuration space of the input: a tree of functions, from templates of devices and
 * bridges that are sound, with bytes of them changed at will, and which bytes can be written as well. Capability lists, BARs, MSI-X, bus
 * numbers, windows all come from there. What lies behind the BARs remembers what is written to it, which is enough of a
 * virtio device to be brought up, and gives false answers at a few places.
 *
 * Whatever the space says: the scan ends, and soon; no BAR is sized or placed while its function decodes; nothing is accessed that no BAR
 * of a decoding function holds; what is placed lies apart, and not over RAM.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include <arch/platform.h>
#include <base/acpi.h>
#include <base/log.h>
#include <base/page.h>
#include <drivers/bus/pci.h>
#include <host.h>
#include <virtio/virtio.h>

#include "check.h"
#include "pci_model.h"

#define FUNCTIONS 10u
#define LIES 6u
#define STEPS_MAX 32u
#define SCRATCH 0x4000u
#define FUNCTIONS_PER_PAGE ((unsigned)(PAGE_SIZE / sizeof(struct pci_function)))
#define WINDOW UINT64_C(0xc0000000)
#define WINDOW_END UINT64_C(0xd0000000)
#define PORTS 0x1000u
#define ECAM UINT64_C(0xe0000000)
#define ACCESSES_MAX 400000u /* 256 buses of 32 devices of 8 functions, each asked for less than 6 fields */

enum { COMMON_AT = 0, ISR_AT = 0x1000, DEVICE_AT = 0x2000, NOTIFY_AT = 0x3000 };
enum { QUEUE_SELECT = 22, QUEUE_SIZE = 24, QUEUE_ENABLE = 28 }; /* of the common configuration */
enum { KIND_MODERN, KIND_TRANSITIONAL, KIND_LEGACY, KIND_UNPLACED, KIND_BRIDGE, KIND_PORT, KIND_OTHER, KINDS };

static struct tree {
	struct fuzz_input in;
	uint8_t memory[FUNCTIONS][2][SCRATCH]; /* behind BARs of even and of odd number */
	bool command_changed;                  /* so that decoding is not what the driver made of it */
	bool odd_ecam;                         /* configuration space may be told to be anywhere */
	struct lie {
		uint8_t function, op, after, times;
		uint16_t at;
		uint32_t value;
	} lies[LIES];
	unsigned lie_count;
	uint64_t bases[FUNCTIONS][PCI_BAR_COUNT]; /* at the start */
} t;

/* ---- behind the BARs ---- */

static uint64_t bar_mask(const struct model_function *function, unsigned bar)
{
	uint64_t mask = 0;

	for (unsigned i = 0; i < 4; i++)
		mask |= (uint64_t)function->writable[0x10 + 4 * bar + i] << 8 * i;
	return mask;
}

/* Whether a BAR of the function, as it is set now, holds that address. One that cannot be written tells by its ones how large it is, like any. */
static bool holds(const struct model_function *function, unsigned bar, bool io, uint64_t address)
{
	uint64_t low = model_get(function, 0x10 + 4 * bar, 4), mask = bar_mask(function, bar) & (io ? ~3u : ~15u);
	bool is_64 = !io && (low & 6) == 4 && bar < 5;

	if ((low & 1) != io)
		return false;
	low &= io ? ~UINT64_C(3) : ~UINT64_C(15);
	if (!mask && !is_64)
		mask = low;
	if (!mask && !is_64)
		return false;
	if (is_64) {
		low |= (uint64_t)model_get(function, 0x14 + 4 * bar, 4) << 32;
		mask |= bar_mask(function, bar + 1) << 32;
	} else {
		mask |= io ? ~UINT64_C(0xffff) : ~(uint64_t)UINT32_MAX;
	}
	return (address & mask) == (low & mask);
}

static uint8_t *find(bool io, uint64_t address, unsigned *which)
{
	static uint8_t nowhere[8];
	bool fw_cfg = io && address >= 0x510 && address < 0x51c; /* the platform's, and not there */

	for (unsigned i = 0; i < model_count; i++) {
		const struct model_function *function = &model[i];

		if (!(function->space[4] & (io ? 1 : 2)) && !t.command_changed)
			continue;
		for (unsigned bar = 0; bar < PCI_BAR_COUNT; bar++)
			if (holds(function, bar, io, address)) {
				*which = i;
				return &t.memory[i][bar & 1][address % SCRATCH];
			}
	}
	fuzz_check((t.odd_ecam && !io) || fw_cfg, "%s %#llx is accessed, which no BAR of a function that decodes has",
	           io ? "port" : "memory", (unsigned long long)address);
	*which = FUNCTIONS;
	memset(nowhere, 0xff, sizeof(nowhere));
	return nowhere;
}

static uint64_t falsify(unsigned which, const uint8_t *at, unsigned width, uint64_t value)
{
	for (unsigned i = 0; i < t.lie_count; i++) {
		struct lie *lie = &t.lies[i];

		if (lie->function != which || which == FUNCTIONS || at != &t.memory[which][0][lie->at] || !lie->times)
			continue;
		if (lie->after) {
			lie->after--;
			continue;
		}
		if (lie->times < 255)
			lie->times--;
		value = lie->op & 1 ? value ^ lie->value : lie->op & 2 ? value + lie->value * lie->times : lie->value;
	}
	return value & (UINT64_MAX >> (64 - 8 * width));
}

static uint64_t access_read(bool io, uint64_t address, unsigned width)
{
	uint64_t value = 0;
	unsigned which;
	const uint8_t *at = find(io, address, &which);

	memcpy(&value, at, width); /* an aligned access does not cross the end of the scratch */
	return falsify(which, at, width, value);
}

static void access_write(bool io, uint64_t address, unsigned width, uint64_t value)
{
	unsigned which;
	uint8_t *at = find(io, address, &which);
	uint8_t *common;

	memcpy(at, &value, width);
	if (which == FUNCTIONS)
		return;
	common = t.memory[which][0];
	if (!io && at == common + QUEUE_SELECT) /* one queue's fields stand for all */
		memset(common + QUEUE_ENABLE, 0, 2);
	if (!io && at == common + 20 && !value)
		memset(common + QUEUE_ENABLE, 0, 2);
}

static uint64_t ecam_read(uint64_t offset, unsigned width)
{
	return (offset & 0xfff) < 256 ? arch_pci_ports_read((uint16_t)(offset >> 12), offset & 0xff, width) : UINT64_MAX;
}

static uint64_t memory_read(void *context, uint64_t address, unsigned width)
{
	(void)context;
	return address - ECAM < 1u << 28 ? ecam_read(address - ECAM, width) : access_read(false, address, width);
}

static void memory_write(void *context, uint64_t address, unsigned width, uint64_t value)
{
	(void)context;
	if (address - ECAM >= 1u << 28)
		access_write(false, address, width, value);
	else if ((address & 0xfff) < 256)
		arch_pci_ports_write((uint16_t)((address - ECAM) >> 12), address & 0xff, width, (uint32_t)value);
}

static uint64_t port_read(void *context, uint64_t address, unsigned width)
{
	(void)context;
	return access_read(true, address, width);
}

static void port_write(void *context, uint64_t address, unsigned width, uint64_t value)
{
	(void)context;
	access_write(true, address, width, value);
}

static struct host_region everything = {.size = UINT64_C(1) << 48, .read = memory_read, .write = memory_write};
static struct host_region all_ports = {.size = 0x10000, .read = port_read, .write = port_write};

/* ---- the tree ---- */

static void virtio_capability(struct model_function *function, uint8_t type, uint32_t offset, uint32_t length)
{
	uint8_t body[18] = {type == 2 || type == 5 ? 20 : 16, type, 4};

	memcpy(body + 6, &offset, 4);
	memcpy(body + 10, &length, 4);
	body[14] = 4;
	model_capability(function, 0x09, body, body[0] - 2u);
}

static struct model_function *add_virtio(struct model_function *above, unsigned device, unsigned type, unsigned kind)
{
	static const uint16_t transitional[] = {0x1000, 0x1000, 0x1001, 0x1003, 0x1005};
	bool modern = kind == KIND_MODERN || kind == KIND_UNPLACED;
	struct model_function *new = model_add(above, device >> 3, device & 7, 0x1af4,
	                                       modern ? (uint16_t)(0x1040 + type) : transitional[type]);
	unsigned i = model_count - 1;
	uint8_t msix[10] = {2, 0, 1, 0, 0, 0, 1, 8};

	model_put(new, 4, kind == KIND_UNPLACED ? 0 : 7, 2);
	model_put(new, 0x2c, 0x1af4 | type << 16, 4);
	model_put(new, 0x3c, 0x010b, 2);
	memset(new->writable + 0x3c, 0xff, 1);
	model_bar(new, 1, 0x1000, 0, kind == KIND_UNPLACED ? 0 : 0xfe000000 + i * 0x10000);
	new->writable[model_capability(new, 0x11, msix, sizeof(msix)) + 3] = 0xc0;
	if (kind != KIND_MODERN && kind != KIND_UNPLACED)
		model_bar(new, 0, 0x80, 1, 0xc000 + i * 0x100);
	if (kind == KIND_LEGACY)
		return new;
	model_bar(new, 4, 0x4000, 4, kind == KIND_UNPLACED ? 0 : UINT64_C(0x800000000) + i * 0x10000);
	virtio_capability(new, 1, COMMON_AT, 60);
	virtio_capability(new, 2, NOTIFY_AT, 0x1000);
	virtio_capability(new, 3, ISR_AT, 1);
	virtio_capability(new, 4, DEVICE_AT, 64);
	memset(new->writable + new->next_capability + 4, 0xff, 16);
	virtio_capability(new, 5, 0, 0);
	return new;
}

static struct model_function *add(unsigned kind, struct model_function *above, unsigned device)
{
	static const uint8_t express[] = {0x42, 0};
	struct model_function *new;
	unsigned secondary;

	switch (kind) {
	case KIND_BRIDGE:
	case KIND_PORT:
		secondary = fuzz_u8(&t.in);
		new = model_add_bridge(above, device >> 3, secondary, fuzz_u8(&t.in));
		if (kind == KIND_PORT)
			model_capability(new, 0x10, express, sizeof(express));
		break;
	case KIND_OTHER:
		new = model_add(above, device >> 3, device & 7, 0x8086, 0x1234);
		model_put(new, 8, 0x06000000, 4);
		model_bar(new, 0, 0x1000, 0, 0);
		break;
	default:
		new = add_virtio(above, device, 1 + fuzz_u8(&t.in) % 4, kind);
	}
	new->space[0x0e] |= device & 7 ? 0 : 0x80;
	return new;
}

/* A few bytes of its space, or of what can be written there. */
static void change(struct model_function *function)
{
	uint8_t how = fuzz_u8(&t.in), at = fuzz_u8(&t.in);
	unsigned count = 1 + (how & 7);
	uint8_t *to = how & 128 ? function->writable : function->space;

	count = MIN(count, 256u - at);
	fuzz_bytes(&t.in, to + at, count);
	t.command_changed |= how & 128 && at < 6 && at + count > 4;
}

static void registers(unsigned which, uint8_t how)
{
	static const uint8_t net[] = {0x52, 0x54, 0, 1, 2, 3, 1, 0, 0, 0, 0xdc, 5}, blk[] = {0, 8, 0, 0, 0, 0, 0, 0};
	uint8_t *common = t.memory[which][0];
	bool legacy = how & 1;

	common[legacy ? 0 : 4] = 1; /* bit 0, and modern: VERSION_1, since both words are one */
	common[legacy ? 12 : QUEUE_SIZE] = (uint8_t)(1u << (how >> 1 & 7));
	memcpy(common + (legacy ? 24 : DEVICE_AT), how & 16 ? net : blk, how & 16 ? sizeof(net) : sizeof(blk));
}

static void add_lie(void)
{
	struct lie *lie = &t.lies[t.lie_count % LIES];
	uint8_t where = fuzz_u8(&t.in);

	lie->function = where & 7;
	lie->at = (uint16_t)(fuzz_u8(&t.in) % 64 + (where & 64 ? DEVICE_AT : 0));
	lie->op = fuzz_u8(&t.in);
	lie->after = fuzz_u8(&t.in);
	lie->times = fuzz_u8(&t.in);
	lie->value = lie->op & 128 ? fuzz_u32(&t.in) : fuzz_u8(&t.in);
	if (t.lie_count < LIES)
		t.lie_count++;
}

static uint8_t mcfg[44 + 2 * 16], rsdt[40], rsdp[20];

static void seal(uint8_t *table, size_t size, size_t sum_at)
{
	uint8_t sum = 0;

	table[sum_at] = 0;
	for (size_t i = 0; i < size; i++)
		sum = (uint8_t)(sum + table[i]);
	table[sum_at] = (uint8_t)-sum;
}

/* ACPI says that there is ECAM, or something like it. */
static void offer_ecam(bool plain)
{
	uint64_t base = ECAM;

	memset(mcfg, 0, sizeof(mcfg));
	memcpy(mcfg, "MCFG", 4);
	mcfg[4] = sizeof(mcfg);
	memcpy(mcfg + 44, &base, sizeof(base));
	mcfg[55] = 255;
	if (!plain)
		fuzz_bytes(&t.in, mcfg + 44, 32);
	t.odd_ecam = !plain;
	seal(mcfg, sizeof(mcfg), 9);
	memset(rsdt, 0, sizeof(rsdt));
	memcpy(rsdt, "RSDT", 4);
	rsdt[4] = sizeof(rsdt);
	rsdt[37] = 0x10;
	seal(rsdt, sizeof(rsdt), 9);
	memset(rsdp, 0, sizeof(rsdp));
	memcpy(rsdp, "RSD PTR ", 8);
	rsdp[17] = 0x20;
	seal(rsdp, sizeof(rsdp), 8);
	host_firmware_add(0x1000, mcfg, sizeof(mcfg));
	host_firmware_add(0x2000, rsdt, sizeof(rsdt));
	host_firmware_add(0x3000, rsdp, sizeof(rsdp));
	acpi_init(0x3000);
}

static void build(void)
{
	uint8_t flags = fuzz_u8(&t.in);

	model_start();
	host_mmio_add(&everything);
	host_pio_add(&all_ports);
	host_pci_window_set(false, WINDOW, flags & 1 ? WINDOW + 0x100000 : WINDOW_END);
	host_pci_window_set(true, PORTS, 0x2000);
	host_message_limit = flags & 2 ? 2 : 64;
	if (flags & 4)
		offer_ecam(flags & 8);
	else
		acpi_init(1); /* nothing there */
	for (unsigned n = 1 + (flags >> 4) % FUNCTIONS; n; n--) {
		uint8_t kind = fuzz_u8(&t.in), place = fuzz_u8(&t.in);
		unsigned above = kind >> 4;
		struct model_function *bridge = above && above <= model_count ? &model[above - 1] : NULL;

		add(kind % 8 % KINDS, bridge && (bridge->space[0x0e] & 0x7f) == 1 ? bridge : NULL, place);
		registers(model_count - 1, fuzz_u8(&t.in));
		for (unsigned changes = fuzz_u8(&t.in) & 7; changes; changes--)
			change(&model[model_count - 1]);
	}
	for (unsigned n = fuzz_u8(&t.in) % (LIES + 1); n; n--)
		add_lie();
}

/* ---- after the scan ---- */

struct placed {
	uint64_t base, size;
	bool io;
};

/* What the scan has placed: disjoint, in the platform's window or a bridge's. */
static void check_places(void)
{
	struct placed all[FUNCTIONS * PCI_BAR_COUNT];
	unsigned count = 0;

	for (const struct pci_function *function = pci_first(); function; function = function->next) {
		const struct model_function *of = NULL;

		for (unsigned i = 0; i < model_count; i++)
			if (model[i].device_function == (function->bdf & 0xff) && model_found(function->name) == function)
				of = of ? of : &model[i];
		for (unsigned bar = 0; of && bar < PCI_BAR_COUNT; bar++) {
			const struct pci_bar *b = &function->bars[bar];
			struct placed new = {b->base, b->size, b->kind == PCI_BAR_IO};

			/* Only what can be told apart from what firmware set: the tree's windows are below those */
			if (!b->size || !b->base || b->base < (new.io ? PORTS : WINDOW) ||
			    b->base >= (new.io ? 0x2000 : WINDOW_END) || t.bases[of - model][bar])
				continue;
			fuzz_check(b->base % b->size == 0, "BAR %u of %s is placed at %#llx", bar, function->name,
			           (unsigned long long)b->base);
			fuzz_check(new.io || !host_is_ram(b->base, 1), "BAR %u of %s is placed over RAM", bar, function->name);
			for (unsigned i = 0; i < count; i++)
				fuzz_check(all[i].io != new.io || new.base >= all[i].base + all[i].size ||
				                   all[i].base >= new.base + new.size,
				           "BAR %u of %s is placed over another at %#llx", bar, function->name,
				           (unsigned long long)new.base);
			if (count < ARRAY_SIZE(all))
				all[count++] = new;
		}
	}
}

static void step(void)
{
	uint8_t byte = fuzz_u8(&t.in);
	struct virtio_device *vdev = virtio_device_first();

	switch (byte & 3) {
	case 0:
		fuzz_loop((byte >> 2) * UINT64_C(500000));
		break;
	case 1:
		host_irq_raise_message(0xfee00000 + 16u * (byte >> 2), 0x4000u + (byte >> 2));
		break;
	case 2:
		host_irq_set_line(11, byte & 4);
		break;
	case 3:
		if (vdev && vdev->state == VIRTIO_RUNNING)
			(void)vdev->info.reset(&vdev->info);
		break;
	}
}

static void run(const uint8_t *data, size_t size)
{
	uint64_t free_pages;
	unsigned functions = 0;
	bool stuck = false;

	memset(&t, 0, sizeof(t));
	t.in = (struct fuzz_input){data, size};
	fuzz_machine(8u << 20);
	free_pages = page_count_free();
	build();
	for (unsigned i = 0; i < model_count; i++)
		for (unsigned bar = 0; bar < PCI_BAR_COUNT; bar++)
			t.bases[i][bar] = model_get(&model[i], 0x10 + 4 * bar, 4) & ~15u;
	model_scan();
	fuzz_check(model_accesses < ACCESSES_MAX, "%u configuration accesses", model_accesses);
	fuzz_check(t.command_changed || !model_live_bar_writes, "%u writes to BARs of a function that decodes",
	           model_live_bar_writes);
	check_places();
	for (unsigned i = 0; i < STEPS_MAX && t.in.left; i++)
		step();
	host_irq_set_line(11, false);
	fuzz_loop(1000000);
	for (const struct pci_function *function = pci_first(); function; function = function->next)
		functions++;
	while (virtio_device_first()) {
		stuck |= virtio_device_first()->stuck || t.lie_count;
		virtio_device_remove(virtio_device_first());
	}
	functions = (functions + FUNCTIONS_PER_PAGE - 1) / FUNCTIONS_PER_PAGE;
	fuzz_check(stuck || page_count_free() + functions == free_pages, "%llu pages free, of %llu, with %u for functions",
	           (unsigned long long)page_count_free(), (unsigned long long)free_pages, functions);
	fuzz_machine_end(true, 2000);
}

/* ---- seeds ---- */

/* One function with nothing changed; `detail` is the bus behind a bridge, or the device type. */
static void put_function(unsigned kind, unsigned above, uint8_t place, uint8_t detail, uint8_t how)
{
	fuzz_put8((uint8_t)(kind | above << 4), place);
	if (kind == KIND_BRIDGE || kind == KIND_PORT)
		fuzz_put8(detail, detail);
	else if (kind != KIND_OTHER)
		fuzz_put8((uint8_t)(detail - 1));
	fuzz_put8(how, 0);
}

static void put_flags(unsigned functions, uint8_t flags) { fuzz_put8((uint8_t)((functions - 1) << 4 | flags)); }

static void put_end(void) { fuzz_put8(0, 0x14, 1, 5, 9, 0x14, 6, 0x14, 2, 3, 0x14); }

static void seed_devices(void)
{
	char name[48];

	for (unsigned kind = KIND_MODERN; kind <= KIND_UNPLACED; kind++) {
		for (unsigned type = 1; type <= 4; type++) {
			put_flags(1, type == 4 ? 12 : type == 3 ? 2 : 0);
			put_function(kind, 0, 8, (uint8_t)type, (uint8_t)((type == 1 ? 0x1e : 0x0c) | (kind == KIND_LEGACY)));
			put_end();
			format_text(name, sizeof(name), "kind-%u-type-%u", kind, type);
			fuzz_seed(name);
		}
	}
	for (unsigned at = 0; at < 0x90; at += 4) { /* a pointer, id, length or BAR number that is none */
		put_flags(1, 0);
		fuzz_put8(KIND_MODERN, 8, 1, 0x0c, 1, 3, (uint8_t)(at + 1), 0x40, (uint8_t)at, 0xff, 0xff);
		put_end();
		format_text(name, sizeof(name), "changed-%u", at);
		fuzz_seed(name);
	}
	for (unsigned at = 0; at < 60; at += 4) {
		put_flags(1, 0);
		put_function(KIND_TRANSITIONAL, 0, 8, 2, 0x0c);
		fuzz_put8(1, 0, (uint8_t)at, 0x80, 1, 255, 0xff, 0xff, 0xff, 0xff, 0x14, 3, 0x14);
		format_text(name, sizeof(name), "lie-%u", at);
		fuzz_seed(name);
	}
}

static void seeds(void)
{
	seed_devices();
	put_flags(6, 0);
	put_function(KIND_BRIDGE, 0, 8, 1, 0);
	put_function(KIND_BRIDGE, 1, 8, 2, 0);
	put_function(KIND_MODERN, 1, 16, 2, 0x0c);
	put_function(KIND_UNPLACED, 2, 8, 4, 0x0c);
	put_function(KIND_PORT, 0, 16, 3, 0);
	put_function(KIND_MODERN, 5, 0, 3, 0x0c);
	put_end();
	fuzz_seed("bridges");
	put_flags(6, 1);
	put_function(KIND_BRIDGE, 0, 8, 0, 0);
	put_function(KIND_PORT, 1, 8, 0, 0);
	put_function(KIND_UNPLACED, 2, 0, 2, 0x0c);
	put_function(KIND_UNPLACED, 1, 16, 4, 0x0c);
	put_function(KIND_UNPLACED, 0, 24, 1, 0x0c);
	put_function(KIND_OTHER, 0, 9, 0, 0);
	put_end();
	fuzz_seed("unnumbered");
	put_flags(2, 4);
	fuzz_put(UINT64_C(0xe0000000), 8);
	fuzz_put(UINT64_C(0x00000000ff000000), 8);
	fuzz_put(UINT64_C(0xf0000000), 8);
	fuzz_put(UINT64_C(0x00000000ff100001), 8);
	put_function(KIND_OTHER, 0, 0, 0, 0);
	put_function(KIND_MODERN, 0, 8, 2, 0x0c);
	put_end();
	fuzz_seed("segments");
}

FUZZ_TARGET(pci);
