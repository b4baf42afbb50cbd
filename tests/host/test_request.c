/*
 * Request queues and event queues, under a driver that has one of each and a device that answers when it is told to: what was asked in
 * order goes out in order, and every request ends once, whatever happens in between.
 */
#include <errno.h>
#include <limits.h>

#include "check_swdev.h"

#include <arch/clock.h>
#include <base/event.h>
#include <base/page.h>
#include <base/util.h>
#include <virtio/request.h>
#include <virtio/transport.h>

#include "bounce.h"
#include "swdev_impl.h"

#define ASKER_ID 62
#define REQUESTS 40u
#define EVENT_BYTES 24u
#define EVENTS 16u
#define SECOND UINT64_C(1000000000)

/* ---- the device: gives back what it is asked, and reports ---- */

static struct {
	bool holds;         /* keeps requests */
	bool breaks;        /* and wants a reset when there is one */
	unsigned served;    /* requests, and */
	uint32_t order[99]; /* the first word of each */
	unsigned events;    /* to report; UINT_MAX: for ever */
	uint32_t reported;
	uint32_t event_bytes; /* that it writes of an event */
} device;

static void device_init(struct swdev *dev)
{
	dev->state = NULL;
	memset(&device, 0, sizeof(device));
	device.event_bytes = EVENT_BYTES;
}

static void device_free(struct swdev *dev) { (void)dev; }

static bool serve(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	uint32_t words[4] = {0};

	if (queue->index == 0 && device.breaks)
		swdev_needs_reset(queue->dev);
	if (queue->index == 1 || device.holds)
		return false;
	swdev_chain_read(chain, 0, words, sizeof(words));
	device.order[device.served++ % ARRAY_SIZE(device.order)] = words[0];
	*written = (uint32_t)swdev_chain_write(chain, 0, words, sizeof(words));
	return true;
}

static void produce(struct swdev *dev)
{
	uint8_t bytes[EVENT_BYTES];

	for (; device.events && dev->queues[1].held; device.events -= device.events != UINT_MAX) {
		struct swdev_chain *chain = swdev_take_held(&dev->queues[1]);

		memset(bytes, 0xee, sizeof(bytes));
		put32(bytes, device.reported++);
		swdev_chain_write(chain, 0, bytes, sizeof(bytes)); /* all of it, whatever it says then */
		swdev_complete(chain, device.event_bytes);
	}
}

static const struct swdev_type asked = {.id = ASKER_ID,
                                        .name = "asked",
                                        .queues = 2,
                                        .init = device_init,
                                        .free = device_free,
                                        .serve = serve,
                                        .produce = produce};

/* ---- the driver ---- */

static struct virtio_requestq requests;
static struct virtio_eventq events;
static bool again, ask_in_start; /* stop() lets requests go out again; start() asks and waits */
static int start_status;
static unsigned reports;
static uint32_t last_report, report_written;
static bool report_clean;

static struct item {
	struct virtio_request request;
	struct virtq_buf bufs[3];
	uint32_t *words; /* in the page: 4 out, 4 in */
	unsigned ends, resubmits;
} items[REQUESTS];
static unsigned ended, ended_order[2 * REQUESTS];
static uint32_t *page;

static void report(struct virtio_eventq *queue, void *event, uint32_t written)
{
	const uint8_t *bytes = event;

	assert_ptr_equal(queue, &events);
	last_report = get32(event);
	report_written = written;
	report_clean = true;
	for (uint32_t i = written; i < EVENT_BYTES; i++)
		report_clean &= bytes[i] == 0;
	reports++;
}

static int probe(struct virtio_device *vdev)
{
	(void)vdev;
	virtio_requestq_init(&requests);
	return virtio_eventq_init(&events, EVENT_BYTES, EVENTS, report);
}

static void prepare(unsigned i);

