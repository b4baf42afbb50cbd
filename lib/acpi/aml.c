/*
 * The interpreter's start, and what others ask it: devices, resources, the routing of PCI's interrupts, events.
 *
 * A firmware's program is not trusted to end, and the interpreter is not trusted with it: see inside.h.
 */
#include <base/aml.h>

#include <errno.h>
#include <string.h>

#include <acpi/acpi.h>

#include <base/acpi.h>
#include <base/event.h>
#include <base/log.h>
#include <base/util.h>

#include "inside.h"
#include "osl.h"

#define PATH_MAX 64
#define POWER_BUTTON "PNP0C0C"
#define EVENT_DEVICE "ACPI0013"
#define NOTIFY_PRESSED 0x80

static const char *path_of(aml_device device, char path[PATH_MAX])
{
	struct acpi_buffer buffer = {.length = PATH_MAX, .pointer = path};

	if (ACPI_FAILURE(INSIDE(acpi_get_name(device, ACPI_FULL_PATHNAME, &buffer))))
		strcpy(path, "?");
	return path;
}

/* Evaluate an object that may be missing. NULL: missing, failed (a line says so), or nothing. For let_go(). */
static union acpi_object *evaluate(aml_device device, const char *name, struct acpi_object_list *arguments)
{
	struct acpi_buffer result = {.length = ACPI_ALLOCATE_BUFFER};
	char path[PATH_MAX];
	acpi_status status;

	next_request();
	status = INSIDE(acpi_evaluate_object(device, (acpi_string)(uintptr_t)name, arguments, &result));
	if (ACPI_SUCCESS(status))
		return result.pointer;
	if (status != AE_NOT_FOUND) {
		path_of(device, path);
		report(status, path, sizeof(path));
	}
	return NULL;
}

static void let_go(void *result)
{
	if (!given_up)
		acpi_os_free(result);
}

static void call(aml_device device, const char *name, uint64_t argument)
{
	union acpi_object number = {.integer = {.type = ACPI_TYPE_INTEGER, .value = argument}};

	let_go(evaluate(device, name, &(struct acpi_object_list){.count = 1, .pointer = &number}));
}

/* ---- start ---- */

/* The function that sets it is only there for the fixed hardware. */
extern acpi_exception_handler acpi_gbl_exception_handler;

/* Tables with more AML, beside the DSDT. One by one: what is wrong with one is not the others' fault. */
static void load_more(void)
{
	const struct acpi_header *table;

	for (unsigned i = 0; (table = acpi_table("SSDT", i)) != NULL; i++) {
		acpi_status status;

		next_request();
		osl_begin();
		status = acpi_load_table((struct acpi_table_header *)(uintptr_t)table, NULL);
		report_first();
		if (ACPI_FAILURE(status))
			report(status, table->oem_table_id, sizeof(table->oem_table_id));
	}
}

static acpi_status start(void)
{
	acpi_status status;

	acpi_gbl_max_loop_iterations = OSL_LOOP_SECONDS;
	status = acpi_initialize_subsystem();
	acpi_gbl_exception_handler = inside_exception;
	if (ACPI_SUCCESS(status))
		status = acpi_initialize_tables(NULL, 0, TRUE);
	if (ACPI_SUCCESS(status))
		status = acpi_load_tables();
	if (ACPI_SUCCESS(status))
		load_more();
	if (ACPI_SUCCESS(status))
		status = acpi_enable_subsystem(ACPI_FULL_INITIALIZATION);
	next_request();
	if (ACPI_SUCCESS(status))
		status = acpi_initialize_objects(ACPI_FULL_INITIALIZATION);
	return status;
}

