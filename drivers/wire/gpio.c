/*
 * "GPIO Device": requests about lines, answered one by one; and, with F_IRQ, a request on the eventq for each line that is watched, which comes
 * back when the line's interrupt comes. That masks it; the driver gives the request back when the program has been told.
 *
 * A line is in one of three states: not watched; watched, its request with the device; to be let go, until the device has given its
 * request back (status INVALID). A reset of the device forgets triggers: they are set again, by requests that nobody waits for.
 */
#include <errno.h>
#include <string.h>

#include <base/endian.h>
#include <base/log.h>
#include <base/page.h>
#include <class/wire.h>
#include <virtio/call.h>
#include <virtio/ids.h>

enum { VIRTIO_GPIO_F_IRQ = 0 };
enum { MSG_GET_LINE_NAMES = 1, MSG_GET_DIRECTION, MSG_SET_DIRECTION, MSG_GET_VALUE, MSG_SET_VALUE, MSG_SET_IRQ_TYPE };
enum { STATUS_OK = 0, IRQ_STATUS_VALID = 1 };

/* "GPIO Device / Device configuration layout" */
struct virtio_gpio_config {
	le16 ngpio;
	uint8_t padding[2];
	le32 gpio_names_size;
};
_Static_assert(sizeof(struct virtio_gpio_config) == 8, "virtio_gpio_config");

/* "Device Operation: requestq" */
struct virtio_gpio_request {
	le16 type, gpio;
	le32 value;
};
_Static_assert(sizeof(struct virtio_gpio_request) == 8, "virtio_gpio_request");

struct virtio_gpio_response {
	uint8_t status, value;
};

#define NAMES_MAX 65536u

struct line {
	struct virtio_request request; /* on the eventq */
	struct virtq_buf bufs[2];
	le16 gpio;
	uint8_t status;
	uint8_t trigger; /* an enum gpio_trigger; GPIO_NEVER: not watched */
	bool out;        /* the request is with the queue */
	bool output;
	struct gpio_watch *watch;

	struct virtio_request again; /* after a reset: its trigger, anew */
	struct virtq_buf again_bufs[2];
	struct virtio_gpio_request set;
	struct virtio_gpio_response told;
	bool setting;
};

struct gpio {
	struct gpio_device device;
	struct virtio_device *vdev;
	struct virtio_requestq requests, events;
	char *names; /* behind a status byte; all of them, a NUL behind each, and one behind that */
	uint32_t names_bytes;
	size_t lines_bytes;
	struct line *lines;
};

static int ask(struct gpio *gpio, unsigned type, unsigned line, uint32_t value, uint8_t *answer)
{
	struct virtio_gpio_request request = {.type = cpu_to_le16((uint16_t)type),
	                                      .gpio = cpu_to_le16((uint16_t)line),
	                                      .value = cpu_to_le32(value)};
	struct virtio_gpio_response response;
	int error;

	if (line >= gpio->device.lines)
		return -EINVAL;
	error = virtio_ask(&gpio->requests, &request, sizeof(request), &response, sizeof(response));
	if (!error && !class_has(&gpio_devices, &gpio->device.node))
		return -ENODEV; /* it went while its answer was on its way to us */
	if (!error && response.status != STATUS_OK)
		error = -EIO;
	if (!error && answer)
		*answer = response.value;
	return error;
}

static int direction(struct gpio_device *device, unsigned line, enum gpio_direction *direction, bool set)
{
	struct gpio *gpio = container_of(device, struct gpio, device);
	uint8_t value;
	int error;

	if (set) {
		/* "requestq Operation": no interrupts of a line that is an output */
		if (*direction > GPIO_IN || (line < device->lines && *direction == GPIO_OUT && gpio->lines[line].trigger))
			return -EINVAL;
		error = ask(gpio, MSG_SET_DIRECTION, line, *direction, NULL);
		if (!error)
			gpio->lines[line].output = *direction == GPIO_OUT;
		return error;
	}
	error = ask(gpio, MSG_GET_DIRECTION, line, 0, &value);
	if (!error && value > GPIO_IN)
		error = -EIO;
	if (!error)
		*direction = value;
	return error;
}

static int value(struct gpio_device *device, unsigned line, bool *high, bool set)
{
	struct gpio *gpio = container_of(device, struct gpio, device);
	uint8_t value;
	int error = ask(gpio, set ? MSG_SET_VALUE : MSG_GET_VALUE, line, set && *high, &value);

	if (!error && !set)
		*high = value;
	return error;
}

