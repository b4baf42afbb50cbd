/*
 * "Input Device": a touch screen of ten fingers, with keys and LEDs. It answers what select and subsel name, once both were written.
 */
#include <stdlib.h>
#include <string.h>

#include "swdev_impl.h"
#include "swdev_input.h"
#include "swdev_work_impl.h"

#include <class/input.h>
#include <virtio/virtio.h>

enum { SELECT = 0, SUBSEL = 1, SIZE = 2, INFO = 8 };
enum { EVENTQ, STATUSQ };
enum { EV_KEY = 1, EV_ABS = 3, EV_LED = 0x11, EV_LAST = 0x1f };

static const struct swdev_field fields[] = {
	{.offset = SELECT, .width = 1, .count = 2, .feature = -1, .writable = true},
	{.offset = SIZE, .width = 1, .count = 1, .feature = -1},
	{.offset = INFO, .width = 1, .count = 128, .feature = -1, .is_union = true},
	{.width = 0},
};

static void set_bit(uint8_t *bitmap, unsigned bit) { bitmap[bit / 8] |= (uint8_t)(1 << bit % 8); }

/* Fill the information, return its size. */
static unsigned inform(uint8_t *info, unsigned select, unsigned sub)
{
	static const uint16_t ids[4] = {6, 0x1af4, 0x7a, 3};

	if (select == 1 && !sub) /* 128 bytes, and no NUL behind them */
		memset(info, 'n', 128);
	else if (select == 2 && !sub)
		memcpy(info, "serial-7", 8);
	else if (select == 3 && !sub)
		memcpy(info, ids, sizeof(ids));
	else if (select == 0x10 && !sub)
		set_bit(info, 1); /* INPUT_PROP_DIRECT */
	else if (select == 0x11 && sub == EV_KEY)
		set_bit(info, 0x1e), set_bit(info, 0x14a), set_bit(info, 0x2ff);
	else if (select == 0x11 && sub == EV_ABS)
		set_bit(info, 0), set_bit(info, 1), set_bit(info, 0x2f), set_bit(info, 0x39);
	else if (select == 0x11 && sub == EV_LED)
		set_bit(info, 0), set_bit(info, 1), set_bit(info, 2);
	else if (select == 0x12 && (sub < 2 || sub == 0x2f || sub == 0x39))
		put32(info, sub == 1 ? (uint32_t)-100 : 0), put32(info + 4, 1000 + sub), put32(info + 8, 2), put32(info + 12, 3),
			put32(info + 16, 4);
	else
		return 0;
	return select == 1 ? 128 : select < 4 ? 8 : select == 0x12 ? 20 : sub == EV_KEY ? 0x2ff / 8 + 1 : 8;
}

static void config_written(struct swdev *dev, uint32_t offset)
{
	struct swdev_input *input = swdev_input_state(dev);
	unsigned bit = 1u << offset;

	if (offset > SUBSEL)
		return;
	/* "Device Initialization": both are to be set, in any order */
	if (input->chosen & bit)
		swdev_violation(dev, "select or subsel written again without the other");
	input->chosen |= bit;
	dev->config[SIZE] = 0;
	memset(dev->config + INFO, 0, 128);
	if (input->chosen != 3)
		return;
	input->chosen = 0;
	dev->config[SIZE] = (uint8_t)inform(dev->config + INFO, dev->config[SELECT], dev->config[SUBSEL]);
	if (input->size_told)
		dev->config[SIZE] = input->size_told;
}

static void init(struct swdev *dev)
{
	dev->state = calloc(1, sizeof(struct swdev_input));
	swdev_input_state(dev)->event_bytes = 8;
}

static void release(struct swdev *dev) { free(dev->state); }

static void reset(struct swdev *dev)
{
	if (dev->state)
		swdev_input_state(dev)->chosen = 0;
}

static bool serve(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	struct swdev_input *input = swdev_input_state(queue->dev);
	uint8_t wire[8] = {0};

	if (queue->index == EVENTQ) {
		if (chain->readable || chain->writable_bytes < 8)
			swdev_violation(queue->dev, "an eventq buffer of %zu bytes to write", (size_t)chain->writable_bytes);
		return false;
	}
	if (chain->writable || swdev_chain_read(chain, 0, wire, 8) < 8)
		swdev_violation(queue->dev, "a statusq buffer of %zu bytes to read", (size_t)chain->readable_bytes);
	if (input->status_count < SWDEV_EVENTS_MAX)
		input->status[input->status_count++] = (struct swdev_event){get16(wire), get16(wire + 2), get32(wire + 4)};
	*written = input->status_written;
	return true;
}