bool aml_interpreter_start(void)
{
	static enum { NOT_TRIED, FAILED, RUNS } state;

	if (state == NOT_TRIED) {
		acpi_status status = AE_NO_ACPI_TABLES;

		if (acpi_table("FACP", 0) && acpi_table("DSDT", 0))
			status = osl_make_root() ? INSIDE(start()) : AE_NO_MEMORY;
		state = ACPI_SUCCESS(status) ? RUNS : FAILED;
		if (state == FAILED && acpi_table_at(0) && !given_up)
			log_warn("acpi: AML cannot be used: %s", acpi_format_exception(status));
		/* Interrupts arrive at I/O APICs, where there are such. */
		if (state == RUNS)
			call(ACPI_ROOT_OBJECT, "_PIC", 1);
	}
	return state == RUNS && !given_up;
}

/* ---- devices ---- */

#define DEVICES_MAX 128 /* of one id */

struct search {
	aml_device found[DEVICES_MAX];
	unsigned count;
};

static acpi_status on_device(acpi_handle device, uint32_t level, void *context, void **result)
{
	struct search *search = context;

	(void)level;
	(void)result;
	if (search->count == DEVICES_MAX)
		return AE_LIMIT;
	search->found[search->count++] = device;
	return AE_OK;
}

void aml_each(const char *id, void (*found)(aml_device device, void *context), void *context)
{
	struct search search = {.count = 0};

	next_request();
	if (INSIDE(acpi_get_devices(id, on_device, &search, NULL)) == AE_LIMIT)
		report(AE_LIMIT, id, UINT8_MAX);
	for (unsigned i = 0; i < search.count && !given_up; i++)
		found(search.found[i], context);
}

int aml_number(aml_device device, const char *name, uint64_t *value)
{
	union acpi_object *object = evaluate(device, name, NULL);
	int error = object && object->type == ACPI_TYPE_INTEGER ? 0 : -ENOENT;

	if (!error)
		*value = object->integer.value;
	let_go(object);
	return error;
}

aml_device aml_child(aml_device device, uint32_t address)
{
	acpi_handle child = NULL;
	uint64_t value;

	while (ACPI_SUCCESS(INSIDE(acpi_get_next_object(ACPI_TYPE_DEVICE, device, child, &child))))
		if (aml_number(child, METHOD_NAME__ADR, &value) == 0 && value == address)
			return child;
	return NULL;
}

/* ---- resources ---- */

static enum irq_trigger trigger_of(unsigned triggering, unsigned polarity)
{
	if (triggering == ACPI_EDGE_SENSITIVE)
		return polarity == ACPI_ACTIVE_LOW ? IRQ_TRIGGER_EDGE_LOW : IRQ_TRIGGER_EDGE;
	return polarity == ACPI_ACTIVE_LOW ? IRQ_TRIGGER_LEVEL : IRQ_TRIGGER_LEVEL_HIGH;
}

/* An address space descriptor, of any width. False: buses. */
static bool take_address(struct acpi_resource *resource, struct aml_resource *out)
{
	struct acpi_resource_address64 address;

	if (ACPI_FAILURE(acpi_resource_to_address64(resource, &address)) || address.resource_type == ACPI_BUS_NUMBER_RANGE ||
	    !address.address.address_length)
		return false;
	*out = (struct aml_resource){.kind = address.resource_type == ACPI_IO_RANGE ? AML_PORTS : AML_MEMORY,
	                             .window = address.producer_consumer == ACPI_PRODUCER,
	                             .base = address.address.minimum + address.address.translation_offset,
	                             .size = address.address.address_length,
	                             .offset = address.address.translation_offset};
	return true;
}

static bool take(struct acpi_resource *resource, struct aml_resource *out)
{
	const union acpi_resource_data *data = &resource->data;

	switch (resource->type) {
	case ACPI_RESOURCE_TYPE_FIXED_MEMORY32:
		*out = (struct aml_resource){.base = data->fixed_memory32.address, .size = data->fixed_memory32.address_length};
		return true;
	case ACPI_RESOURCE_TYPE_MEMORY32:
		*out = (struct aml_resource){.base = data->memory32.minimum, .size = data->memory32.address_length};
		return true;
	case ACPI_RESOURCE_TYPE_IO:
		*out = (struct aml_resource){.kind = AML_PORTS, .base = data->io.minimum, .size = data->io.address_length};
		return true;
	case ACPI_RESOURCE_TYPE_IRQ:
		*out = (struct aml_resource){.kind = AML_LINE,
		                             .base = data->irq.interrupts[0],
		                             .size = data->irq.interrupt_count};
		out->trigger = trigger_of(data->irq.triggering, data->irq.polarity);
		return out->size;
	case ACPI_RESOURCE_TYPE_EXTENDED_IRQ:
		*out = (struct aml_resource){.kind = AML_LINE,
		                             .base = data->extended_irq.interrupts[0],
		                             .size = data->extended_irq.interrupt_count};
		out->trigger = trigger_of(data->extended_irq.triggering, data->extended_irq.polarity);
		return out->size;
	default:
		return take_address(resource, out);
	}
}

