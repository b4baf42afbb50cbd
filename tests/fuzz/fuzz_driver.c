/*
 * A driver from end to end: brought up over any transport, given requests through its class, and taken down, with a device that is steered by
 * the input.
 *
 * There are two kinds of mischief. What the specification lets a device do, it may do at any time: hold buffers back, use them in any
 * order, write junk into them, use less than there is, fail, change its configuration, ask for a reset, interrupt without cause, vanish. Then
 * the driver must still keep every rule that the software device knows. Only if the input's flags say LIES, the device
 * also breaks the rules itself: false registers, false used entries, bytes anywhere in its rings; what it thinks of the driver then means nothing.
 *
 * Either way every request ends once, nothing is touched that is not the driver's, and when the device is removed all memory is back.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include <arch/clock.h>
#include <base/cmdline.h>
#include <base/log.h>
#include <class/device.h>
#include <virtio/virtio.h>

#include "bounce.h"
#include "swdev_impl.h"
#include "swdev_types.h"
#include "work.h"

#define STEPS_MAX 96u
#define WHIMS_MAX 128u
#define FALSE_REGISTERS 6u
#define PATIENCE_NS UINT64_C(60000000000) /* of fake time, for each of plugging and unplugging */
#define JUNK_MAX 32u
#define CONSOLE_CONTROL_TRANSMITQ 3u

enum { FLAG_LIES = 1, FLAG_BOUNCE = 2 };

static const struct swdev_type *const types[] = {&swdev_net, &swdev_blk, &swdev_console, &swdev_entropy};

static const struct way {
	const struct swdev_front *front;
	bool legacy, packed, transitional;
} ways[] = {
	{.front = &swdev_direct},
	{.front = &swdev_direct, .packed = true},
	{.front = &swdev_mmio},
	{.front = &swdev_mmio, .legacy = true},
	{.front = &swdev_pci},
	{.front = &swdev_pci, .packed = true},
	{.front = &swdev_pci, .legacy = true},
	{.front = &swdev_pci, .transitional = true},
};

static const char *const cmdlines[] = {"",
                                       "virtio.irq=poll",
                                       "virtio.irq=intx",
                                       "virtio.irq=msix",
                                       "virtio.queue=split",
                                       "virtio.queue=packed",
                                       "virtio.transport=any",
                                       "virtio.transport=mmio"};

static const uint16_t sizes[] = {256, 8, 4, 1, 2, 3, 16, 100, 1024, 32768, 65535, 0};

static struct driver {
	struct fuzz_input in, whims; /* steps; what the device makes of each buffer */
	struct swdev *dev;
	const struct swdev_type *type;
	bool lies, status_lies, bounced;
	uint8_t whim_bytes[WHIMS_MAX];
	uint16_t used_xor; /* of the lengths or ids to come */

	struct false_register {
		uint8_t reg, op;
		uint32_t value;
		int index; /* -1: any */
		unsigned after, times;
	} registers[FALSE_REGISTERS];
	unsigned register_count;
} d;

/* ---- the device ---- */

/* Junk for a buffer, and how much of it is said to be written. */
static uint32_t junk(const struct swdev_chain *chain, struct fuzz_input *in)
{
	uint8_t bytes[JUNK_MAX];
	uint8_t how = fuzz_u8(in);

	fuzz_bytes(in, bytes, how & (JUNK_MAX - 1));
	swdev_chain_write(chain, 0, bytes, how & (JUNK_MAX - 1));
	if (how & 32 && chain->writable_bytes) /* where a status byte is */
		swdev_chain_write(chain, chain->writable_bytes - 1, bytes, 1);
	if (how & 64)
		return (uint32_t)chain->writable_bytes;
	return (uint32_t)(fuzz_u16(in) % (chain->writable_bytes + 1));
}

