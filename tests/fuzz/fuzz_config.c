/*
 * A device that keeps every rule and says the oddest things of itself: any feature bits, any configuration, any queue sizes, a
 * configuration that changes between two reads of it, and is another one after a reset. The driver refuses it, or works with it.
 *
 * As the device is honest, much holds: the software device finds no fault with the driver, every byte is right, all requests end by
 * themselves, and what the program is told of the device is what the configuration says.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include <base/log.h>
#include <base/page.h>
#include <class/block.h>
#include <class/char.h>
#include <class/entropy.h>
#include <class/net.h>
#include <virtio/virtio.h>

#include "bounce.h"
#include "swdev_impl.h"
#include "swdev_types.h"
#include "work.h"

#define STEPS_MAX 64u
#define PATCHES 8u
#define REST_NS UINT64_C(20000000000) /* of fake time, for what is under way at the end */

static const struct swdev_type *const types[] = {&swdev_net, &swdev_blk, &swdev_console, &swdev_entropy};

static const struct way {
	const struct swdev_front *front;
	bool legacy, packed, bounced;
} ways[] = {{.front = &swdev_direct},
            {.front = &swdev_direct, .packed = true},
            {.front = &swdev_direct, .bounced = true},
            {.front = &swdev_mmio},
            {.front = &swdev_mmio, .legacy = true},
            {.front = &swdev_pci},
            {.front = &swdev_pci, .legacy = true}};

static struct state {
	struct fuzz_input in;
	struct swdev *dev;
	const struct swdev_type *type;
	const struct way *way;
	uint64_t largest;   /* blk: the largest capacity that was told */
	unsigned change_in; /* so many reads of the configuration until it changes; 0: it does not */
	uint32_t change_to;
	uint64_t capacities[STEPS_MAX + 2]; /* blk: all that were told */
	unsigned capacity_count;
} c;

/* ---- the configuration ---- */

static void note_capacity(void)
{
	uint64_t capacity = get64(c.dev->config);

	if (c.type != &swdev_blk)
		return;
	c.largest = MAX(c.largest, capacity);
	if (c.capacity_count < ARRAY_SIZE(c.capacities))
		c.capacities[c.capacity_count++] = capacity;
}

/* A few fields, anywhere but in max_virtqueue_pairs, which says where the network card's controlq is. */
static void patch(void)
{
	uint16_t pairs = get16(c.dev->config + 8);

	for (unsigned n = fuzz_below(&c.in, PATCHES); n; n--) {
		uint8_t how = fuzz_u8(&c.in);
		uint64_t value = how & 128 ? fuzz_u64(&c.in) : fuzz_u16(&c.in);

		memcpy(c.dev->config + (how & 63), &value, how & 64 ? 8 : 4);
	}
	if (c.type == &swdev_net)
		put16(c.dev->config + 8, pairs);
	note_capacity();
}

/* What a device may change while it runs. */
static void change(uint32_t to)
{
	if (c.type == &swdev_blk) {
		put64(c.dev->config, to & 1 ? (uint64_t)to << 20 : to >> 16);
		note_capacity();
	} else if (c.type == &swdev_net) {
		put16(c.dev->config + 6, to & 1);
		put32(c.dev->config + 12, to);
	} else if (c.type == &swdev_console) {
		put32(c.dev->config, to);
	}
}

static uint32_t tell(struct swdev *dev, enum swdev_reg reg, unsigned index, uint32_t honest)
{
	(void)index;
	if (reg == REG_CONFIG && c.change_in && --c.change_in == 0) {
		change(c.change_to);
		dev->config_dirty = false;
		dev->generation++;
	}
	return honest;
}

static const struct swdev_lie teller = {.name = "fuzz", .at_read = tell};

/* ---- the device ---- */