static int start(struct virtio_device *vdev)
{
	struct virtq_spec specs[] = {virtio_requestq_spec(&requests, "requestq", 2), virtio_eventq_spec(&events, "eventq")};
	int error;

	specs[0].max_size = 8;
	error = virtio_queues_create(vdev, 2, specs);
	if (error)
		return error;
	virtio_requestq_start(&requests, vdev->queues[0]);
	virtio_eventq_start(&events, vdev->queues[1]);
	virtio_driver_ok(vdev);
	if (ask_in_start) {
		prepare(0);
		start_status = virtio_request_call(&requests, &items[0].request, SECOND);
		if (start_status)
			return virtio_refuse(vdev, start_status, "no answer at the start");
	}
	return 0;
}

static void stop(struct virtio_device *vdev)
{
	(void)vdev;
	virtio_requestq_drain(&requests, again);
	virtio_eventq_drain(&events);
}

static void remove_driver(struct virtio_device *vdev)
{
	(void)vdev;
	virtio_requestq_end(&requests);
	virtio_eventq_free(&events);
}

static void queue_drain(struct virtio_device *vdev, struct virtq *vq)
{
	(void)vdev;
	if (vq == requests.vq)
		virtio_requestq_drain(&requests, again);
	else
		virtio_eventq_drain(&events);
}

static void queue_refill(struct virtio_device *vdev, struct virtq *vq)
{
	(void)vdev;
	if (vq->index == 0)
		virtio_requestq_start(&requests, vq);
	else
		virtio_eventq_start(&events, vq);
}

static const struct virtio_driver asker = {
	.name = "virtio-asker",
	.instance = "asker",
	.type = ASKER_ID,
	.probe = probe,
	.start = start,
	.stop = stop,
	.remove = remove_driver,
	.queue_drain = queue_drain,
	.queue_refill = queue_refill,
};
VIRTIO_DRIVER(asker);

/* ---- the test's ---- */

static void done(struct virtio_request *request)
{
	struct item *item = container_of(request, struct item, request);

	assert_true(request->over);
	item->ends++;
	if (ended < ARRAY_SIZE(ended_order))
		ended_order[ended] = (unsigned)(item - items);
	ended++;
	if (item->resubmits && request->status != -ENODEV) {
		item->resubmits--;
		virtio_request_submit(&requests, request);
	}
}

static void prepare(unsigned i)
{
	struct item *item = &items[i];

	memset(item, 0, sizeof(*item));
	item->words = page + 8 * i;
	item->words[0] = i;
	memset(item->words + 4, 0, 16);
	item->bufs[0] = (struct virtq_buf){item->words, 16};
	item->bufs[1] = (struct virtq_buf){item->words + 4, 16};
	item->bufs[2] = item->bufs[1];
	item->request = (struct virtio_request){.bufs = item->bufs, .nreadable = 1, .nwritable = 1, .done = done};
}

static void submit(unsigned first, unsigned count)
{
	for (unsigned i = first; i < first + count; i++) {
		prepare(i);
		virtio_request_submit(&requests, &items[i].request);
	}
}

static void settle(void)
{
	for (unsigned i = 0; i < 200; i++)
		loop_turn(false, 0), swdev_look_all(true);
}

static void check_ended(unsigned first, unsigned count, int status)
{
	for (unsigned i = first; i < first + count; i++) {
		assert_int_equal(items[i].ends, 1);
		assert_int_equal(items[i].request.status, status);
		if (!status) {
			assert_int_equal(items[i].request.written, 16);
			assert_int_equal(items[i].words[4], i);
		}
	}
}

static void check_served_in_order(unsigned count)
{
	assert_int_equal(device.served, count);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(device.order[i], i);
}

static struct swdev *make(uint64_t more)
{
	struct swdev *dev = swdev_new(&asked);

	host_console_capture(true);
	again = ask_in_start = false;
	ended = reports = 0;
	dev->offered &= ~FEATURE(F_INDIRECT_DESC);
	dev->offered |= more;
	return dev;
}

static void plug(struct swdev *dev)
{
	if (swdev_plug(dev, &swdev_direct))
		fail_msg("refused: %s", dev->vdev->reason);
}