static bool serve(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	/* A console's control message that it uses it has read: else it blames the driver for what it did not hear. */
	if (!d.lies && d.type == &swdev_console && queue->index == CONSOLE_CONTROL_TRANSMITQ)
		return d.type->serve(queue, chain, written);
	if (queue->held && swdev_has(d.dev, F_IN_ORDER)) /* then nothing behind it can be used */
		return false;
	switch (fuzz_below(&d.whims, 6)) {
	default:
		return d.type->serve(queue, chain, written);
	case 3:
		return false; /* for later, or for ever */
	case 4:
		*written = junk(chain, &d.whims);
		return true;
	case 5:
		*written = 0;
		return true;
	}
}

static uint32_t falsify(const struct false_register *lie, uint32_t honest)
{
	switch (lie->op % 5) {
	case 0:
		return lie->value;
	case 1:
		return honest ^ lie->value;
	case 2:
		return honest | lie->value;
	case 3:
		return honest & ~lie->value;
	default:
		return honest + lie->value * (lie->times & 1);
	}
}

static uint32_t tell(struct swdev *dev, enum swdev_reg reg, unsigned index, uint32_t honest)
{
	(void)dev;
	for (unsigned i = 0; i < d.register_count; i++) {
		struct false_register *lie = &d.registers[i];

		if (lie->reg != (uint8_t)reg || (lie->index >= 0 && (unsigned)lie->index != index) || !lie->times)
			continue;
		if (lie->after) {
			lie->after--;
			continue;
		}
		if (lie->times < 255)
			lie->times--;
		honest = falsify(lie, honest);
	}
	return honest;
}

static void tell_used(struct swdev_queue *queue, struct swdev_used_entry *entry)
{
	(void)queue;
	if (!d.used_xor)
		return;
	switch (d.used_xor & 3) {
	case 0:
		entry->id ^= d.used_xor >> 2;
		break;
	case 1:
		entry->length ^= (uint32_t)(d.used_xor >> 2) << (d.used_xor & 4 ? 16 : 0);
		break;
	case 2:
		entry->step = (uint16_t)(entry->step + (d.used_xor >> 2));
		break;
	case 3:
		entry->flags = d.used_xor & 0xfffc;
		break;
	}
	d.used_xor = 0;
}

static const struct swdev_lie liar = {.name = "fuzz", .at_used = tell_used, .at_read = tell, .blind = true};

static struct swdev_queue *choose_queue(void) { return &d.dev->queues[fuzz_below(&d.in, d.dev->queue_count)]; }

static bool is_running(void)
{
	return !d.dev->removed && d.dev->status & ST_DRIVER_OK && !(d.dev->status & (ST_NEEDS_RESET | ST_FAILED | ST_SUSPEND));
}

/* Use a buffer that was held back. */
static void use_held(bool with_junk)
{
	struct swdev_queue *queue = choose_queue();
	struct swdev_chain *chain;

	if (!is_running() || !queue->enabled || !(chain = swdev_take_held(queue)))
		return;
	swdev_complete(chain, with_junk ? junk(chain, &d.in) : 0);
}

static void send_to_driver(void)
{
	uint8_t bytes[1514] = {0};
	uint32_t length = 1 + fuzz_below(&d.in, sizeof(bytes));

	if (d.type == &swdev_net)
		swdev_nic_receive(d.dev, bytes, length);
	else if (d.type == &swdev_console)
		swdev_tty_type(d.dev, 0, bytes, length);
}

static void change_config(void)
{
	uint32_t at = fuzz_below(&d.in, 64), value = fuzz_u32(&d.in);

	if (d.lies) {
		memcpy(d.dev->config + at, &value, 1 + value % 4);
		swdev_config_changed(d.dev);
	} else if (d.type == &swdev_blk) { /* it may grow: a request on its way is not to be blamed for less */
		swdev_disk_resize(d.dev, MIN(swdev_disk(d.dev)->sectors + value % 64, 4096u));
	} else if (d.type == &swdev_net) {
		swdev_nic_link(d.dev, value & 1);
	} else if (d.type == &swdev_console) {
		memcpy(d.dev->config, &value, sizeof(value));
		swdev_config_changed(d.dev);
	}
}