/* The device's names, in memory of the driver's; false: it does not tell. */
static bool read_names(struct gpio *gpio)
{
	struct virtio_gpio_request request = {.type = cpu_to_le16(MSG_GET_LINE_NAMES)};
	uint32_t bytes = 1 + gpio->names_bytes;
	char *names = page_alloc(bytes, PAGE_SIZE);
	bool read = names && !virtio_ask(&gpio->requests, &request, sizeof(request), names, bytes) && names[0] == STATUS_OK &&
	            class_has(&gpio_devices, &gpio->device.node);

	if (read)
		memcpy(gpio->names, names, bytes);
	if (names)
		page_free(names, bytes);
	return read;
}

static const char *name(struct gpio_device *device, unsigned line)
{
	struct gpio *gpio = container_of(device, struct gpio, device);
	const char *at, *end;

	if (line >= device->lines || !gpio->names_bytes || (gpio->names[0] != STATUS_OK && !read_names(gpio)))
		return "";
	at = gpio->names + 1;
	end = at + gpio->names_bytes;
	while (line-- && at < end)
		at += strlen(at) + 1; /* a NUL is behind them all */
	return at < end ? at : "";
}

/* ---- interrupts ---- */

/* "eventq Operation": one pair of buffers for a line, once its interrupt is enabled */
static void unmask(struct gpio *gpio, struct line *line)
{
	if (line->out || line->setting || !line->trigger)
		return;
	line->out = true;
	line->status = 0;
	virtio_request_submit(&gpio->events, &line->request);
}

static void came(struct virtio_request *request)
{
	struct line *line = container_of(request, struct line, request);
	struct gpio *gpio = line->request.context;
	bool valid = !request->status && request->written && READ_ONCE(line->status) == IRQ_STATUS_VALID;

	line->out = false;
	if (valid && line->trigger && line->watch)
		line->watch->changed(line->watch, (unsigned)(line - gpio->lines));
	/* Of a line that is to be let go nothing more is wanted; what a reset gave back waits for its trigger. */
	if (valid)
		unmask(gpio, line);
	else if (!request->status && line->trigger)
		log_warn("%s: line %u: the device has disabled its interrupt", gpio->vdev->name, (unsigned)(line - gpio->lines));
}

static int set_trigger(struct gpio *gpio, unsigned line, enum gpio_trigger trigger)
{
	return ask(gpio, MSG_SET_IRQ_TYPE, line, trigger, NULL);
}

static int watch(struct gpio_device *device, unsigned number, enum gpio_trigger trigger, struct gpio_watch *watch)
{
	struct gpio *gpio = container_of(device, struct gpio, device);
	struct line *line = &gpio->lines[number];
	int error;

	if (!device->interrupts)
		return -ENOTSUP;
	if (number >= device->lines || (trigger > GPIO_HIGH && trigger != GPIO_LOW) || (trigger && (!watch || line->output)))
		return -EINVAL;
	/* "requestq Operation": to another trigger by way of NONE */
	if (trigger && (line->trigger || line->out || line->setting))
		return -EBUSY;
	if (!trigger && !line->trigger)
		return 0;
	line->trigger = GPIO_NEVER;
	line->watch = NULL;
	error = set_trigger(gpio, number, trigger);
	if (error || !trigger)
		return error;
	line->trigger = (uint8_t)trigger;
	line->watch = watch;
	unmask(gpio, line);
	return 0;
}

/* After a reset. */
static void set_again_done(struct virtio_request *request)
{
	struct line *line = container_of(request, struct line, again);
	struct gpio *gpio = line->request.context;

	line->setting = false;
	if (!request->status && request->written == sizeof(line->told) && READ_ONCE(line->told.status) == STATUS_OK)
		unmask(gpio, line);
	else if (request->status != -EIO && request->status != -ENODEV) /* else: the next start */
		log_warn("%s: line %u: its trigger could not be set again", gpio->vdev->name, (unsigned)(line - gpio->lines));
}

static void set_again(struct gpio *gpio, struct line *line)
{
	line->set = (struct virtio_gpio_request){.type = cpu_to_le16(MSG_SET_IRQ_TYPE),
	                                         .gpio = line->gpio,
	                                         .value = cpu_to_le32(line->trigger)};
	line->told.status = 255;
	line->setting = true;
	virtio_request_submit(&gpio->requests, &line->again);
}

/* ---- life ---- */

