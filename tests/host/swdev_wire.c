/*
 * "I2C Adapter Device", "SPI Controller Device", "GPIO Device".
 */
#include <stdlib.h>
#include <string.h>

#include "swdev_impl.h"
#include "swdev_wire.h"

static void release(struct swdev *dev) { free(dev->state); }

/* ---- i2c ---- */

static void i2c_init(struct swdev *dev) { dev->state = calloc(1, sizeof(struct swdev_i2c_bus)); }

static bool i2c_segment(struct swdev_i2c_bus *bus, struct swdev_chain *chain, uint16_t address, bool read, uint64_t length)
{
	unsigned chip = address == 0x50 << 1 ? 0 : address == (0x50 << 8 | 0xf0 | 2 << 1) ? 1 : 2;
	uint8_t bytes[300];

	if (chip == 2 || length > sizeof(bytes))
		return false;
	if (!read) {
		swdev_chain_read(chain, 8, bytes, length);
		for (uint64_t i = 0; i < length; i++) {
			if (i)
				bus->chips[chip][bus->at[chip]++] = bytes[i];
			else
				bus->at[chip] = bytes[0];
		}
		return true;
	}
	for (uint64_t i = 0; i < length; i++)
		bytes[i] = bus->chips[chip][bus->at[chip]++];
	return swdev_chain_write(chain, 0, bytes, length) == length;
}

static bool i2c_serve(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	struct swdev *dev = queue->dev;
	struct swdev_i2c_bus *bus = swdev_i2c_bus(dev);
	uint8_t header[8], status;
	uint32_t flags;
	uint64_t length;
	bool read;

	bus->requests++;
	if (swdev_chain_read(chain, 0, header, 8) != 8 || !chain->writable_bytes) {
		swdev_violation(dev, "a request without its header or status");
		return true;
	}
	flags = get32(header + 4);
	read = flags & 2;
	length = read ? chain->writable_bytes - 1 : chain->readable_bytes - 8;
	if (get16(header + 2) || flags & ~3u)
		swdev_violation(dev, "padding %#x, flags %#x", get16(header + 2), flags);
	if (read ? chain->readable_bytes != 8 : chain->writable_bytes != 1)
		swdev_violation(dev, "a buffer of the wrong direction");
	if (chain->readable + chain->writable != 2u + (length > 0))
		swdev_violation(dev, "%u buffers for %u bytes", chain->readable + chain->writable, (unsigned)length);
	status = bus->failing || !i2c_segment(bus, chain, get16(header), read, length);
	bus->done += !status;
	bus->failing = status && flags & 1;
	*written = (uint32_t)(read ? length : 0) + (uint32_t)swdev_chain_write(chain, read ? length : 0, &status, 1);
	return true;
}

const struct swdev_type swdev_i2c = {
	.id = 34,
	.name = "i2c",
	.queues = 1,
	.features = FEATURE(0), /* ZERO_LENGTH_REQUEST */
	.init = i2c_init,
	.free = release,
	.serve = i2c_serve,
};

/* ---- spi ---- */

static const struct swdev_field spi_fields[] = {
	{.offset = 0, .width = 1, .count = 4, .feature = -1},
	{.offset = 4, .width = 4, .count = 7, .feature = -1},
	{.width = 0},
};

static void spi_init(struct swdev *dev)
{
	dev->state = calloc(1, sizeof(struct swdev_spi_bus));
	dev->config[0] = 2;                     /* chip selects */
	dev->config[1] = 1;                     /* may be deselected between transfers */
	dev->config[2] = 2;                     /* out: QUAD */
	dev->config[3] = 1;                     /* in: DUAL */
	put32(dev->config + 4, 1u << 7);        /* words of 8 bits */
	put32(dev->config + 8, 3 | 4 | 1 << 5); /* both CPHA, CPOL 0, LSB first */
	put32(dev->config + 12, 1000000);
	put32(dev->config + 16, 100);
}