/* The disk is smaller than the configuration may say: what is beyond fails, and what is beyond even that should not have come. */
static bool serve(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	uint8_t header[16] __attribute__((aligned(8)));
	uint64_t sector, bytes;

	if (c.type == &swdev_blk && swdev_chain_read(chain, 0, header, sizeof(header)) == sizeof(header) && get32(header) <= 1) {
		bool write = get32(header) == 1;

		sector = get64(header + 8);
		bytes = write ? chain->readable_bytes - sizeof(header) : chain->writable_bytes - 1;
		fuzz_check(!write || !swdev_has(c.dev, BLK_F_RO), "a write to a read-only device");
		fuzz_check(bytes && bytes % 512 == 0 && sector <= c.largest && bytes / 512 <= c.largest - sector,
		           "%llu bytes at sector %llu of a device of at most %llu", (unsigned long long)bytes,
		           (unsigned long long)sector, (unsigned long long)c.largest);
		if (sector > swdev_disk(c.dev)->sectors || bytes / 512 > swdev_disk(c.dev)->sectors - sector) {
			swdev_disk(c.dev)->fail = 1;
			swdev_disk(c.dev)->fail_status = BLK_IOERR;
		}
	}
	return c.type->serve(queue, chain, written);
}

static struct device_info *running(void)
{
	return c.dev->vdev && c.dev->vdev->state == VIRTIO_RUNNING ? device_find(c.dev->vdev->name) : NULL;
}

static void reset_to_another(void)
{
	struct device_info *info = running();

	if (!info)
		return;
	patch();
	if (c.type == &swdev_blk)
		swdev_disk(c.dev)->max_segment_bytes = 0;
	(void)(fuzz_u8(&c.in) & 1 ? info->rebind(info) : info->reset(info));
}

/* ---- what the program is told ---- */

/* Never half of one capacity and half of another. Without a generation count, in the legacy interface, nobody can promise that. */
static void check_capacity(void)
{
	const struct device_info *info = running();
	const struct block_device *device = info ? block_find(info->name) : NULL;
	unsigned i = 0;

	while (device && i < c.capacity_count && c.capacities[i] != device->capacity)
		i++;
	fuzz_check(!device || c.way->legacy || i < c.capacity_count, "capacity %llu was never told",
	           (unsigned long long)device->capacity);
}

static void check_told(void)
{
	const struct device_info *info = running();

	if (!info || c.dev->config_size < c.type->config_size)
		return;
	swdev_config_changed(c.dev);
	fuzz_loop(100000000);
	if (!running())
		return;
	if (c.type == &swdev_blk) {
		uint64_t told = get64(c.dev->config), known = block_find(info->name)->capacity;

		fuzz_check(known == told || told > UINT64_MAX / 512, "capacity %llu is not %llu", (unsigned long long)known,
		           (unsigned long long)told);
	} else if (c.type == &swdev_net && swdev_has(c.dev, NET_F_STATUS)) {
		fuzz_check(net_find(info->name)->link_up == (get16(c.dev->config + 6) & 1),
		           "the link is not what the status says");
	} else if (c.type == &swdev_console && swdev_has(c.dev, CONSOLE_F_SIZE)) {
		const struct char_device *device = char_find(info->name);

		fuzz_check(!device || (device->columns == get16(c.dev->config) && device->rows == get16(c.dev->config + 2)),
		           "other columns or rows");
	}
}

/* What was not refused works. */
static void check_works(void)
{
	const struct device_info *info = running();
	uint8_t *memory = page_alloc(65536, PAGE_SIZE);
	int error = 0;

	if (info && c.type == &swdev_blk) {
		struct block_device *device = block_find(info->name);

		if (device->block_size <= swdev_disk(c.dev)->sectors * 512 && device->block_size / 512 <= device->capacity)
			error = block_io(device, BLOCK_READ, 0, memory, device->block_size);
	} else if (info && c.type == &swdev_console && (!swdev_has(c.dev, CONSOLE_F_MULTIPORT) || get32(c.dev->config + 4))) {
		/* a device that is another one after a reset may have no port at all */
		fuzz_check(char_find(info->name), "port 0 is not there");
		error = char_write(char_find(info->name), memory, 100);
	} else if (info && c.type == &swdev_entropy) {
		error = entropy_read(entropy_find(info->name), memory, 100);
	}
	fuzz_check(!error, "an honest device does not work: %d", error);
	page_free(memory, 65536);
}

