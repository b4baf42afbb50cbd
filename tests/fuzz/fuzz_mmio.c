/*
 * virtio/transport_mmio.c with registers that answer from the input: a small device of any type, version and size, whose answers to
 * reads of some offsets are false ones. Bytes may appear in its queues, and its line goes up and down.
 *
 * No access may leave the range of its registers; requests end once; memory is back in the end, unless the device would not be reset.
 */
#include "fuzz.h"

#include <string.h>

#include <arch/mmu.h>
#include <base/log.h>
#include <base/poison.h>
#include <class/device.h>
#include <drivers/bus/mmio.h>
#include <host.h>
#include <virtio/transport.h>

#include "work.h"

#define BASE UINT64_C(0xfeb00000)
#define LINE 9u
#define QUEUES 4u
#define LIES 8u
#define STEPS_MAX 64u
#define CONFIG 0x100u
#define CONFIG_BYTES 64u

enum { /* "MMIO Device Register Layout" */
       MAGIC = 0x00,
       VERSION = 0x04,
       DEVICE_ID = 0x08,
       DEVICE_FEATURES = 0x10,
       DEVICE_FEATURES_SEL = 0x14,
       QUEUE_SEL = 0x30,
       QUEUE_SIZE_MAX = 0x34,
       QUEUE_SIZE = 0x38,
       QUEUE_PFN = 0x40,
       QUEUE_READY = 0x44,
       INTERRUPT_STATUS = 0x60,
       INTERRUPT_ACK = 0x64,
       STATUS = 0x70,
       QUEUE_DESC = 0x80,
       QUEUE_DEVICE = 0xa0,
       SHM_LEN = 0xb0,
       QUEUE_RESET = 0xc0,
       GENERATION = 0xfc,
};

static struct bank {
	struct fuzz_input in;
	struct host_region region;
	struct mmio_slot slot;
	uint32_t version, type, status, isr, generation, features_sel, queue_sel;
	uint64_t features;
	struct {
		uint16_t max, size;
		uint32_t pfn, ready;
		uint32_t areas[12]; /* QUEUE_DESC and on */
	} queues[QUEUES];
	uint8_t config[CONFIG_BYTES];
	uint64_t shm[2];
	struct lie {
		uint16_t at;
		uint8_t op, after, times; /* 255 times: for ever */
		uint32_t value;
	} lies[LIES];
	unsigned lie_count;
	bool status_lies;
} b;

static uint32_t honest(uint32_t at)
{
	unsigned queue = b.queue_sel % QUEUES;
	bool there = b.queue_sel < QUEUES;

	switch (at) {
	case MAGIC:
		return 0x74726976;
	case VERSION:
		return b.version;
	case DEVICE_ID:
		return b.type;
	case DEVICE_FEATURES:
		return b.features_sel < 2 ? (uint32_t)(b.features >> 32 * b.features_sel) : 0;
	case QUEUE_SIZE_MAX:
		return there ? b.queues[queue].max : 0;
	case QUEUE_PFN:
		return b.queues[queue].pfn;
	case QUEUE_READY:
		return b.queues[queue].ready;
	case INTERRUPT_STATUS:
		return b.isr;
	case STATUS:
		return b.status;
	case SHM_LEN:
	case SHM_LEN + 4:
	case SHM_LEN + 8:
	case SHM_LEN + 12:
		return (uint32_t)(b.shm[(at - SHM_LEN) / 8] >> (at & 4 ? 32 : 0));
	case GENERATION:
		return b.generation;
	default:
		return 0;
	}
}

static uint64_t read_register(void *context, uint64_t offset, unsigned width)
{
	uint32_t at = (uint32_t)offset, value = 0;

	(void)context;
	if (at >= CONFIG && at - CONFIG <= CONFIG_BYTES - width)
		memcpy(&value, &b.config[at - CONFIG], width);
	else if (at < CONFIG)
		value = honest(at);
	for (unsigned i = 0; i < b.lie_count; i++) {
		struct lie *lie = &b.lies[i];

		if (lie->at != at || !lie->times)
			continue;
		if (lie->after) {
			lie->after--;
			continue;
		}
		if (lie->times < 255)
			lie->times--;
		value = lie->op & 1 ? value ^ lie->value : lie->op & 2 ? value + lie->value * lie->times : lie->value;
	}
	return value;
}

static void set_line(void) { host_irq_set_line(LINE, b.isr); }