struct taking {
	struct aml_resource *out;
	unsigned max, count;
};

static acpi_status on_resource(struct acpi_resource *resource, void *context)
{
	struct taking *taking = context;

	if (taking->count < taking->max && take(resource, &taking->out[taking->count]))
		taking->count++;
	return AE_OK;
}

int aml_resources(aml_device device, struct aml_resource *out, unsigned max)
{
	struct taking taking = {.out = out, .max = max};
	char path[PATH_MAX];
	acpi_status status;

	next_request();
	status = INSIDE(acpi_walk_resources(device, METHOD_NAME__CRS, on_resource, &taking));
	if (ACPI_FAILURE(status) && (status != AE_NOT_FOUND || reported)) {
		path_of(device, path);
		report(status, path, sizeof(path));
		return -EIO;
	}
	return (int)taking.count;
}

/* ---- INTx ---- */

/* The line that a link device is set to. */
static int link_line(aml_device link, unsigned *gsi, enum irq_trigger *trigger)
{
	struct aml_resource found[4];
	int count = aml_resources(link, found, ARRAY_SIZE(found));

	for (int i = 0; i < count; i++)
		if (found[i].kind == AML_LINE && found[i].base) {
			*gsi = (unsigned)found[i].base;
			*trigger = found[i].trigger;
			return 0;
		}
	return -ENOENT;
}

/* What a link device is set to: a line, and the end of the list. */
struct link_setting {
	struct acpi_resource line, end;
};

static acpi_status first_line(struct acpi_resource *resource, void *context)
{
	struct acpi_resource *line = &((struct link_setting *)context)->line;

	if (resource->type == ACPI_RESOURCE_TYPE_IRQ && resource->data.irq.interrupt_count) {
		line->data.irq = resource->data.irq;
		line->data.irq.interrupt_count = 1;
	} else if (resource->type == ACPI_RESOURCE_TYPE_EXTENDED_IRQ && resource->data.extended_irq.interrupt_count) {
		line->data.extended_irq = resource->data.extended_irq;
		line->data.extended_irq.interrupt_count = 1;
		line->data.extended_irq.resource_source = (struct acpi_resource_source){0};
	} else {
		return AE_OK;
	}
	line->type = resource->type;
	line->length = sizeof(*line);
	return AE_CTRL_TERMINATE;
}

/* Set a link device to the first line that it may be set to. */
static int set_link(aml_device link, unsigned *gsi, enum irq_trigger *trigger)
{
	struct link_setting setting = {.end = {.type = ACPI_RESOURCE_TYPE_END_TAG, .length = sizeof(setting.end)}};
	struct acpi_buffer buffer = {.length = sizeof(setting), .pointer = &setting};

	next_request();
	if (ACPI_FAILURE(INSIDE(acpi_walk_resources(link, METHOD_NAME__PRS, first_line, &setting))) || !setting.line.length ||
	    ACPI_FAILURE(INSIDE(acpi_set_current_resources(link, &buffer))))
		return -ENOENT;
	return link_line(link, gsi, trigger);
}

static int follow_link(aml_device bus, const char *name, unsigned *gsi, enum irq_trigger *trigger)
{
	acpi_handle link = NULL;

	if (ACPI_FAILURE(INSIDE(acpi_get_handle(bus, (acpi_string)(uintptr_t)name, &link))))
		return -ENOENT;
	return link_line(link, gsi, trigger) == 0 ? 0 : set_link(link, gsi, trigger);
}