static void spi_check(struct swdev *dev, const uint8_t *head)
{
	static const uint8_t zeros[3];

	if (head[0] >= dev->config[0] || head[1] != 8 || head[2] > 1 || (head[3] > 1 && head[3] != 4) || head[4] > 2 ||
	    memcmp(head + 5, zeros, 3) || get32(head + 8) & ~9u || get32(head + 12) > 1000000 || get32(head + 16) > 100 ||
	    get32(head + 20) || get32(head + 24) || get32(head + 28))
		swdev_violation(dev, "a transfer that was not offered");
}

static bool spi_serve(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	struct swdev *dev = queue->dev;
	struct swdev_spi_bus *bus = swdev_spi_bus(dev);
	uint64_t in = chain->writable_bytes ? chain->writable_bytes - 1 : 0, out = chain->readable_bytes - 32;
	uint8_t head[32], byte;

	if (swdev_chain_read(chain, 0, head, 32) != 32 || !chain->writable_bytes || !(in || out) || (in && out && in != out)) {
		swdev_violation(dev, "a transfer of %u and %u bytes", (unsigned)chain->readable_bytes,
		                (unsigned)chain->writable_bytes);
		return true;
	}
	spi_check(dev, head);
	bus->transfers++;
	bus->last_mode = get32(head + 8);
	bus->last_hz = get32(head + 12);
	for (uint64_t i = 0; i < in; i++) {
		byte = 0x5a;
		swdev_chain_read(chain, 32 + i, &byte, 1);
		byte = (uint8_t)~byte;
		swdev_chain_write(chain, i, &byte, 1);
	}
	*written = (uint32_t)(in + swdev_chain_write(chain, in, &bus->result, 1));
	return true;
}

const struct swdev_type swdev_spi = {
	.id = 45,
	.name = "spi",
	.queues = 1,
	.fields = spi_fields,
	.config_size = 32,
	.init = spi_init,
	.free = release,
	.serve = spi_serve,
};

/* ---- gpio ---- */

static const char names[] = "first\0\0\0Red LED\0\0\0\0\0\0\0\0last";

static const struct swdev_field gpio_fields[] = {
	{.offset = 0, .width = 2, .count = 1, .feature = -1},
	{.offset = 4, .width = 4, .count = 1, .feature = -1},
	{.width = 0},
};

enum { REQUESTQ, EVENTQ };

static void gpio_init(struct swdev *dev)
{
	dev->state = calloc(1, sizeof(struct swdev_pins));
	put16(dev->config, SWDEV_LINES);
	put32(dev->config + 4, sizeof(names));
}

static void gpio_reset(struct swdev *dev) { memset(dev->state, 0, sizeof(struct swdev_pins)); }

/* The event request for a line, off the list of those that are held. NULL: none. */
static struct swdev_chain *unmasked(struct swdev *dev, unsigned line)
{
	struct swdev_queue *queue = &dev->queues[EVENTQ];

	for (struct swdev_chain **at = &queue->held; *at; at = &(*at)->next) {
		struct swdev_chain *chain = *at;
		uint8_t number[2];

		swdev_chain_read(chain, 0, number, 2);
		if (get16(number) != line)
			continue;
		*at = chain->next;
		if (!*at)
			queue->held_tail = at;
		return chain;
	}
	return NULL;
}

static void give_back(struct swdev *dev, unsigned line, uint8_t status)
{
	struct swdev_chain *chain = unmasked(dev, line);

	if (!chain)
		return;
	swdev_complete(chain, (uint32_t)swdev_chain_write(chain, 0, &status, 1));
}

void swdev_pin_drive(struct swdev *dev, unsigned line, bool high)
{
	struct swdev_pins *pins = swdev_pins(dev);
	uint8_t trigger = pins->trigger[line];

	if (high != pins->value[line] && trigger & (high ? 1 : 2))
		pins->latched[line] = true;
	pins->value[line] = high;
}