static void write_register(void *context, uint64_t offset, unsigned width, uint64_t value)
{
	uint32_t at = (uint32_t)offset, bits = (uint32_t)value;
	unsigned queue = b.queue_sel % QUEUES;

	(void)context;
	fuzz_check(at >= CONFIG || width == 4, "a register is written with %u bytes", width);
	if (at >= QUEUE_DESC && at < QUEUE_DESC + sizeof(b.queues[0].areas)) {
		b.queues[queue].areas[(at - QUEUE_DESC) / 4] = bits;
		return;
	}
	switch (at) {
	case DEVICE_FEATURES_SEL:
		b.features_sel = bits;
		break;
	case QUEUE_SEL:
		b.queue_sel = bits;
		break;
	case QUEUE_SIZE:
		b.queues[queue].size = (uint16_t)bits;
		break;
	case QUEUE_PFN:
		b.queues[queue].pfn = bits;
		break;
	case QUEUE_READY:
		b.queues[queue].ready = bits;
		break;
	case QUEUE_RESET:
		b.queues[queue].ready = 0;
		break;
	case INTERRUPT_ACK:
		fuzz_check(!(bits & ~3u), "InterruptACK is written with %#x", bits);
		b.isr &= ~bits;
		set_line();
		break;
	case STATUS:
		b.status = bits;
		for (unsigned i = 0; !bits && i < QUEUES; i++)
			b.queues[i].pfn = b.queues[i].ready = 0;
		break;
	default:
		break;
	}
}

static void add_lie(void)
{
	struct lie *lie = &b.lies[b.lie_count % LIES];

	lie->at = fuzz_u16(&b.in) % (CONFIG + CONFIG_BYTES);
	lie->op = fuzz_u8(&b.in);
	lie->after = fuzz_u8(&b.in);
	lie->times = fuzz_u8(&b.in);
	lie->value = lie->op & 128 ? fuzz_u32(&b.in) : fuzz_u8(&b.in);
	b.status_lies |= lie->at == STATUS;
	if (b.lie_count < LIES)
		b.lie_count++;
}

/* Bytes at some place of a queue's device area, as the driver told where that is. */
static void scribble(void)
{
	unsigned queue = fuzz_u8(&b.in) % QUEUES, size = b.queues[queue].size;
	uint32_t bytes = b.features & BIT64(VIRTIO_F_RING_PACKED) ? 4 : 6 + 8 * size, offset = fuzz_u16(&b.in) % bytes;
	const uint32_t *areas = b.queues[queue].areas;
	uint64_t area = areas[(QUEUE_DEVICE - QUEUE_DESC) / 4] | (uint64_t)areas[(QUEUE_DEVICE - QUEUE_DESC) / 4 + 1] << 32;

	if (b.version == 1)
		area = b.queues[queue].pfn * UINT64_C(4096) + ALIGN_UP(size * 18u + 6, 4096u);
	if ((b.queues[queue].ready || b.queues[queue].pfn) && host_is_ram(area, bytes) &&
	    !memory_is_poisoned((void *)(uintptr_t)area, bytes))
		fuzz_bytes(&b.in, (uint8_t *)(uintptr_t)area + offset, MIN(8u, bytes - offset));
}

static void step(void)
{
	uint8_t byte = fuzz_u8(&b.in);
	struct device_info *info = virtio_device_first() ? device_find(virtio_device_first()->name) : NULL;
	struct virtio_shm shm;

	switch (byte & 7) {
	case 0:
		work_step(&b.in);
		break;
	case 1:
		fuzz_loop((byte >> 3) * (byte >> 3) * UINT64_C(100000));
		break;
	case 2:
		b.isr |= byte >> 3 & 3;
		set_line();
		break;
	case 3:
		add_lie();
		break;
	case 4:
		scribble();
		break;
	case 5:
		byte = fuzz_u8(&b.in);
		b.config[byte % CONFIG_BYTES] = fuzz_u8(&b.in);
		b.generation++;
		break;
	case 6:
		b.status |= 0x40;
		break;
	case 7:
		if (info && byte & 16)
			(void)info->reset(info);
		else if (info && byte & 32)
			(void)info->reset_queue(info, byte >> 6);
		else if (info)
			(void)virtio_device_first()->ops->shm_region(virtio_device_first(), byte >> 6, &shm);
		break;
	}
}