static void init_line(struct gpio *gpio, unsigned number)
{
	struct line *line = &gpio->lines[number];

	line->gpio = cpu_to_le16((uint16_t)number);
	line->bufs[0] = (struct virtq_buf){&line->gpio, sizeof(line->gpio)};
	line->bufs[1] = (struct virtq_buf){&line->status, 1};
	line->request = (struct virtio_request){.bufs = line->bufs, .nreadable = 1, .nwritable = 1, .done = came, .context = gpio};
	line->again_bufs[0] = (struct virtq_buf){&line->set, sizeof(line->set)};
	line->again_bufs[1] = (struct virtq_buf){&line->told, sizeof(line->told)};
	line->again = (struct virtio_request){.bufs = line->again_bufs,
	                                      .nreadable = 1,
	                                      .nwritable = 1,
	                                      .done = set_again_done,
	                                      .context = gpio};
}

static const struct gpio_ops ops = {.name = name, .direction = direction, .value = value, .watch = watch};

static void release(struct gpio *gpio)
{
	if (gpio->lines)
		page_free(gpio->lines, gpio->lines_bytes);
	if (gpio->names)
		page_free(gpio->names, gpio->names_bytes + 2);
	page_free(gpio, sizeof(*gpio));
}

static int probe(struct virtio_device *vdev)
{
	struct gpio *gpio = page_alloc(sizeof(*gpio), PAGE_SIZE);
	uint32_t names;

	if (!gpio)
		return -ENOMEM;
	gpio->vdev = vdev;
	gpio->device.ops = &ops;
	gpio->device.interrupts = virtio_has(vdev, VIRTIO_GPIO_F_IRQ);
	gpio->device.lines = virtio_config_u16(vdev, offsetof(struct virtio_gpio_config, ngpio), 0);
	names = virtio_config_u32(vdev, offsetof(struct virtio_gpio_config, gpio_names_size), 0);
	if (names > NAMES_MAX) {
		log_warn("virtio-gpio %s: %u bytes of names are too many: it has none", vdev->name, names);
		names = 0;
	}
	gpio->names_bytes = names;
	gpio->lines_bytes = MAX(gpio->device.lines, 1u) * sizeof(*gpio->lines);
	gpio->lines = page_alloc(gpio->lines_bytes, PAGE_SIZE);
	gpio->names = page_alloc(names + 2, PAGE_SIZE);
	if (!gpio->lines || !gpio->names) {
		release(gpio);
		return -ENOMEM;
	}
	gpio->names[0] = 1;
	for (unsigned i = 0; i < gpio->device.lines; i++)
		init_line(gpio, i);
	virtio_requestq_init(&gpio->requests);
	virtio_requestq_init(&gpio->events);
	gpio->events.again = true;
	vdev->driver_data = gpio;
	vdev->node = &gpio->device.node;
	return 0;
}

static int start(struct virtio_device *vdev)
{
	struct gpio *gpio = vdev->driver_data;
	const struct virtq_spec specs[] = {virtio_requestq_spec(&gpio->requests, "requestq", 2),
	                                   virtio_requestq_spec(&gpio->events, "eventq", 2)};
	int error = virtio_service_start(vdev, gpio->device.interrupts ? 2 : 1, specs);

	if (error)
		return error;
	for (unsigned i = 0; i < gpio->device.lines; i++)
		if (gpio->lines[i].trigger && !gpio->lines[i].setting)
			set_again(gpio, &gpio->lines[i]);
	return 0;
}

/* None stays with a queue: its trigger comes first. */
static void stop(struct virtio_device *vdev)
{
	struct gpio *gpio = vdev->driver_data;

	virtio_service_stop(vdev);
	virtio_requestq_end(&gpio->events);
}

static void remove(struct virtio_device *vdev)
{
	struct gpio *gpio = vdev->driver_data;

	virtio_requestq_end(&gpio->requests);
	release(gpio);
}

static const struct virtio_driver gpio_driver = {
	.name = "virtio-gpio",
	.instance = "gpio",
	.type = VIRTIO_ID_GPIO,
	.devices = &gpio_devices,
	.features = BIT64(VIRTIO_GPIO_F_IRQ),
	.config_size = sizeof(struct virtio_gpio_config),
	.probe = probe,
	.start = start,
	.stop = stop,
	.remove = remove,
	.queue_drain = virtio_service_drain,
	.queue_refill = virtio_service_refill,
};
VIRTIO_DRIVER(gpio_driver);
