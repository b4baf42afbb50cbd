/*
 * A stranger's kernel, as small as it gets: the whole seam that libvireo.a asks for (docs/adopting.md), on one thread, with interrupts that
 * are calls. It shares no code with Vireo: of Vireo it sees public headers and the archive.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arch/clock.h>
#include <arch/irq.h>
#include <arch/mmu.h>
#include <arch/platform.h>
#include <base/acpi.h>
#include <base/cmdline.h>
#include <base/dma.h>
#include <base/event.h>
#include <base/log.h>
#include <base/page.h>

#include "kernel.h"

#define PAGES 256u
#define LINES 16u

/* ---- memory: a page is taken or not ---- */

uint8_t *ram;
static bool taken[PAGES];

static unsigned page_count(size_t bytes) { return (unsigned)((bytes + PAGE_SIZE - 1) / PAGE_SIZE); }

void *page_alloc(size_t bytes, size_t alignment)
{
	unsigned want = page_count(bytes), run = 0;

	(void)alignment; /* RAM begins at a boundary of all that is asked for here: */
	if (alignment > PAGE_SIZE)
		abort();
	for (unsigned i = 0; i < PAGES; i++) {
		run = taken[i] ? 0 : run + 1;
		if (want && run == want) {
			uint8_t *memory = ram + (size_t)(i + 1 - want) * PAGE_SIZE;

			memset(&taken[i + 1 - want], true, want);
			return memset(memory, 0, (size_t)want * PAGE_SIZE);
		}
	}
	return NULL;
}

void *page_alloc_uncleared(size_t bytes, size_t alignment)
{
	void *pages = page_alloc(bytes, alignment);

	return pages ? memset(pages, 0xa5, bytes) : NULL;
}

void page_free(void *pages, size_t bytes)
{
	size_t first = (size_t)((uint8_t *)pages - ram) / PAGE_SIZE;

	for (size_t i = 0; pages && i < page_count(bytes); i++) {
		if (!taken[first + i])
			abort();
		taken[first + i] = false;
	}
}

void *page_take(size_t bytes) { return page_alloc(bytes, PAGE_SIZE); }

void *page_take_untold(size_t least, size_t most, size_t *bytes)
{
	(void)least, (void)most, (void)bytes;
	return NULL;
}

void page_free_told(void *pages, size_t bytes) { page_free(pages, bytes); }

void page_lender_add(struct page_lender *lender) { (void)lender; }

void page_lender_remove(struct page_lender *lender) { (void)lender; }

int page_poison(void) { return -1; }

bool page_add(void *pages, size_t bytes)
{
	(void)pages, (void)bytes;
	return false;
}

bool page_remove(void *pages, size_t bytes)
{
	(void)pages, (void)bytes;
	return false;
}

uint64_t page_count_total(void) { return PAGES; }

uint64_t page_count_free(void) { return PAGES - kernel_pages_used(); }

unsigned kernel_pages_used(void)
{
	unsigned used = 0;

	for (unsigned i = 0; i < PAGES; i++)
		used += taken[i];
	return used;
}

void *dma_alloc(struct dma_device *dma, size_t size, size_t alignment, dma_addr_t *addr)
{
	void *memory = dma->ops ? NULL : page_alloc(size, alignment);

	if (memory)
		*addr = mmu_virt_to_phys(memory);
	return memory;
}

void *dma_alloc_uncleared(struct dma_device *dma, size_t size, size_t alignment, dma_addr_t *addr)
{
	return dma_alloc(dma, size, alignment, addr);
}

void dma_free(struct dma_device *dma, void *memory, size_t size, dma_addr_t addr)
{
	(void)dma, (void)addr;
	page_free(memory, size);
}

/* No IOMMU stands between memory and its devices. */
int dma_attach(struct dma_device *dma, bool obeys)
{
	(void)dma, (void)obeys;
	return 0;
}