static const uint64_t layouts[] = {0, FEATURE(F_RING_PACKED), FEATURE(F_INDIRECT_DESC),
                                   FEATURE(F_RING_PACKED) | FEATURE(F_INDIRECT_DESC)};
#define FOR_EACH_LAYOUT(layout) for (const uint64_t *layout = layouts; layout < layouts + ARRAY_SIZE(layouts); layout++)

/* ---- request queues ---- */

/* Five times as many as there is room for. */
static void in_order(void **state)
{
	(void)state;
	FOR_EACH_LAYOUT(layout)
	{
		struct swdev *dev = make(*layout);

		plug(dev);
		dev->budget = 3;
		submit(0, REQUESTS);
		assert_int_equal(ended, 0); /* never inside the submission */
		settle();
		assert_int_equal(ended, REQUESTS);
		check_ended(0, REQUESTS, 0);
		check_served_in_order(REQUESTS);
		for (unsigned i = 0; i < REQUESTS; i++)
			assert_int_equal(ended_order[i], i);
		pull_out(dev);
	}
}

/* One that is too long ends, and those behind it go on. */
static void impossible(void **state)
{
	struct swdev *dev = make(0);

	(void)state;
	plug(dev);
	submit(0, 10);
	prepare(10);
	items[10].request.nwritable = 2;
	virtio_request_submit(&requests, &items[10].request);
	submit(11, 3);
	settle();
	assert_int_equal(ended, 14);
	check_ended(0, 10, 0);
	check_ended(10, 1, -EIO);
	check_ended(11, 3, 0);
	pull_out(dev);
}

/* None goes out meanwhile, and those that did come back. */
static void held(void **state)
{
	(void)state;
	FOR_EACH_LAYOUT(layout)
	{
		struct swdev *dev = make(*layout | FEATURE(F_RING_RESET));

		plug(dev);
		device.holds = true;
		submit(0, 2);
		settle();
		virtio_requestq_hold(&requests, true);
		submit(2, 10);
		device.holds = false;
		again = true;
		assert_int_equal(virtio_queue_reset(dev->vdev, 0), 0); /* they are given back, and wait as well */
		settle();
		assert_int_equal(ended, 0);
		virtio_requestq_hold(&requests, false);
		settle();
		check_ended(0, 12, 0);
		check_served_in_order(12);
		pull_out(dev);
	}
}

static void submitted_in_done(void **state)
{
	struct swdev *dev = make(0);

	(void)state;
	plug(dev);
	submit(0, 4);
	for (unsigned i = 0; i < 4; i++)
		items[i].resubmits = 5;
	settle();
	assert_int_equal(ended, 24);
	assert_int_equal(device.served, 24);
	pull_out(dev);
}

/* What the device has ends with an error; what waits goes out to the device that came back. */
static void reset_in_flight(void **state)
{
	(void)state;
	FOR_EACH_LAYOUT(layout)
	{
		struct swdev *dev = make(*layout);
		unsigned out = *layout & FEATURE(F_INDIRECT_DESC) ? 8 : 4; /* two descriptors each, or one */

		plug(dev);
		device.holds = true;
		submit(0, 12);
		settle();
		assert_int_equal(ended, 0);
		assert_int_equal(dev->queues[0].in_flight, out);
		swdev_needs_reset(dev);
		device.holds = false;
		settle();
		assert_int_equal(ended, 12);
		check_ended(0, out, -EIO);
		check_ended(out, 12 - out, 0);
		assert_int_equal(dev->vdev->state, VIRTIO_RUNNING);
		pull_out(dev);
	}
}

