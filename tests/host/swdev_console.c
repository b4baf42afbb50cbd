/*
 * "Console Device": one port.
 */
#include <stdlib.h>
#include <string.h>

#include "swdev_impl.h"
#include "swdev_types.h"

enum { RECEIVEQ, TRANSMITQ };
enum { EMERG_WR = 8 };

/* "Console Device / Device configuration layout" */
static const struct swdev_field fields[] = {
	{.offset = 0, .width = 2, .count = 2, .feature = CONSOLE_F_SIZE},      /* cols, rows */
	{.offset = 4, .width = 4, .count = 1, .feature = CONSOLE_F_MULTIPORT}, /* max_nr_ports */
	{.offset = EMERG_WR, .width = 4, .count = 1, .feature = CONSOLE_F_EMERG_WRITE, .writable = true, .any_time = true},
	{.width = 0},
};

static void init(struct swdev *dev)
{
	dev->state = calloc(1, sizeof(struct swdev_tty));
	put16(dev->config, 80);
	put16(dev->config + 2, 25);
}

static void release(struct swdev *dev)
{
	free(swdev_tty(dev)->typed);
	free(swdev_tty(dev)->printed);
	free(dev->state);
}

static void append(uint8_t **to, size_t *length, const void *bytes, size_t count)
{
	if (!count)
		return;
	*to = realloc(*to, *length + count);
	memcpy(*to + *length, bytes, count);
	*length += count;
}

void swdev_tty_type(struct swdev *dev, const void *bytes, size_t length)
{
	append(&swdev_tty(dev)->typed, &swdev_tty(dev)->typed_length, bytes, length);
}

static bool serve(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	struct swdev *dev = queue->dev;
	struct swdev_tty *tty = swdev_tty(dev);
	uint8_t *bytes;

	/* "Device Operation": no readable buffer in a receiveq, no writable one in a transmitq. */
	if (queue->index == RECEIVEQ) {
		if (chain->readable)
			swdev_violation(dev, "a device-readable element in receiveq");
		return false;
	}
	if (chain->writable)
		swdev_violation(dev, "a device-writable element in transmitq");
	bytes = malloc(chain->readable_bytes + 1);
	append(&tty->printed, &tty->printed_length, bytes, swdev_chain_read(chain, 0, bytes, chain->readable_bytes));
	free(bytes);
	*written = 0;
	return true;
}

static void produce(struct swdev *dev)
{
	struct swdev_tty *tty = swdev_tty(dev);

	while (tty->typed_done < tty->typed_length && dev->queues[RECEIVEQ].held) {
		struct swdev_chain *chain = swdev_take_held(&dev->queues[RECEIVEQ]);
		size_t bytes = tty->typed_length - tty->typed_done;

		if (tty->most && bytes > tty->most)
			bytes = tty->most;
		bytes = swdev_chain_write(chain, 0, tty->typed + tty->typed_done, bytes);
		tty->typed_done += bytes;
		swdev_complete(chain, (uint32_t)bytes);
	}
}

static void config_written(struct swdev *dev, uint32_t offset)
{
	struct swdev_tty *tty = swdev_tty(dev);

	if (offset != EMERG_WR)
		return;
	tty->emergency++;
	append(&tty->printed, &tty->printed_length, dev->config + EMERG_WR, 1);
}

const struct swdev_type swdev_console = {
	.id = 3,
	.name = "console",
	.queues = 2,
	.features = FEATURE(CONSOLE_F_SIZE) | FEATURE(CONSOLE_F_EMERG_WRITE),
	.fields = fields,
	.config_size = 12,
	.init = init,
	.free = release,
	.serve = serve,
	.produce = produce,
	.config_written = config_written,
};