static void gpio_produce(struct swdev *dev)
{
	struct swdev_pins *pins = swdev_pins(dev);

	for (unsigned line = 0; line < SWDEV_LINES; line++) {
		bool level = pins->trigger[line] & (pins->value[line] ? 4 : 8);

		if ((pins->latched[line] || level) && dev->queues[EVENTQ].held) {
			struct swdev_chain *chain = unmasked(dev, line);
			uint8_t valid = 1;

			if (!chain)
				continue;
			pins->latched[line] = false;
			swdev_complete(chain, (uint32_t)swdev_chain_write(chain, 0, &valid, 1));
		}
	}
}

static uint8_t gpio_message(struct swdev *dev, unsigned type, unsigned line, uint32_t value, uint8_t *answer)
{
	struct swdev_pins *pins = swdev_pins(dev);

	if (line >= SWDEV_LINES)
		return 1;
	switch (type) {
	case 2:
		*answer = pins->direction[line];
		return 0;
	case 3:
		pins->direction[line] = (uint8_t)value;
		return value > 2;
	case 4:
		*answer = pins->value[line];
		return 0;
	case 5:
		pins->value[line] = (uint8_t)value;
		if (line + 1 < SWDEV_LINES && line % 2 == 0)
			swdev_pin_drive(dev, line + 1, value);
		return value > 1;
	case 6:
		if (!swdev_has(dev, GPIO_F_IRQ) || pins->direction[line] == 1 || (value && pins->trigger[line]))
			swdev_violation(dev, "trigger %u for line %u", value, line);
		pins->trigger[line] = (uint8_t)value;
		pins->latched[line] = false;
		if (!value)
			give_back(dev, line, 0);
		return value > 8;
	default:
		return 1;
	}
}

static bool gpio_serve(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	struct swdev *dev = queue->dev;
	uint8_t request[8] = {0}, answer[2] = {0};
	unsigned type;

	if (queue->index == EVENTQ) {
		unsigned same = 0;

		if (chain->readable_bytes != 2 || chain->writable_bytes != 1)
			swdev_violation(dev, "an event request of %u and %u bytes", (unsigned)chain->readable_bytes,
			                (unsigned)chain->writable_bytes);
		swdev_chain_read(chain, 0, request, 2);
		for (const struct swdev_chain *held = queue->held; held; held = held->next) {
			uint8_t number[2];

			swdev_chain_read(held, 0, number, 2);
			same += get16(number) == get16(request);
		}
		if (get16(request) >= SWDEV_LINES || same || !swdev_pins(dev)->trigger[get16(request)])
			swdev_violation(dev, "line %u unmasked: trigger not set, or a second time", get16(request));
		return false;
	}
	swdev_pins(dev)->messages++;
	if (swdev_chain_read(chain, 0, request, 8) != 8 || chain->readable_bytes != 8 || chain->writable_bytes < 2)
		swdev_violation(dev, "a message of %u and %u bytes", (unsigned)chain->readable_bytes,
		                (unsigned)chain->writable_bytes);
	type = get16(request);
	if (type == 1) {
		if (chain->writable_bytes != 1 + sizeof(names))
			swdev_violation(dev, "%u bytes for the names", (unsigned)chain->writable_bytes);
		*written = (uint32_t)swdev_chain_write(chain, 0, answer, 1);
		*written += (uint32_t)swdev_chain_write(chain, 1, names, sizeof(names));
		return true;
	}
	answer[0] = gpio_message(dev, type, get16(request + 2), get32(request + 4), &answer[1]);
	*written = (uint32_t)swdev_chain_write(chain, 0, answer, 2);
	return true;
}

const struct swdev_type swdev_gpio = {
	.id = 41,
	.name = "gpio",
	.queues = 2,
	.features = FEATURE(GPIO_F_IRQ),
	.fields = gpio_fields,
	.config_size = 8,
	.init = gpio_init,
	.free = release,
	.reset = gpio_reset,
	.serve = gpio_serve,
	.produce = gpio_produce,
};