/* A source that gives a few bytes at a time needs hours of fake time for a long request: it gives freely from here on. */
static void rest(void)
{
	if (c.type == &swdev_entropy)
		swdev_rng(c.dev)->most = 0;
	for (unsigned i = 0; running() && !work_idle() && i < 64; i++)
		fuzz_loop(REST_NS / 64);
	fuzz_check(!running() || work_idle(), "requests to an honest device never end");
}

/* ---- all ---- */

static void plug(void)
{
	static struct swdev_type steered;
	uint8_t flags;

	c.type = types[fuzz_below(&c.in, ARRAY_SIZE(types))];
	c.way = &ways[fuzz_below(&c.in, ARRAY_SIZE(ways))];
	flags = fuzz_u8(&c.in);
	steered = *c.type;
	steered.serve = serve;
	c.dev = swdev_new(&steered);
	c.dev->lie = &teller;
	c.dev->legacy = c.way->legacy;
	c.dev->direct_irq = flags % (VIRTIO_IRQ_POLL + 1);
	c.dev->vectors = (uint16_t)(3 - flags % 4);
	c.dev->order = (enum swdev_order)((flags >> 2 & 3) % 3);
	c.dev->wish = (enum swdev_wish)((flags >> 4 & 3) % 3);
	c.dev->offered ^= fuzz_u64(&c.in) ^ (c.way->packed ? FEATURE(F_RING_PACKED) : 0);
	for (unsigned i = 0; i < c.dev->queue_count; i++) {
		uint8_t size = fuzz_u8(&c.in);

		c.dev->queues[i].max = (uint16_t)(size & 128 ? fuzz_u16(&c.in) : size & 64 ? size & 63u : 1u << size % 16);
	}
	if (flags & 64 && c.way->front != &swdev_mmio && !c.way->legacy) /* there the driver cannot know the size */
		c.dev->config_size = fuzz_u8(&c.in) & 63;
	if (c.type == &swdev_entropy)
		swdev_rng(c.dev)->most = flags & 128 ? 3 : 0;
	note_capacity();
	patch();
	c.change_in = fuzz_u8(&c.in);
	c.change_to = fuzz_u32(&c.in);
	if (c.way->bounced)
		bounce_open(c.dev);
	(void)swdev_plug(c.dev, c.way->front);
	work_begin(c.type->id, true);
}

static void step(void)
{
	uint8_t byte = fuzz_u8(&c.in);
	struct device_info *info = running();

	switch (byte & 7) {
	default:
		work_step(&c.in);
		break;
	case 3:
		fuzz_loop((byte >> 3) * (byte >> 3) * UINT64_C(100000));
		break;
	case 4:
		c.change_in = fuzz_u8(&c.in);
		c.change_to = fuzz_u32(&c.in);
		break;
	case 5:
		change(fuzz_u32(&c.in));
		swdev_config_changed(c.dev);
		break;
	case 6:
		reset_to_another();
		break;
	case 7:
		if (info)
			(void)info->reset_queue(info, byte >> 3 & 1);
		break;
	}
}

static void run(const uint8_t *data, size_t size)
{
	memset(&c, 0, sizeof(c));
	c.in = (struct fuzz_input){data, size};
	fuzz_machine(8u << 20);
	plug();
	check_capacity();
	for (unsigned i = 0; i < STEPS_MAX && c.in.left; i++) {
		step();
		check_capacity();
	}
	c.in.left = 0;
	c.change_in = 0;
	rest();
	check_told();
	check_works();
	fuzz_check(!swdev_unplug(c.dev), "violations");
	work_end();
	if (c.way->bounced)
		bounce_close();
	fuzz_machine_end(false, 200);
}

/* ---- seeds ---- */

static void put_device(unsigned type, unsigned way, uint8_t flags, uint64_t features)
{
	fuzz_put8((uint8_t)type, (uint8_t)way, flags);
	fuzz_put(features, 8);
	for (unsigned i = 0; i < types[type]->queues; i++)
		fuzz_put8(8);
}

/* One field of the configuration, and no change of it later. */
static void put_field(uint8_t offset, uint64_t value)
{
	fuzz_put8(1, 128 | offset);
	fuzz_put(value, 8);
	fuzz_put8(0, 0, 0, 0, 0);
}

