/*
 * Work for i2c, spi, gpio, rtc, can and rpmb devices, whose classes wait: a few operations, each in full before the next. And lies of their own.
 */
#include <stdlib.h>
#include <string.h>

#include <base/event.h>
#include <class/can.h>
#include <class/rpmb.h>
#include <class/rtc.h>
#include <class/wire.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_wire.h"
#include "swdev_work_impl.h"

#define OPERATIONS 3u /* each may take until the device is given up */

typedef int (*operation)(const char *name, struct swdev_item *item);

/* The device may go while one waits: each looks for it anew. */
static bool begin_with(struct swdev_work *work, operation run)
{
	char name[16];
	bool good = true;

	strcpy(name, work->dev->vdev->name);
	if (work->dev->vdev->state != VIRTIO_RUNNING)
		return false;
	for (unsigned i = 0; i < work->amount; i++) {
		if (i < OPERATIONS && good)
			good = run(name, &work->items[i]) == 0;
		swdev_work_ended(&work->items[i], good);
	}
	return true;
}

static int run_i2c(const char *name, struct swdev_item *item)
{
	struct i2c_device *device = i2c_find(name);
	uint8_t *at = item->out + 60; /* and the first that is written */
	struct i2c_message write = {.address = 0x50, .memory = item->out, .length = 50},
			   messages[] = {{.address = 0x50, .memory = at, .length = 1},
	                                 {.address = 0x50, .memory = item->in, .length = 49, .read = true}};
	int error;

	item->out[0] = *at = (uint8_t)(item->index * 60);
	error = device ? i2c_transfer(device, &write, 1) : -1;
	device = i2c_find(name);
	if (!error)
		error = device ? i2c_transfer(device, messages, 2) : -1;
	item->work->wrong |= !error && memcmp(item->in, item->out + 1, 49) != 0;
	return error;
}

static int run_spi(const char *name, struct swdev_item *item)
{
	struct spi_device *device = spi_find(name);
	struct spi_transfer transfer = {.out = item->out, .in = item->in, .length = 1000, .bits_per_word = 8};
	int error = device ? spi_transfer(device, &transfer) : -1;

	for (unsigned i = 0; i < 1000 && !error; i++)
		item->work->wrong |= (item->in[i] ^ item->out[i]) != 0xff;
	return error;
}

static void line_changed(struct gpio_watch *watch, unsigned line)
{
	(void)line;
	(*(unsigned *)watch->context)++;
}

static int run_gpio(const char *name, struct swdev_item *item)
{
	static unsigned changes;
	static struct gpio_watch watch = {.changed = line_changed, .context = &changes};
	struct gpio_device *device = gpio_find(name);
	unsigned line = 2 * item->index;
	bool high = false;
	int error = device && device->lines > 5 ? gpio_set_direction(device, line + 1, GPIO_IN) : -1;

	if (!error && (device = gpio_find(name)) && device->interrupts)
		error = gpio_watch(device, line + 1, GPIO_BOTH, &watch);
	for (unsigned i = 0; i < 2 && !error; i++) {
		device = gpio_find(name);
		error = device ? gpio_set(device, line, !i) : -1;
		device = gpio_find(name);
		if (!error)
			error = device ? gpio_get(device, line + 1, &high) : -1;
		item->work->wrong |= !error && high != !i;
	}
	if (gpio_find(name) && *gpio_name(gpio_find(name), 0) && strcmp(gpio_name(gpio_find(name), 0), "first") != 0)
		item->work->wrong = true;
	return error;
}

static int run_rtc(const char *name, struct swdev_item *item)
{
	struct rtc_device *device = rtc_find(name);
	uint64_t before = swdev_clock(item->index), ns = 0, cycles;
	int error = device ? rtc_read(device, item->index, &ns) : -1;

	item->work->wrong |= !error && (ns < before || ns > swdev_clock(item->index));
	device = rtc_find(name);
	if (!error && !item->index)
		error = device ? rtc_read_cross(device, 0, RTC_COUNTER_X86_TSC, &ns, &cycles) : -1;
	return error;
}

static void frame_sent(struct can_request *request) { swdev_work_ended(request->context, request->status == 0); }

static bool begin_can(struct swdev_work *work)
{
	struct can_request *requests = calloc(work->amount, sizeof(*requests));
	struct can_device *device = can_find(work->dev->vdev->name);
	int error = device ? can_start(device) : -1;

	work->state = requests;
	if (!device)
		return false;
	for (unsigned i = 0; i < work->amount; i++) {
		requests[i] = (struct can_request){.frame = {.id = i, .length = 8},
		                                   .done = frame_sent,
		                                   .context = &work->items[i]};
		memcpy(requests[i].frame.data, work->items[i].out, 8);
		device = can_find(work->dev->vdev->name);
		if (error || !device || can_send(device, &requests[i]))
			swdev_work_ended(&work->items[i], false);
	}
	return true;
}