static void queue_reset(void **state)
{
	(void)state;
	FOR_EACH_LAYOUT(layout)
	{
		for (unsigned keep = 0; keep < 2; keep++) {
			struct swdev *dev = make(*layout | FEATURE(F_RING_RESET));
			unsigned out = *layout & FEATURE(F_INDIRECT_DESC) ? 8 : 4;

			plug(dev);
			submit(0, 3); /* so that the next ones lie in other places of the ring */
			settle();
			assert_int_equal(ended, 3);
			dev->order = SWDEV_RANDOM;
			submit(0, 8);
			settle();
			dev->order = SWDEV_FIFO;
			device.served = ended = 0;
			again = keep;
			device.holds = true;
			submit(0, 12);
			settle();
			assert_int_equal(virtio_queue_reset(dev->vdev, 0), 0);
			assert_int_equal(ended, keep ? 0 : out);
			device.holds = false;
			submit(12, 3);
			settle();
			assert_int_equal(ended, 15);
			check_ended(0, out, keep ? 0 : -EIO);
			check_ended(out, 15 - out, 0);
			if (keep)
				check_served_in_order(15); /* as they were submitted, once */
			assert_int_equal(dev->resets, 1);
			pull_out(dev);
		}
	}
}

static void removal(void **state)
{
	struct swdev *dev = make(0);

	(void)state;
	plug(dev);
	device.holds = true;
	submit(0, 12);
	items[0].resubmits = items[11].resubmits = 3; /* at the error; not when it is gone */
	settle();
	pull_out(dev);
	assert_int_equal(ended, 13);
	assert_int_equal(items[0].ends, 2);
	assert_int_equal(items[0].request.status, -ENODEV);
	check_ended(1, 3, -EIO);
	check_ended(4, 8, -ENODEV);
}

/* ---- call ---- */

static void calls(void **state)
{
	struct swdev *dev = make(0);

	(void)state;
	plug(dev);
	for (unsigned i = 0; i < REQUESTS; i++) {
		prepare(i);
		assert_int_equal(virtio_request_call(&requests, &items[i].request, SECOND), 0);
		assert_int_equal(items[i].words[4], i);
	}
	assert_int_equal(ended, 0); /* done() is not used */
	prepare(0);
	items[0].request.nwritable = 2;
	assert_int_equal(virtio_request_call(&requests, &items[0].request, SECOND), -EIO);
	pull_out(dev);
}

/* The device is reset, whether or not its driver lets others go out again; the call itself never does. */
static void no_answer(void **state)
{
	(void)state;
	for (unsigned keep = 0; keep < 2; keep++) {
		struct swdev *dev = make(0);
		uint64_t start_ns = clock_ns();

		plug(dev);
		again = keep;
		device.holds = true;
		prepare(0);
		assert_int_equal(virtio_request_call(&requests, &items[0].request, SECOND), -EIO);
		assert_in_range(clock_ns() - start_ns, SECOND, 2 * SECOND);
		assert_int_equal(count_in(host_console_text(), "requestq: no answer"), 1);
		assert_int_equal(dev->resets, 3); /* at the start, down, up again */
		assert_int_equal(dev->vdev->state, VIRTIO_RUNNING);
		device.holds = false;
		settle();
		assert_int_equal(device.served, 0);
		prepare(0);
		assert_int_equal(virtio_request_call(&requests, &items[0].request, SECOND), 0);
		pull_out(dev);
	}
}

/* One that the device never got is taken back: the device need not be reset for it, nor may it see it later. */
static void no_room(void **state)
{
	struct swdev *dev = make(0);

	(void)state;
	plug(dev);
	device.holds = true;
	submit(0, 5); /* the fifth waits */
	prepare(5);
	assert_int_equal(virtio_request_call(&requests, &items[5].request, SECOND), -EIO);
	assert_int_equal(dev->resets, 1);
	submit(6, 1);
	dev->dead = true; /* the queue is drained by the removal, with two that wait */
	pull_out(dev);
	check_ended(0, 4, -EIO);
	check_ended(4, 1, -ENODEV);
	check_ended(6, 1, -ENODEV);
	assert_int_equal(items[5].ends, 0);
}

static struct swdev *meddled;