static void put_work(unsigned type)
{
	static const uint8_t blk[] = {0, 0x29, 2, 2, 3, 0,    0x23, 0x28, 2, 3, 0, 0x23, 0, 2, 0, 3, 8,   0x23,
	                              5, 7,    0, 9, 0, 0x23, 0,    0x3d, 5, 3, 9, 1,    4, 6, 7, 1, 0x7b};
	static const uint8_t net[] = {0, 3,  0, 0,  2, 60, 0, 100,  0, 200, 0, 0x33, 0, 1,   24,
	                              3, 60, 0, 60, 0, 60, 0, 0x33, 5, 1,   0, 0,    0, 0x33};
	static const uint8_t tty[] = {0, 0, 50, 0, 1, 100, 0x33, 5, 80, 0, 25, 0, 0x33, 0, 2, 255, 0x33};
	static const uint8_t rng[] = {0, 1, 0, 9, 0x33, 0, 255, 0, 255, 0x73};

	if (type == 0)
		fuzz_put_all(net, sizeof(net));
	else if (type == 1)
		fuzz_put_all(blk, sizeof(blk));
	else if (type == 2)
		fuzz_put_all(tty, sizeof(tty));
	else
		fuzz_put_all(rng, sizeof(rng));
}

static void seeds(void)
{
	static const struct {
		uint8_t type, offset;
		uint64_t value;
	} fields[] = {
		{1, 0, 0},
		{1, 0, 1},
		{1, 0, UINT64_MAX},
		{1, 0, UINT64_C(1) << 55},
		{1, 8, 0xfffe00000001},
		{1, 8, UINT64_C(1) << 32},
		{1, 8, 0x100000200},
		{1, 8, 0x200000100},
		{1, 8, 0x200001000},
		{1, 12, 0},
		{1, 12, 3},
		{1, 20, 4096},
		{1, 20, 65536},
		{1, 20, 1000},
		{1, 28, UINT32_MAX},
		{0, 0, 1},
		{0, 0, 0},
		{0, 10, 67},
		{0, 10, 68},
		{0, 10, 9000},
		{0, 10, 65535},
		{0, 12, UINT32_MAX},
		{2, 0, UINT32_MAX},
		{3, 0, 0},
	};
	char name[64];

	for (unsigned type = 0; type < ARRAY_SIZE(types); type++) {
		for (unsigned way = 0; way < ARRAY_SIZE(ways); way++) {
			put_device(type, way, (uint8_t)(way * 5), BIT64(F_RING_RESET) | (way & 1 ? BIT64(F_IN_ORDER) : 0));
			fuzz_put8(0, 0, 0, 0, 0, 0);
			put_work(type);
			put_work(type);
			format_text(name, sizeof(name), "%s-%u", types[type]->name, way);
			fuzz_seed(name);
		}
		for (unsigned bit = 0; bit < 64; bit++) {
			put_device(type, bit % 7, 0, BIT64(bit));
			put_field(63, 0);
			put_work(type);
			format_text(name, sizeof(name), "%s-bit-%u", types[type]->name, bit);
			fuzz_seed(name);
		}
		for (unsigned read = 1; read < 12; read++) {
			put_device(type, 3 + read % 3, 0, 0);
			fuzz_put8(0, (uint8_t)read, 1, 255, 0, 255);
			put_work(type);
			format_text(name, sizeof(name), "%s-change-%u", types[type]->name, read);
			fuzz_seed(name);
		}
	}
	for (unsigned i = 0; i < ARRAY_SIZE(fields); i++) {
		put_device(fields[i].type, i % 7, 0, BIT64(NET_F_MRG_RXBUF) * (fields[i].type == 0));
		put_field(fields[i].offset, fields[i].value);
		put_work(fields[i].type);
		fuzz_put8(6, 1, 128 | 20);
		fuzz_put(512, 8);
		fuzz_put8(0);
		put_work(fields[i].type);
		format_text(name, sizeof(name), "%s-field-%u", types[fields[i].type]->name, i);
		fuzz_seed(name);
	}
}

FUZZ_TARGET(config);
