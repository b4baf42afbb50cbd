/*
 * "Memory Balloon Device": it scribbles over every page that it may write to, and looks whether the driver left those in the balloon alone.
 */
#include <stdlib.h>
#include <string.h>

#include "swdev_balloon.h"
#include "swdev_impl.h"
#include "swdev_work_impl.h"

#define PAGE 4096u
#define PAGES_MAX (1u << 20) /* page numbers, from that of the first page on */
#define SCRIBBLE 0xb5

enum { INFLATEQ, DEFLATEQ, STATSQ, FREE_PAGE_VQ, REPORTING_VQ };
enum { NUM_PAGES = 0, ACTUAL = 4, CMD_ID = 8, POISON_VAL = 12 };

static const struct swdev_field fields[] = {
	{.offset = NUM_PAGES, .width = 4, .count = 1, .feature = -1},
	{.offset = ACTUAL, .width = 4, .count = 1, .feature = -1, .writable = true, .any_time = true},
	{.offset = CMD_ID, .width = 4, .count = 1, .feature = BALLOON_F_FREE_PAGE_HINT},
	{.offset = POISON_VAL, .width = 4, .count = 1, .feature = BALLOON_F_PAGE_POISON, .writable = true, .any_time = true},
	{.width = 0},
};

static struct swdev_balloon *state_of(struct swdev *dev) { return dev->state; }

static void init(struct swdev *dev)
{
	struct swdev_balloon *balloon = calloc(1, sizeof(*balloon));

	balloon->in = calloc(PAGES_MAX, 1);
	dev->state = balloon;
}

static void release(struct swdev *dev)
{
	free(state_of(dev)->in);
	free(dev->state);
}

/* The balloon is empty again: the driver is told nothing, and takes its pages. */
static void reset(struct swdev *dev)
{
	memset(state_of(dev)->in, 0, PAGES_MAX);
	state_of(dev)->pages = 0;
	put32(dev->config + ACTUAL, 0);
	put32(dev->config + POISON_VAL, 0);
}

static bool reporting_queue(struct swdev *dev, unsigned index)
{
	return index == REPORTING_VQ || (index == FREE_PAGE_VQ && !swdev_has(dev, BALLOON_F_FREE_PAGE_HINT));
}

/* ---- pages ---- */

static void move_page(struct swdev *dev, uint32_t number, bool inflate)
{
	struct swdev_balloon *balloon = state_of(dev);
	uint8_t *page = swdev_memory(dev, (uint64_t)number * PAGE, PAGE, "a page of the balloon");

	if (!page || number >= PAGES_MAX)
		return;
	if (balloon->in[number] == inflate) {
		swdev_violation(dev, "page %#x is %s in the balloon", number, inflate ? "already" : "not");
		return;
	}
	balloon->in[number] = inflate;
	balloon->pages += inflate ? 1u : -1u;
	if (inflate) {
		memset(page, SCRIBBLE, PAGE);
		return;
	}
	for (unsigned i = 0; i < PAGE; i += 56) {
		if (page[i] != SCRIBBLE) {
			swdev_violation(dev, "page %#x was used while it was in the balloon", number);
			break;
		}
	}
	if (swdev_has(dev, BALLOON_F_MUST_TELL_HOST))
		memset(page, 0x11, PAGE); /* it MAY, until the deflation is acknowledged */
}

static void move_pages(struct swdev *dev, const struct swdev_chain *chain, bool inflate)
{
	struct swdev_balloon *balloon = state_of(dev);

	if (chain->writable || !chain->readable_bytes || chain->readable_bytes % 4)
		swdev_violation(dev, "page numbers in %llu readable and %llu writable bytes",
		                (unsigned long long)chain->readable_bytes, (unsigned long long)chain->writable_bytes);
	for (uint64_t at = 0; at + 4 <= chain->readable_bytes; at += 4) {
		uint32_t number = 0;

		swdev_chain_read(chain, at, &number, sizeof(number));
		move_page(dev, number, inflate);
	}
	balloon->inflations += inflate;
	balloon->deflations += !inflate;
	if (balloon->pages > balloon->most)
		balloon->most = balloon->pages;
	if (!inflate && balloon->pages < get32(dev->config + NUM_PAGES) && !swdev_has(dev, BALLOON_F_DEFLATE_ON_OOM) && !dev->lie)
		swdev_violation(dev, "pages were taken from the balloon that the device wants");
}