/* The _PRT of a bus. One that is a method may be slow (QEMU's pc computes 128 entries), so what it gave is kept for a few buses. */
static const struct acpi_pci_routing_table *routes_of(aml_device bus)
{
	static struct {
		aml_device bus;
		struct acpi_pci_routing_table *routes; /* NULL: it has none */
	} kept[8];
	static unsigned next;
	struct acpi_buffer buffer = {.length = ACPI_ALLOCATE_BUFFER};

	for (unsigned i = 0; i < ARRAY_SIZE(kept); i++)
		if (kept[i].bus == bus)
			return kept[i].routes;
	next_request();
	if (ACPI_FAILURE(INSIDE(acpi_get_irq_routing_table(bus, &buffer))))
		buffer.pointer = NULL;
	let_go(kept[next].routes);
	kept[next].bus = bus;
	kept[next].routes = buffer.pointer;
	next = (next + 1) % ARRAY_SIZE(kept);
	return buffer.pointer;
}

int aml_intx(aml_device bus, unsigned pci_device, unsigned pin, unsigned *gsi, enum irq_trigger *trigger)
{
	const struct acpi_pci_routing_table *route = given_up ? NULL : routes_of(bus);

	for (; route && route->length; route = (const void *)((const char *)route + route->length)) {
		if (route->address >> 16 != pci_device || route->pin != pin)
			continue;
		if (route->source[0])
			return follow_link(bus, route->source, gsi, trigger);
		*gsi = route->source_index;
		*trigger = IRQ_TRIGGER_LEVEL;
		return 0;
	}
	return -ENOENT;
}

/* ---- events ---- */

#define EVENT_LINES_MAX 8

struct event_line {
	struct event event;
	struct irq irq;
	aml_device device;
	uint64_t gsi;
};

static struct event_line event_lines[EVENT_LINES_MAX];
static unsigned event_line_count;
static void (*button_pressed)(void);
static bool pressed;

static void on_notify(acpi_handle device, uint32_t value, void *context)
{
	struct acpi_device_info *info;
	bool button;

	(void)context;
	if (value != NOTIFY_PRESSED || ACPI_FAILURE(acpi_get_object_info(device, &info)))
		return;
	button = info->valid & ACPI_VALID_HID && strcmp(info->hardware_id.string, POWER_BUTTON) == 0;
	acpi_os_free(info);
	pressed |= button;
}

static void on_later(struct event *event)
{
	(void)event;
	(void)INSIDE((osl_run_later(), AE_OK));
	if (pressed)
		button_pressed();
	pressed = false;
}

struct event osl_later = {.run = on_later};

static void on_event(struct event *event)
{
	struct event_line *line = container_of(event, struct event_line, event);

	call(line->device, "_EVT", line->gsi);
	irq_rearm(&line->irq);
}

static void listen_to(aml_device device, void *context)
{
	struct aml_resource found[EVENT_LINES_MAX];
	int count = aml_resources(device, found, ARRAY_SIZE(found));

	(void)context;
	for (int i = 0; i < count && event_line_count < ARRAY_SIZE(event_lines); i++) {
		struct event_line *line = &event_lines[event_line_count];

		if (found[i].kind != AML_LINE)
			continue;
		*line = (struct event_line){.device = device, .gsi = found[i].base};
		event_init(&line->event, on_event);
		if (irq_attach_line(&line->irq, (unsigned)found[i].base, found[i].trigger, &line->event) != 0)
			continue;
		event_line_count++;
		/* What happened before somebody listened. */
		event_mark(&line->event);
	}
}

void aml_listen(void (*button)(void))
{
	button_pressed = button;
	if (ACPI_SUCCESS(INSIDE(acpi_install_notify_handler(ACPI_ROOT_OBJECT, ACPI_ALL_NOTIFY, on_notify, NULL))))
		aml_each(EVENT_DEVICE, listen_to, NULL);
}