static void put_u16(uint8_t at[2], unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static int run_rpmb(const char *name, struct swdev_item *item)
{
	static const uint8_t key[32] = "a key";
	struct rpmb_device *device = rpmb_find(name);
	struct rpmb_frame *frames = (struct rpmb_frame *)item->out; /* 8 of them */
	int error;

	memset(frames, 0, SWDEV_ITEM_BYTES);
	memcpy(frames[0].key_mac, key, 32);
	put_u16(frames[0].block_count, 1);
	put_u16(frames[0].req_resp, RPMB_PROGRAM_KEY);
	put_u16(frames[1].req_resp, RPMB_RESULT_READ);
	put_u16(frames[1].block_count, 1);
	error = device ? rpmb_exchange(device, frames, 2, frames + 2, 1) : -1;
	memset(frames, 0, sizeof(*frames));
	put_u16(frames[0].block_count, 2);
	put_u16(frames[0].address, item->index);
	put_u16(frames[0].req_resp, RPMB_DATA_READ);
	device = rpmb_find(name);
	if (!error)
		error = device ? rpmb_exchange(device, frames, 1, frames + 2, 2) : -1;
	return error;
}

#define LOAD(kind)                                                                                                               \
	static bool begin_##kind(struct swdev_work *work) { return begin_with(work, run_##kind); }                               \
	static const struct swdev_workload kind##_load = {.type = &swdev_##kind, .begin = begin_##kind};                         \
	LINKER_ENTRY(swdev_workloads, kind##_load)

LOAD(i2c);
LOAD(spi);
LOAD(gpio);
LOAD(rtc);
LOAD(rpmb);

static const struct swdev_workload can_load = {.type = &swdev_can, .begin = begin_can};
LINKER_ENTRY(swdev_workloads, can_load);

/* ---- lies ---- */

static void absurd_result(struct swdev *dev)
{
	dev->lies_told++;
	swdev_spi_bus(dev)->result = 77;
}

static void no_start(struct swdev *dev)
{
	dev->lies_told++;
	swdev_can_bus(dev)->refuses = true;
}

static void bus_off_always(struct swdev *dev)
{
	if (dev->status & ST_DRIVER_OK) {
		dev->lies_told++;
		put16(dev->config, 0xffff);
		swdev_config_changed(dev);
	}
}

static void alarms_of_nobody(struct swdev *dev)
{
	struct swdev_chain *chain = dev->status & ST_DRIVER_OK ? swdev_take_held(&dev->queues[1]) : NULL;
	uint8_t bytes[16];

	if (!chain)
		return;
	memset(bytes, 0xff, sizeof(bytes));
	dev->lies_told++;
	swdev_complete(chain, (uint32_t)swdev_chain_write(chain, 0, bytes, 7 + dev->lies_told % 10));
}

/* Frames that say they are longer than they are, or than any. */
static void absurd_frames(struct swdev *dev)
{
	struct swdev_chain *chain = dev->status & ST_DRIVER_OK ? swdev_take_held(&dev->queues[1]) : NULL;
	uint8_t bytes[16] = {0x01, 0x01};

	if (!chain)
		return;
	put16(bytes + 2, (uint16_t)(dev->lies_told * 4099));
	put32(bytes + 8, 0x4000);
	dev->lies_told++;
	swdev_complete(chain, (uint32_t)swdev_chain_write(chain, 0, bytes, 16));
}

/* The eventq gives everything back as an interrupt, at once. */
static void interrupts_at_once(struct swdev *dev)
{
	struct swdev_chain *chain = dev->status & ST_DRIVER_OK ? swdev_take_held(&dev->queues[1]) : NULL;
	uint8_t valid = 1;

	if (!chain)
		return;
	dev->lies_told++;
	swdev_complete(chain, (uint32_t)swdev_chain_write(chain, 0, &valid, 1));
}

#define CONFIG(at) .reg = REG_CONFIG, .index = at

static const struct swdev_lie wire_lies[] = {
	{"gpio without a line", 0, .type = &swdev_gpio, CONFIG(0), .op = OP_SET, .value = 0, .harmless = true},
	{"gpio of 65535 lines", 0, .type = &swdev_gpio, CONFIG(0), .op = OP_SET, .value = 65535, .harmless = true, .blind = true},
	{"gpio names of 4 GiB", 0, .type = &swdev_gpio, CONFIG(4), .op = OP_SET, .value = UINT32_MAX, .says = "are too many"},
	{"gpio names of 3 bytes", 0, .type = &swdev_gpio, CONFIG(4), .op = OP_SET, .value = 3, .harmless = true, .blind = true},
	{"gpio interrupts at once", 0, .type = &swdev_gpio, .at_look = interrupts_at_once, .harmless = true, .works = true},
	{"spi without CPHA and CPOL", 0, .type = &swdev_spi, CONFIG(8), .op = OP_SET, .value = 0, .harmless = true},
	{"spi without a chip select", 0, .type = &swdev_spi, CONFIG(0), .op = OP_SET, .value = 0, .harmless = true},
	{"spi with an absurd result", 0, .type = &swdev_spi, .setup = absurd_result, .harmless = true},
	{"rpmb of 0x81 times 128 KiB", 0, .type = &swdev_rpmb, CONFIG(0), .op = OP_SET, .value = 0x81, .says = "cannot be"},
	{"rpmb that takes no blocks", 0, .type = &swdev_rpmb, CONFIG(2), .op = OP_SET, .value = 1, .harmless = true},
	{"can that never starts", 0, .type = &swdev_can, .setup = no_start, .harmless = true},
	{"can in bus-off always", 0, .type = &swdev_can, .at_look = bus_off_always, .harmless = true},
	{"can frames of absurd length", 0, .type = &swdev_can, .at_look = absurd_frames, .harmless = true, .works = true},
	{"alarms of nobody's", 0, .type = &swdev_rtc, .at_look = alarms_of_nobody, .harmless = true, .works = true},
	{},
};
SWDEV_LIES(wire_lies);