void dma_detach(struct dma_device *dma) { (void)dma; }
void dma_provider_add(struct dma_provider *provider) { (void)provider; }
void dma_provider_remove(struct dma_provider *provider) { (void)provider; }

void *kernel_phys(uint64_t phys, uint64_t size)
{
	uint64_t at = phys - RAM_BASE, end = PAGES * (uint64_t)PAGE_SIZE;

	return phys >= RAM_BASE && at <= end && size <= end - at ? ram + at : NULL;
}

volatile void *mmu_map_device(uint64_t phys, uint64_t size) { return device_window(phys, size); }

void *mmu_map_memory(uint64_t phys, uint64_t size)
{
	(void)phys, (void)size;
	return NULL;
}

/* ---- the loop ---- */

static struct event *marked, **marked_tail = &marked, *deferred;
static struct poller *pollers;
static struct timer *timers;
static uint64_t now_ns;

static void push(struct event ***tail, struct event *event)
{
	if (event->marked)
		return;
	event->marked = true;
	event->next = NULL;
	**tail = event;
	*tail = &event->next;
}

void event_mark(struct event *event) { push(&marked_tail, event); }

void event_defer(struct event *event)
{
	struct event **tail = &deferred;

	while (*tail)
		tail = &(*tail)->next;
	push(&tail, event);
}

static void take_out(struct event **list, const struct event *event)
{
	while (*list && *list != event)
		list = &(*list)->next;
	if (*list)
		*list = event->next;
}

void event_cancel(struct event *event)
{
	take_out(&marked, event);
	for (marked_tail = &marked; *marked_tail; marked_tail = &(*marked_tail)->next)
		;
	take_out(&deferred, event);
	event->marked = false;
}

static void run_first(struct event **list)
{
	struct event *event = *list;

	*list = event->next;
	if (list == &marked && !marked)
		marked_tail = &marked;
	event->marked = false;
	event->run(event);
}

void poller_add(struct poller *poller, struct event *event)
{
	*poller = (struct poller){.event = event, .next = pollers};
	pollers = poller;
}

void poller_remove(struct poller *poller)
{
	struct poller **at = &pollers;

	while (*at && *at != poller)
		at = &(*at)->next;
	if (*at)
		*at = poller->next;
}

void timer_stop(struct timer *timer)
{
	struct timer **at = &timers;

	while (*at && *at != timer)
		at = &(*at)->next;
	if (*at)
		*at = timer->next;
	timer->active = false;
}

void timer_start(struct timer *timer, uint64_t deadline_ns, void (*run)(struct timer *timer))
{
	timer_stop(timer);
	*timer = (struct timer){.run = run, .next = timers, .deadline_ns = deadline_ns, .active = true};
	timers = timer;
}

static bool run_timer(void)
{
	struct timer *timer = timers;

	while (timer && timer->deadline_ns > now_ns)
		timer = timer->next;
	if (!timer)
		return false;
	timer_stop(timer);
	timer->run(timer);
	return true;
}

/* Time is turns: a microsecond each. */
bool loop_turn(bool sleep, uint64_t deadline_ns)
{
	bool ran = false;

	(void)sleep, (void)deadline_ns;
	now_ns += 1000;
	for (const struct poller *poller = pollers; poller; poller = poller->next)
		event_mark(poller->event);
	for (; marked; ran = true)
		run_first(&marked);
	ran |= run_timer();
	for (; deferred; ran = true)
		run_first(&deferred);
	return ran;
}

bool loop_wait(const bool *flag, uint64_t timeout_ns)
{
	uint64_t start = now_ns;

	while (!*flag && now_ns - start < timeout_ns)
		loop_turn(true, LOOP_FOREVER);
	return *flag;
}

void cpu_run(unsigned cpu, void (*run)(void *arg), void *arg)
{
	(void)cpu; /* there is one */
	run(arg);
}

uint64_t clock_ns(void) { return now_ns; }
uint64_t clock_ticks(void) { return now_ns; }