static void false_register(void)
{
	struct false_register *lie = &d.registers[d.register_count % FALSE_REGISTERS];

	lie->reg = (uint8_t)(REG_MAGIC + fuzz_below(&d.in, REG_PCI_CONFIG));
	lie->op = fuzz_u8(&d.in);
	lie->value = lie->op & 128 ? fuzz_u32(&d.in) : fuzz_u8(&d.in);
	lie->index = (int8_t)fuzz_u8(&d.in);
	lie->after = fuzz_u8(&d.in);
	lie->times = lie->op & 64 ? 255 : fuzz_u8(&d.in);
	d.status_lies |= lie->reg == REG_STATUS;
	if (d.register_count < FALSE_REGISTERS)
		d.register_count++;
}

/* Bytes of the input somewhere in what the device may write of a ring. */
static void scribble(void)
{
	const struct swdev_queue *queue = choose_queue();
	bool packed = swdev_has(d.dev, F_RING_PACKED), event = fuzz_u8(&d.in) & 1;
	uint64_t at = packed && !event ? queue->descriptor_area : queue->device_area;
	uint32_t bytes = packed ? (event ? 4u : 16u * queue->size) : 6u + 8u * queue->size;
	uint32_t offset = fuzz_below(&d.in, bytes ? bytes : 1);
	uint8_t *area = queue->enabled ? swdev_memory(d.dev, at, bytes, "an area") : NULL;

	if (area)
		fuzz_bytes(&d.in, area + offset, MIN(8u, bytes - offset));
}

static void interrupt(void)
{
	uint8_t which = fuzz_u8(&d.in);

	if (is_running())
		d.dev->front->interrupt(d.dev, which & 1 ? &d.dev->queues[(which >> 1) % d.dev->queue_count] : NULL);
}

static void moods(void)
{
	uint8_t how = fuzz_u8(&d.in);

	d.dev->order = (enum swdev_order)((how & 3) % 3);
	d.dev->wish = (enum swdev_wish)((how >> 2 & 3) % 3);
	d.dev->budget = how & 16 ? 1 : 0;
	d.dev->no_interrupts = how & 32;
	d.dev->dead = how & 64;
	d.dev->batch_used = how & 128;
}

static void step_liar(unsigned step)
{
	struct swdev_queue *queue;

	if (!d.lies)
		return;
	switch (step) {
	case 0:
		false_register();
		break;
	case 1:
		d.used_xor = fuzz_u16(&d.in);
		break;
	case 2:
		scribble();
		break;
	case 3:
		d.dev->status |= fuzz_u8(&d.in);
		break;
	case 4:
		d.dev->offered ^= BIT64(fuzz_below(&d.in, 64));
		break;
	case 5:
		queue = choose_queue();
		queue->max = sizes[fuzz_below(&d.in, ARRAY_SIZE(sizes))];
		break;
	}
}

/* ---- the driver's side ---- */

static void manage(void)
{
	struct device_info *info = d.dev->vdev ? device_find(d.dev->vdev->name) : NULL;
	uint8_t how = fuzz_u8(&d.in);

	if (!info)
		return;
	switch (how & 7) {
	case 0:
		(void)info->reset(info);
		break;
	case 1:
	case 2:
		(void)info->reset_queue(info, how >> 3 & 3);
		break;
	case 3:
		(void)info->suspend(info, true);
		break;
	case 4:
		(void)info->suspend(info, false);
		break;
	case 5:
		(void)info->rebind(info);
		break;
	default:
		(void)info->interrupts(info);
		for (unsigned i = 0; i < info->queue_count; i++) {
			struct device_queue queue;

			info->queue(info, i, &queue);
		}
	}
}

static void step(void)
{
	uint8_t byte = fuzz_u8(&d.in);

	switch (byte & 15) {
	case 0:
	case 1:
	case 2:
		work_step(&d.in);
		break;
	case 3:
	case 4:
		fuzz_loop((byte >> 4) * (byte >> 4) * UINT64_C(200000));
		break;
	case 5:
	case 6:
		use_held(byte & 16);
		break;
	case 7:
		send_to_driver();
		break;
	case 8:
		change_config();
		break;
	case 9:
		interrupt();
		break;
	case 10:
		moods();
		break;
	case 11:
		manage();
		break;
	case 12:
		if (byte & 16)
			swdev_remove_by_surprise(d.dev);
		else if (is_running())
			swdev_needs_reset(d.dev);
		break;
	default:
		step_liar(byte >> 4 & 7);
		break;
	}
}