static void meddle(struct timer *timer)
{
	struct device_info *info = device_find(meddled->vdev->name);

	(void)timer;
	assert_int_equal(info->rebind(info), -EBUSY);
	assert_int_equal(info->reset(info), -ENODEV);
	meddled = NULL;
	device.holds = false;
}

static void call_at_the_start(void **state)
{
	struct swdev *dev = make(0);
	struct timer timer = {0};

	(void)state;
	ask_in_start = true;
	plug(dev);
	assert_int_equal(start_status, 0);
	pull_out(dev);

	dev = make(0);
	ask_in_start = true;
	device.holds = true;
	assert_int_equal(swdev_plug(dev, &swdev_direct), -ETIMEDOUT);
	assert_int_equal(start_status, -ETIMEDOUT);
	assert_string_equal(dev->vdev->reason, "no answer at the start");
	assert_true(items[0].request.over); /* by stop() */
	assert_int_equal(swdev_unplug(dev), 0);

	/* Whoever has a turn meanwhile does not take it from its driver. */
	dev = make(0);
	plug(dev);
	ask_in_start = device.holds = true;
	meddled = dev;
	timer_start(&timer, clock_ns() + SECOND / 10, meddle);
	swdev_needs_reset(dev);
	loop_sleep(2 * SECOND);
	assert_null(meddled);
	assert_int_equal(start_status, -ETIMEDOUT);
	assert_int_equal(device_find(dev->vdev->name)->rebind(device_find(dev->vdev->name)), 0);
	pull_out(dev);

	/* It breaks: nobody waits until the time is up. */
	for (unsigned packed = 0; packed < 2; packed++) {
		uint64_t before;

		dev = make(packed ? FEATURE(F_RING_PACKED) : 0);
		ask_in_start = device.holds = device.breaks = true;
		before = clock_ns();
		assert_int_equal(swdev_plug(dev, &swdev_direct), -ETIMEDOUT);
		assert_true(clock_ns() - before < SECOND / 2);
		assert_int_equal(swdev_unplug(dev), 0);
	}
}

/* It goes while somebody waits. */
static struct swdev *going;
static void go(struct timer *timer)
{
	(void)timer;
	swdev_remove_by_surprise(going);
	swdev_config_changed(going);
}

static void removal_in_call(void **state)
{
	struct swdev *dev = make(0);
	struct timer timer = {0};

	(void)state;
	plug(dev);
	going = dev;
	device.holds = true;
	prepare(0);
	timer_start(&timer, clock_ns() + SECOND / 10, go);
	assert_int_equal(virtio_request_call(&requests, &items[0].request, SECOND), -EIO);
	assert_int_equal(swdev_unplug(dev), 0);
}

/* ---- event queues ---- */

static void reported(void **state)
{
	(void)state;
	FOR_EACH_LAYOUT(layout)
	{
		struct swdev *dev = make(*layout);

		plug(dev);
		for (unsigned i = 1; i <= 100; i++) {
			device.events = 1;
			device.event_bytes = i % (EVENT_BYTES + 1);
			settle();
			assert_int_equal(reports, i);
			assert_int_equal(report_written, device.event_bytes);
			assert_true(report_clean);
			assert_true(device.event_bytes < 4 || last_report == i - 1);
		}
		device.event_bytes = EVENT_BYTES;
		device.events = 500; /* more than there are buffers */
		settle();
		assert_int_equal(reports, 600);
		assert_int_equal(last_report, 599);
		pull_out(dev);
	}
}

/* A device that reports for ever keeps nobody else from working. */
static unsigned turns;
static struct event other;
static void run_other(struct event *event)
{
	turns++;
	event_mark(event);
}

static void flood(void **state)
{
	struct swdev *dev = make(0);

	(void)state;
	plug(dev);
	event_init(&other, run_other);
	turns = 0;
	device.events = UINT_MAX;
	event_mark(&other);
	for (unsigned i = 0; i < 100; i++) {
		unsigned before = reports;

		loop_turn(false, 0);
		swdev_look_all(false);
		assert_true(reports - before <= EVENTS);
	}
	assert_int_equal(turns, 100);
	assert_true(reports > 1000);
	event_cancel(&other);
	prepare(0);
	assert_int_equal(virtio_request_call(&requests, &items[0].request, SECOND), 0);
	pull_out(dev);
}