/* ---- interrupts ---- */

static struct irq *lines[LINES];

bool irq_line_exists(unsigned gsi, enum irq_trigger trigger) { return (void)trigger, gsi < LINES; }

int irq_attach_line(struct irq *irq, unsigned gsi, enum irq_trigger trigger, struct event *event)
{
	if (gsi >= LINES)
		return -EINVAL;
	*irq = (struct irq){.event = event, .next = lines[gsi], .gsi = gsi, .level = trigger == IRQ_TRIGGER_LEVEL};
	lines[gsi] = irq;
	return 0;
}

void irq_detach(struct irq *irq)
{
	struct irq **at = &lines[irq->gsi];

	while (*at != irq)
		at = &(*at)->next;
	*at = irq->next;
}

void kernel_interrupt(unsigned line)
{
	for (struct irq *irq = lines[line]; irq; irq = irq->next) {
		irq->count++;
		event_mark(irq->event);
	}
}

int irq_attach_message(struct irq *irq, struct event *event, struct irq_message *message)
{
	(void)irq, (void)event, (void)message;
	return -ENODEV;
}

void irq_rearm(struct irq *irq) { (void)irq; }

/* ---- what this machine does not have: PCI, ACPI, a command line ---- */

bool arch_pci_ports_present(void) { return false; }
uint32_t arch_pci_ports_read(uint16_t bdf, uint16_t offset, unsigned width)
{
	return (void)bdf, (void)offset, (void)width, UINT32_MAX;
}
void arch_pci_ports_write(uint16_t bdf, uint16_t offset, unsigned width, uint32_t value)
{
	(void)bdf, (void)offset, (void)width, (void)value;
}
void arch_pci_window(bool ports, uint64_t *base, uint64_t *end) { (void)ports, *base = *end = 0; }
const struct acpi_header *acpi_table(const char *signature, unsigned index) { return (void)signature, (void)index, NULL; }
const char *cmdline_get(const char *key) { return (void)key, NULL; }
const char *cmdline_next(const char *key, unsigned *cursor) { return (void)key, (void)cursor, NULL; }
bool parse_size(const char *text, const char *stops, uint64_t *value, const char **end)
{
	return (void)text, (void)stops, (void)value, (void)end, false;
}

/* ---- text ---- */

static char log_text[16384];
static size_t log_length;

static void add_line(const char *format, va_list args)
{
	size_t room = sizeof(log_text) - log_length;
	int length = vsnprintf(log_text + log_length, room, format, args);

	if (length < 0 || (size_t)length + 2 > room)
		abort();
	log_length += (size_t)length;
	memcpy(log_text + log_length++, "\n", 2);
}

const char *kernel_log(void) { return log_text; }

bool log_is_off(void) { return false; }

void log_line(enum log_level level, const char *format, ...)
{
	va_list args;

	(void)level;
	va_start(args, format);
	add_line(format, args);
	va_end(args);
}

void record(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add_line(format, args);
	va_end(args);
}

unsigned long log_format(char *out, unsigned long size, const char *format, va_list args)
{
	return (unsigned long)vsnprintf(out, size, format, args);
}

unsigned long format_text(char *out, unsigned long size, const char *format, ...)
{
	unsigned long length;
	va_list args;

	va_start(args, format);
	length = log_format(out, size, format, args);
	va_end(args);
	return length;
}

const char *json_string(char *out, size_t size, const char *text)
{
	snprintf(out, size, "%s", text);
	return out;
}

/* ---- start ---- */

void kernel_start(void)
{
	free(ram);
	ram = aligned_alloc(PAGE_SIZE, (size_t)PAGES * PAGE_SIZE);
	memset(taken, 0, sizeof(taken));
	memset(lines, 0, sizeof(lines));
	marked = deferred = NULL;
	marked_tail = &marked;
	pollers = NULL;
	timers = NULL;
	log_length = 0;
}