static void set_up(void)
{
	uint8_t how = fuzz_u8(&b.in);
	unsigned size = how & 1 ? CONFIG + fuzz_u8(&b.in) : CONFIG + CONFIG_BYTES;

	b.version = how & 2 ? 1 : how & 4 ? fuzz_u8(&b.in) : 2;
	b.type = how & 8 ? fuzz_u32(&b.in) : how >> 4 & 7;
	b.features = (b.version == 1 ? 0 : BIT64(VIRTIO_F_VERSION_1)) ^ fuzz_u64(&b.in);
	for (unsigned i = 0; i < QUEUES; i++) {
		uint8_t code = fuzz_u8(&b.in);

		b.queues[i].max = (uint16_t)(code & 128 ? fuzz_u16(&b.in) : 1u << (code & 15));
	}
	fuzz_bytes(&b.in, b.config, fuzz_u8(&b.in) % (CONFIG_BYTES + 1));
	b.shm[0] = fuzz_u32(&b.in);
	b.shm[1] = BASE + fuzz_u32(&b.in);
	for (unsigned n = fuzz_u8(&b.in) % (LIES + 1); n; n--)
		add_lie();

	b.region = (struct host_region){.base = BASE, .size = size, .read = read_register, .write = write_register};
	host_mmio_add(&b.region);
	b.slot = (struct mmio_slot){.base = BASE,
	                            .size = size,
	                            .gsi = LINE,
	                            .trigger = how & 128 ? IRQ_TRIGGER_LEVEL : IRQ_TRIGGER_EDGE,
	                            .registers = mmu_map_device(BASE, size)};
	work_begin((uint16_t)b.type, false);
	LINKER_FOR_EACH (mmio_drivers, driver)
		if ((*driver)->claim(&b.slot))
			break;
}

static void run(const uint8_t *data, size_t size)
{
	memset(&b, 0, sizeof(b));
	b.in = (struct fuzz_input){data, size};
	fuzz_machine(8u << 20);
	set_up();
	for (unsigned i = 0; i < STEPS_MAX && b.in.left; i++)
		step();
	fuzz_loop(10000000);
	if (virtio_device_first())
		virtio_device_remove(virtio_device_first());
	work_end();
	fuzz_check(!host_stray_count(), "%llu accesses beyond the registers", (unsigned long long)host_stray_count());
	fuzz_machine_end(b.status_lies, UINT32_MAX);
}

/* ---- seeds ---- */

static const uint8_t config_of[][16] = {[1] = {0x52, 0x54, 0, 1, 2, 3, 1, 0, 0, 0, 0xdc, 5},
                                        [2] = {0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 16},
                                        [3] = {80, 0, 25, 0},
                                        [4] = {0}};

static void put_bank(uint8_t how, unsigned type)
{
	fuzz_put8((uint8_t)(how | type << 4));
	fuzz_put(type == 2 ? 0x46 : type == 1 ? 0x10028 : type == 3 ? 5 : 0, 8);
	fuzz_put8(8, 8, 8, 8, 16);
	fuzz_put_all(config_of[type], 16);
	fuzz_put(0x1000, 4);
	fuzz_put(0x10000, 4);
}

static void put_steps(unsigned type)
{
	static const uint8_t steps[] = {0x19, 0x0a, 0x19, 0x12, 0x19, 4, 0,    2,    0, 1,    0,    0,    0, 0,    0,   0,
	                                0,    0x0a, 0x19, 5,    0,    9, 0x12, 0x19, 7, 0x27, 0x17, 0x19, 6, 0x12, 0x39};
	static const uint8_t requests[][6] =
		{[1] = {0, 0, 0, 60, 0, 0}, [2] = {0, 0x09, 0, 0, 5, 0}, [3] = {0, 0, 50}, [4] = {0, 9}};
	static const uint8_t lengths[] = {0, 5, 5, 3, 2};

	fuzz_put_all(requests[type], lengths[type]);
	fuzz_put_all(steps, sizeof(steps));
}

static void seeds(void)
{
	static const uint8_t registers[] = {MAGIC,       VERSION,          DEVICE_ID, DEVICE_FEATURES, QUEUE_SIZE_MAX, QUEUE_PFN,
	                                    QUEUE_READY, INTERRUPT_STATUS, STATUS,    QUEUE_RESET,     GENERATION};
	char name[32];

	for (unsigned type = 1; type <= 4; type++) {
		for (unsigned version = 1; version <= 2; version++) {
			put_bank(version == 1 ? 2 : 128, type);
			fuzz_put8(0);
			put_steps(type);
			format_text(name, sizeof(name), "type-%u-version-%u", type, version);
			fuzz_seed(name);
		}
		for (unsigned i = 0; i < sizeof(registers); i++) {
			put_bank(i % 3 ? 0 : 2, type);
			fuzz_put8(1, registers[i], 0, i & 1 ? 1 : 0x80, (uint8_t)(i % 4), 255);
			fuzz_put(UINT32_MAX, i & 1 ? 1 : 4);
			put_steps(type);
			format_text(name, sizeof(name), "type-%u-lie-%u", type, i);
			fuzz_seed(name);
		}
	}
	fuzz_put8(1, 0, 0);
	fuzz_seed("no-configuration");
}

FUZZ_TARGET(mmio);