static void plug(void)
{
	static struct swdev_type steered;
	const struct way *way;
	uint8_t flags;

	d.type = types[fuzz_below(&d.in, ARRAY_SIZE(types))];
	way = &ways[fuzz_below(&d.in, ARRAY_SIZE(ways))];
	flags = fuzz_u8(&d.in);
	d.lies = flags & FLAG_LIES;
	cmdline_init(cmdlines[flags >> 5]);
	steered = *d.type;
	steered.serve = serve;
	d.dev = swdev_new(&steered);
	d.dev->legacy = way->legacy;
	d.dev->transitional = way->transitional;
	d.dev->quiet = d.lies;
	d.dev->lie = d.lies ? &liar : NULL;
	d.dev->direct_irq = fuzz_below(&d.in, VIRTIO_IRQ_POLL + 1);
	d.dev->vectors = (uint16_t)(3 - d.dev->direct_irq % 4);
	d.dev->mmio_level = flags & 4;
	d.dev->no_line = flags & 8;
	d.dev->offered |= way->packed ? FEATURE(F_RING_PACKED) : 0;
	d.dev->offered ^= fuzz_u64(&d.in);
	for (unsigned i = 0; i < d.dev->queue_count; i++)
		d.dev->queues[i].max = sizes[fuzz_below(&d.in, ARRAY_SIZE(sizes))];
	fuzz_bytes(&d.in, d.whim_bytes, fuzz_u8(&d.in) % WHIMS_MAX);
	d.whims = (struct fuzz_input){d.whim_bytes, WHIMS_MAX};
	for (unsigned i = d.lies ? fuzz_below(&d.in, FALSE_REGISTERS) : 0; i; i--)
		false_register();
	d.bounced = flags & FLAG_BOUNCE && way->front == &swdev_direct && !way->legacy;
	if (d.bounced)
		bounce_open(d.dev);
	(void)swdev_plug(d.dev, way->front);
	work_begin(d.type->id, false);
}

static void run(const uint8_t *data, size_t size)
{
	uint64_t start;
	unsigned violations;

	memset(&d, 0, sizeof(d));
	d.in = (struct fuzz_input){data, size};
	fuzz_machine(8u << 20);
	start = clock_ns();
	plug();
	fuzz_check(clock_ns() - start < PATIENCE_NS, "plugging takes %llu ns", (unsigned long long)(clock_ns() - start));
	for (unsigned i = 0; i < STEPS_MAX && d.in.left; i++)
		step();
	d.in.left = 0;
	fuzz_loop(10000000);
	start = clock_ns();
	violations = swdev_unplug(d.dev);
	fuzz_check(clock_ns() - start < PATIENCE_NS, "unplugging takes %llu ns", (unsigned long long)(clock_ns() - start));
	fuzz_check(d.lies || !violations, "%u violations", violations);
	work_end();
	if (d.bounced) {
		if (d.status_lies) /* the memory of a device whose reset does not complete is abandoned */
			bounce_counts.mapped = bounce_counts.allocated = 0;
		bounce_close();
	}
	fuzz_machine_end(d.status_lies, UINT32_MAX);
}

/* ---- seeds ---- */

static void put_device(unsigned type, unsigned way, uint8_t flags, uint8_t irq, uint64_t features, unsigned size)
{
	fuzz_put8((uint8_t)type, (uint8_t)way, flags, irq);
	fuzz_put(features, 8);
	for (unsigned i = 0; i < types[type]->queues; i++)
		fuzz_put8((uint8_t)size);
}