/* ---- "Memory Statistics" ---- */

static void take_stats(struct swdev *dev, const struct swdev_chain *chain)
{
	struct swdev_balloon *balloon = state_of(dev);
	uint8_t entry[10];

	if (dev->queues[STATSQ].held)
		swdev_violation(dev, "two buffers in statsq");
	if (chain->writable || chain->readable_bytes % 6)
		swdev_violation(dev, "statistics in %llu bytes", (unsigned long long)chain->readable_bytes);
	for (uint64_t at = 0; swdev_chain_read(chain, at, entry, sizeof(entry)) == sizeof(entry); at += sizeof(entry)) {
		uint64_t value;

		memcpy(&value, entry + 2, sizeof(value));
		balloon->stats[get16(entry) % 16] = value;
	}
	balloon->stats_seen++;
}

/* ---- "Free Page Hinting", "Free Page Reporting" ---- */

static void take_hint(struct swdev *dev, const struct swdev_chain *chain)
{
	struct swdev_balloon *balloon = state_of(dev);
	uint32_t command;

	if (chain->readable) {
		if (swdev_chain_read(chain, 0, &command, sizeof(command)) != 4 || chain->readable_bytes != 4 || chain->writable)
			swdev_violation(dev, "a command of %llu bytes", (unsigned long long)chain->readable_bytes);
		else if (command == 0)
			balloon->stops++;
		else
			balloon->rounds++;
		return;
	}
	if (balloon->rounds == balloon->stops)
		swdev_violation(dev, "a hint outside of a round");
	balloon->hinted += chain->writable_bytes;
	swdev_chain_write(chain, 0, "lost", 4);
}

static void take_report(struct swdev *dev, const struct swdev_chain *chain)
{
	struct swdev_balloon *balloon = state_of(dev);
	uint8_t zeros[PAGE] = {0};

	if (chain->readable)
		swdev_violation(dev, "a report with readable elements");
	balloon->reports++;
	balloon->reported += chain->writable_bytes;
	if (swdev_has(dev, BALLOON_F_PAGE_POISON)) {
		uint32_t poison = get32(dev->config + POISON_VAL);

		for (unsigned i = 0; i < chain->writable; i++) {
			const uint8_t *memory = swdev_memory(dev, chain->segments[i].address, chain->segments[i].length,
			                                     "a report");

			for (uint32_t k = 0; memory && k < chain->segments[i].length; k += 4)
				if (get32(memory + k) != poison) {
					swdev_violation(dev, "a reported page is not filled with poison_val");
					return;
				}
		}
		return;
	}
	for (uint64_t at = 0; at < chain->writable_bytes; at += 64 * sizeof(zeros)) /* some of it is enough */
		swdev_chain_write(chain, at, zeros, sizeof(zeros));
}

static bool serve(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	struct swdev *dev = queue->dev;
	struct swdev_balloon *balloon = state_of(dev);

	*written = 0;
	if (queue->index <= DEFLATEQ) {
		if (balloon->grudging)
			return false;
		move_pages(dev, chain, queue->index == INFLATEQ);
		return true;
	}
	if (queue->index == STATSQ) {
		take_stats(dev, chain);
		return false;
	}
	if (!reporting_queue(dev, queue->index)) {
		take_hint(dev, chain);
		return true;
	}
	if (balloon->keep_reports)
		return false;
	take_report(dev, chain);
	return true;
}

static void produce(struct swdev *dev)
{
	struct swdev_balloon *balloon = state_of(dev);
	struct swdev_chain *chain;

	if (!balloon->ask_stats || !(chain = swdev_take_held(&dev->queues[STATSQ])))
		return;
	balloon->ask_stats = false;
	swdev_complete(chain, 0);
}

static void config_written(struct swdev *dev, uint32_t offset)
{
	if (offset == POISON_VAL && dev->status & ST_DRIVER_OK)
		swdev_violation(dev, "poison_val written after DRIVER_OK");
	/* In the legacy interface of virtio-mmio it comes byte by byte. */
	if (offset == ACTUAL && !dev->legacy && get32(dev->config + ACTUAL) != state_of(dev)->pages)
		swdev_violation(dev, "actual is %u, %u pages are in the balloon", get32(dev->config + ACTUAL),
		                state_of(dev)->pages);
}