static void produce(struct swdev *dev)
{
	struct swdev_input *input = swdev_input_state(dev);

	while (input->sent < input->waiting_count && dev->queues[EVENTQ].held) {
		struct swdev_chain *chain = swdev_take_held(&dev->queues[EVENTQ]);
		const struct swdev_event *event = &input->waiting[input->sent++];
		uint8_t wire[8];

		put16(wire, event->type);
		put16(wire + 2, event->code);
		put32(wire + 4, event->value);
		swdev_chain_write(chain, 0, wire, 8);
		swdev_complete(chain, input->event_bytes);
	}
}

void swdev_input_event(struct swdev *dev, unsigned type, unsigned code, uint32_t value)
{
	struct swdev_input *input = swdev_input_state(dev);

	input->waiting[input->waiting_count++] = (struct swdev_event){(uint16_t)type, (uint16_t)code, value};
}

const struct swdev_type swdev_input = {
	.id = 18,
	.name = "input",
	.queues = 2,
	.fields = fields,
	.config_size = 136,
	.init = init,
	.free = release,
	.reset = reset,
	.serve = serve,
	.produce = produce,
	.config_written = config_written,
};

/* ---- its lies ---- */

static void short_events(struct swdev *dev) { swdev_input_state(dev)->event_bytes = 7, dev->lies_told++; }
static void status_lengths(struct swdev *dev) { swdev_input_state(dev)->status_written = 8, dev->lies_told++; }
static void sizes_of_ones(struct swdev *dev) { swdev_input_state(dev)->size_told = 255, dev->lies_told++; }

static const struct swdev_lie lies[] = {
	{.name = "input events of 7 bytes",
         .type = &swdev_input,
         .setup = short_events,
         .says = "an event of 7 bytes",
         .harmless = true},
	{.name = "input information of 255 bytes", .type = &swdev_input, .setup = sizes_of_ones, .harmless = true},
	/* as QEMU's device does */
	{.name = "input status used with its length",
         .type = &swdev_input,
         .setup = status_lengths,
         .harmless = true,
         .works = true,
         .must_be_silent = true,
         .blind = true},
	{},
};
SWDEV_LIES(lies);

/* ---- work: events in, LEDs out ---- */

static void arrived(struct input_device *device, const struct input_event *event)
{
	struct swdev_work *work = device->context;

	if (event->type == INPUT_ABS && event->code == 0 && event->value == (int32_t)(work->frames_in * 7u))
		work->frames_in++;
	else if (event->type != INPUT_SYN)
		work->wrong = true;
}

static bool begin(struct swdev_work *work)
{
	struct input_device *device = input_find(work->dev->vdev->name);

	if (!device)
		return false;
	swdev_input_state(work->dev)->status_count = 0;
	device->context = work;
	device->event = arrived;
	for (unsigned i = 0; i < work->amount; i++) {
		swdev_input_event(work->dev, INPUT_ABS, 0, i * 7);
		swdev_input_event(work->dev, INPUT_SYN, INPUT_SYN_REPORT, 0);
		work->frames_given += !input_send(device, INPUT_LED, i % 3, (int32_t)i);
	}
	return true;
}

static bool complete(const struct swdev_work *work)
{
	return work->frames_in == work->amount && swdev_input_state(work->dev)->status_count == work->frames_given;
}

static bool check(struct swdev_work *work)
{
	const struct swdev_input *input = swdev_input_state(work->dev);

	for (unsigned i = 0; i < input->status_count; i++)
		if (input->status[i].type != EV_LED || input->status[i].code != i % 3 || input->status[i].value != i)
			return false;
	return true;
}

static const struct swdev_workload input_load = {.type = &swdev_input,
                                                 .begin = begin,
                                                 .complete = complete,
                                                 .check = check,
                                                 .frames = true};
LINKER_ENTRY(swdev_workloads, input_load);