/* Over a reset of the device, and of the queue: none that was reported is lost, and all buffers are back. */
static void events_over_resets(void **state)
{
	(void)state;
	FOR_EACH_LAYOUT(layout)
	{
		struct swdev *dev = make(*layout | FEATURE(F_RING_RESET));

		plug(dev);
		settle();
		device.events = 3;
		swdev_look_all(false);
		assert_int_equal(virtio_queue_reset(dev->vdev, 1), 0);
		assert_int_equal(reports, 3);
		settle();
		assert_int_equal(dev->queues[1].in_flight, EVENTS);
		swdev_needs_reset(dev);
		settle();
		assert_int_equal(dev->resets, 3); /* at the start, down, up again */
		assert_int_equal(dev->queues[1].in_flight, EVENTS);
		device.events = 100;
		settle();
		assert_int_equal(reports, 103);
		pull_out(dev);
	}
}

/* Where the DMA seam has no room for a while, the buffer comes back later; and a queue shorter than the buffers works. */
static void events_without_room(void **state)
{
	struct swdev *dev = make(FEATURE(F_ACCESS_PLATFORM));

	(void)state;
	bounce_open(dev);
	plug(dev);
	settle();
	assert_int_equal(dev->queues[1].in_flight, EVENTS);
	bounce_fail_maps(1, 3);
	device.events = 3;
	settle();
	assert_int_equal(reports, 3);
	device.events = 1;
	settle();
	assert_int_equal(dev->queues[1].in_flight, EVENTS);
	pull_out(dev);
	bounce_close();

	dev = make(0);
	dev->queues[1].max = 4;
	plug(dev);
	device.events = 100;
	settle();
	assert_int_equal(reports, 100);
	assert_int_equal(dev->queues[1].in_flight, 4);
	pull_out(dev);
}

/* A device whose reset never completes may write to its buffers for ever: nobody else gets that memory. */
static uint32_t stuck(struct swdev *dev, enum swdev_reg reg, unsigned index, uint32_t honest)
{
	(void)index;
	return reg == REG_STATUS && dev->resets > 1 && !honest ? 15 : honest;
}

static void events_of_a_stuck_device(void **state)
{
	static const struct swdev_lie lie = {.name = "stuck", .at_read = stuck};
	struct swdev *dev = make(0);
	const void *memory;
	void *pages[64];

	(void)state;
	dev->lie = &lie;
	plug(dev);
	memory = events.memory;
	swdev_needs_reset(dev);
	settle();
	loop_sleep(5 * SECOND);
	assert_int_equal(dev->vdev->state, VIRTIO_FAILED);
	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
		pages[i] = page_alloc(PAGE_SIZE, PAGE_SIZE);
		assert_ptr_not_equal(pages[i], memory);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++)
		page_free(pages[i], PAGE_SIZE);
	assert_int_equal(swdev_unplug(dev), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_order),
		cmocka_unit_test(impossible),
		cmocka_unit_test(held),
		cmocka_unit_test(submitted_in_done),
		cmocka_unit_test(reset_in_flight),
		cmocka_unit_test(queue_reset),
		cmocka_unit_test(removal),
		cmocka_unit_test(calls),
		cmocka_unit_test(no_answer),
		cmocka_unit_test(no_room),
		cmocka_unit_test(call_at_the_start),
		cmocka_unit_test(removal_in_call),
		cmocka_unit_test(reported),
		cmocka_unit_test(flood),
		cmocka_unit_test(events_over_resets),
		cmocka_unit_test(events_without_room),
		cmocka_unit_test(events_of_a_stuck_device),
	};

	swdev_machine(64u << 20);
	page = page_alloc(REQUESTS * 32, PAGE_SIZE);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