void swdev_balloon_want(struct swdev *dev, uint32_t pages)
{
	put32(dev->config + NUM_PAGES, pages);
	swdev_config_changed(dev);
}

uint32_t swdev_balloon_actual(struct swdev *dev) { return get32(dev->config + ACTUAL); }

void swdev_balloon_hint(struct swdev *dev, uint32_t command)
{
	put32(dev->config + CMD_ID, command);
	swdev_config_changed(dev);
}

const struct swdev_type swdev_balloon = {
	.id = 5,
	.name = "balloon",
	.queues = 5,
	.features = FEATURE(BALLOON_F_MUST_TELL_HOST) | FEATURE(BALLOON_F_STATS_VQ) | FEATURE(BALLOON_F_FREE_PAGE_HINT) |
                    FEATURE(BALLOON_F_PAGE_POISON) | FEATURE(BALLOON_F_PAGE_REPORTING),
	.fields = fields,
	.config_size = 16,
	.init = init,
	.free = release,
	.reset = reset,
	.serve = serve,
	.produce = produce,
	.config_written = config_written,
};

/* ---- work: the balloon grows, and shrinks to a half; the device has statistics and hints ---- */

struct balloon_work {
	unsigned step;
	uint32_t pages;
};

static void next_step(struct swdev_work *work)
{
	struct balloon_work *state = work->state;
	uint32_t wanted = state->step & 1 ? state->pages / 2 : state->pages;

	state_of(work->dev)->ask_stats = true;
	put32(work->dev->config + CMD_ID, state->step & 1 ? 2 + state->step : 1);
	swdev_balloon_want(work->dev, wanted);
}

static bool begin(struct swdev_work *work)
{
	struct balloon_work *state = calloc(1, sizeof(*state));

	if (!(work->dev->status & ST_DRIVER_OK)) {
		free(state);
		return false;
	}
	work->state = state;
	state->pages = work->amount * 100;
	next_step(work);
	return true;
}

static bool complete(const struct swdev_work *work)
{
	struct balloon_work *state = work->state;
	const struct swdev_balloon *balloon = state_of(work->dev);

	if (state->step < 4 && balloon->pages == get32(work->dev->config + NUM_PAGES)) {
		state->step++;
		next_step((struct swdev_work *)(uintptr_t)work);
	}
	return state->step == 4 && balloon->pages == state->pages && swdev_balloon_actual(work->dev) == state->pages;
}

static const struct swdev_workload load = {.type = &swdev_balloon, .begin = begin, .complete = complete, .frames = true};
LINKER_ENTRY(swdev_workloads, load);

/* ---- its own lies ---- */

static void page_that_is_none(struct swdev *dev)
{
	/* It asks for more than there can be, and says so again and again. */
	if (dev->looks % 4 == 0 && dev->status & ST_DRIVER_OK) {
		dev->lies_told++;
		swdev_balloon_want(dev, UINT32_MAX);
	}
}

static void stats_without_end(struct swdev *dev)
{
	state_of(dev)->ask_stats = true;
	dev->lies_told++;
}

static void rounds_without_end(struct swdev *dev)
{
	if (dev->status & ST_DRIVER_OK && dev->lie_occasions++ % 64 == 0) {
		dev->lies_told++;
		swdev_balloon_hint(dev, 2 + dev->looks);
	}
}

static void keeps_pages(struct swdev *dev)
{
	state_of(dev)->grudging = true;
	dev->lies_told++;
}

static const struct swdev_lie lies[] = {
	{"balloon wants all memory", FRONT_DIRECT | FRONT_PCI, .type = &swdev_balloon, .at_look = page_that_is_none,
         .harmless = true},
	{"balloon size changes at each read", FRONT_DIRECT, .type = &swdev_balloon, .reg = REG_CONFIG, .index = NUM_PAGES,
         .op = OP_COUNT, .value = 77777, .harmless = true},
	{"balloon asks for statistics without end", FRONT_DIRECT, .type = &swdev_balloon, .at_look = stats_without_end,
         .harmless = true},
	{"balloon starts rounds of hints without end", FRONT_DIRECT, .type = &swdev_balloon, .at_look = rounds_without_end,
         .harmless = true},
	{"balloon never takes its pages", FRONT_DIRECT | FRONT_MMIO, .type = &swdev_balloon, .setup = keeps_pages,
         .harmless = true},
	{},
};
SWDEV_LIES(lies);