/* Requests of each shape, with time between them; as a step of that type reads them. */
static void put_work(unsigned type)
{
	static const uint8_t net[] = {0, 3,    0, 0, 2,  60, 0,  100, 0,  200, 0,  0x33, 7,   60,
	                              0, 0x33, 0, 1, 24, 3,  60, 0,   60, 0,   60, 0,    0x33};
	static const uint8_t blk[] = {0,    0x05, 2, 3,    0, 0x09, 0, 0, 5, 0, 0x22, 9, 0, 0x07, 8, 0, 0x33, 0,
	                              0x69, 4,    5, 0x43, 0, 0x8d, 0, 1, 2, 1, 2,    3, 4, 5,    6, 7, 8,    0x33};
	static const uint8_t tty[] = {0, 0,   50,   0, 1, 100, 7,   50, 0,    0x33, 0, 3,   0,
	                              2, 255, 0x33, 0, 4, 7,   255, 3,  0x33, 0,    5, 0x73};
	static const uint8_t rng[] = {0, 1, 0, 9, 0x33, 0, 255, 0, 255, 0x73};
	static const struct {
		const uint8_t *bytes;
		size_t count;
	} all[] = {{net, sizeof(net)}, {blk, sizeof(blk)}, {tty, sizeof(tty)}, {rng, sizeof(rng)}};

	fuzz_put_all(all[type].bytes, all[type].count);
}

static void seeds(void)
{
	static const uint8_t whims[] = {0, 3, 4, 0x61, 1, 5, 0, 4, 0x25, 1, 1, 1, 1, 1, 9, 0, 3, 0, 4, 0x40};
	static const struct {
		const char *name;
		uint8_t steps[12];
		uint8_t count;
	} events[] = {
		{"reset", {11, 0, 0x33}, 3},
		{"reset-queue", {11, 1, 0x33, 11, 9, 0x33}, 6},
		{"suspend", {11, 3, 0x33, 11, 4, 0x33}, 6},
		{"rebind", {11, 5, 0x33}, 3},
		{"needs-reset", {12, 0x33}, 2},
		{"removed", {28, 0x33}, 2},
		{"config", {8, 0, 1, 2, 3, 4, 0x33, 9, 0, 0x33}, 10},
		{"junk", {0x15, 0, 0x7f, 1, 2, 3, 0x33, 6, 0, 0x33}, 10},
		{"moods", {10, 0x95, 0x33, 10, 0x41, 0x33, 10, 0, 0x33}, 9},
	};
	char name[64];

	for (unsigned type = 0; type < ARRAY_SIZE(types); type++) {
		for (unsigned way = 0; way < ARRAY_SIZE(ways); way++) {
			put_device(type, way, (uint8_t)(way << 5), (uint8_t)(way % 5), BIT64(F_RING_RESET), 0);
			fuzz_put8(0);
			put_work(type);
			format_text(name, sizeof(name), "%s-%u", types[type]->name, way);
			fuzz_seed(name);
		}
		for (unsigned i = 0; i < ARRAY_SIZE(events); i++) {
			put_device(type, i % 3, i & 1 ? FLAG_BOUNCE : 0, 0,
			           BIT64(F_RING_RESET) | BIT64(F_SUSPEND) | BIT64(F_IN_ORDER), i % 4);
			fuzz_put8(sizeof(whims));
			fuzz_put_all(whims, sizeof(whims));
			put_work(type);
			fuzz_put_all(events[i].steps, events[i].count);
			put_work(type);
			format_text(name, sizeof(name), "%s-%s", types[type]->name, events[i].name);
			fuzz_seed(name);
		}
		for (unsigned reg = 0; reg < REG_PCI_CONFIG; reg++) {
			static const uint8_t where[] = {2, 4, 3, 6};

			put_device(type, where[reg % 4], FLAG_LIES, 1, 0, 0);
			fuzz_put8(0, 1, (uint8_t)reg, 0x41, 1, 255, (uint8_t)(reg % 3));
			put_work(type);
			fuzz_put8(0x1d, 0x0d, 0x40, 0x33, 0x2d, 0, 2, 0, 255, 255, 0x33);
			put_work(type);
			format_text(name, sizeof(name), "%s-lie-%u", types[type]->name, reg);
			fuzz_seed(name);
		}
	}
}

FUZZ_TARGET(driver);
