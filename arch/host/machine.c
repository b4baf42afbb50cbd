/*
 * The CPU, its clock, RAM, the console and the end of the machine.
 *
 * The interrupt mask is a depth, so that a save without its restore, or one out of order, is found where it happens. `armed_ns`
 * is the clock's one deadline: its interrupt does nothing but end a cpu_idle().
 */
#include <arch/barrier.h>
#include <arch/clock.h>
#include <arch/cpu.h>
#include <arch/platform.h>

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <base/boot_info.h>
#include <base/event.h>
#include <base/page.h>
#include <base/poison.h>

#include "local.h"

#define NEVER UINT64_MAX
#define STUCK_NS UINT64_C(20000000000)

const char arch_name[] = "host";

bool (*host_idle_hook)(void);
void (*host_time_hook)(void);
void (*host_barrier_hook)(enum host_barrier barrier);
bool host_threads;
uint64_t host_clock_step;
int host_end_status;
char host_panic_text[512];

static struct boot_info boot;
static pthread_t cpu_thread;
static unsigned long irq_depth;
static bool in_hook;
static uint64_t idle_count;

static bool clock_is_fake;
static uint64_t fake_ns, start_ns, armed_ns = NEVER;

static pthread_mutex_t wake_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake;

static bool capturing;
static char *captured;
static size_t captured_length;
static char input[4096];
static size_t input_first, input_end;
static struct event *input_event;

static jmp_buf *end_target;

/* ---- time ---- */

static uint64_t real_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t current_ns(void) { return clock_is_fake ? fake_ns : real_ns() - start_ns; }

static void take_interrupts(void)
{
	irq_depth = 1;
	host_irq_take();
	irq_depth = 0;
}

/* A point in the program where some time has gone by: with interrupts unmasked, those that are due come here. */
static void pass_time(void)
{
	fake_ns += host_clock_step;
	if (host_time_hook && !in_hook) {
		in_hook = true;
		host_time_hook();
		in_hook = false;
	}
	if (irq_depth)
		return;
	if (armed_ns != NEVER && current_ns() >= armed_ns)
		armed_ns = NEVER;
	if (atomic_load(&host_irq_pending))
		take_interrupts();
}

uint64_t clock_ns(void)
{
	pass_time();
	return current_ns();
}

uint64_t clock_ticks(void) { return clock_ns(); }

uint64_t clock_hz(void) { return 1000000000; }

void clock_arm(uint64_t deadline_ns) { armed_ns = deadline_ns; }

void host_clock_set(uint64_t ns)
{
	clock_is_fake = true;
	fake_ns = ns;
}

void host_clock_advance(uint64_t ns) { fake_ns += ns; }

/* ---- the CPU ---- */

[[gnu::constructor]] static void init(void)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&wake, &attributes);
	cpu_thread = pthread_self();
	start_ns = real_ns();
	loop_init();
}

void host_irq_raised(void)
{
	atomic_store(&host_irq_pending, true);
	if (!pthread_equal(pthread_self(), cpu_thread)) {
		pthread_mutex_lock(&wake_lock);
		pthread_cond_signal(&wake);
		pthread_mutex_unlock(&wake_lock);
	} else if (irq_depth == 0) {
		take_interrupts();
	}
}

unsigned long cpu_irq_save(void)
{
	if (!pthread_equal(pthread_self(), cpu_thread))
		host_fail("cpu_irq_save() on a thread that is not the CPU: devices raise interrupts by host_irq_*()");
	pass_time();
	return irq_depth++;
}

void cpu_irq_restore(unsigned long state)
{
	if (irq_depth != state + 1)
		host_fail("cpu_irq_restore() out of order: %lu at depth %lu", state, irq_depth);
	irq_depth = state;
	pass_time();
}

static bool run_hook(void)
{
	bool acted;

	if (!host_idle_hook || in_hook)
		return false;
	in_hook = true;
	acted = host_idle_hook();
	in_hook = false;
	return acted;
}

void cpu_relax(void)
{
	run_hook();
	if (host_threads)
		sched_yield();
	if (clock_is_fake)
		fake_ns += 1000;
	pass_time();
}

/* Until an interrupt is pending, or real time has reached `until_ns`. */
static void wait_until(uint64_t until_ns)
{
	uint64_t real = until_ns + start_ns;
	struct timespec at = {.tv_sec = (time_t)(real / 1000000000), .tv_nsec = (long)(real % 1000000000)};

	pthread_mutex_lock(&wake_lock);
	while (!atomic_load(&host_irq_pending) && pthread_cond_timedwait(&wake, &wake_lock, &at) == 0)
		;
	pthread_mutex_unlock(&wake_lock);
}

static void sleep_until_interrupt(void)
{
	if (atomic_load(&host_irq_pending) || run_hook() || atomic_load(&host_irq_pending))
		return;
	if (clock_is_fake && armed_ns != NEVER) {
		if (fake_ns < armed_ns)
			fake_ns = armed_ns;
	} else if (armed_ns != NEVER) {
		wait_until(armed_ns);
	} else if (host_threads && !clock_is_fake) {
		uint64_t limit_ns = current_ns() + STUCK_NS;

		wait_until(limit_ns);
		if (!atomic_load(&host_irq_pending))
			host_fail("the CPU slept for 20 s and nothing came");
	} else {
		host_fail("the CPU would sleep for ever");
	}
	if (armed_ns != NEVER && current_ns() >= armed_ns)
		armed_ns = NEVER;
}

void cpu_idle(void)
{
	unsigned long depth = irq_depth;

	if (!depth)
		host_fail("cpu_idle() with interrupts unmasked");
	idle_count++;
	sleep_until_interrupt();
	if (atomic_load(&host_irq_pending))
		take_interrupts();
	irq_depth = depth;
}

uint64_t host_idle_count(void) { return idle_count; }

/* ---- RAM ---- */

bool host_is_ram(uint64_t phys, uint64_t size)
{
	const struct memory_range *ram = &boot.memory[0];

	return phys >= ram->base && phys - ram->base <= ram->size && size <= ram->size - (phys - ram->base);
}

bool host_overlaps_ram(uint64_t phys, uint64_t size)
{
	const struct memory_range *ram = &boot.memory[0];

	return phys < ram->base + ram->size && ram->base < phys + size;
}

void arch_init_memory(struct boot_info *info) { (void)info; }

void arch_init(const struct boot_info *info) { (void)info; }

void arch_init_late(void) {}

/* The image is not in the arena. */
void arch_image_range(uint64_t *start, uint64_t *end) { *start = *end = 0; }

const struct boot_info *host_boot(size_t ram_bytes)
{
	struct memory_range *ram = &boot.memory[0];

	if (ram->size) {
		memory_unpoison((void *)(uintptr_t)ram->base, ram->size);
		munmap((void *)(uintptr_t)ram->base, ram->size);
	}

	/* Low, where there is room: a legacy device names a queue by 32 bits of page number, and the sanitizers leave this part free. */
	void *arena = mmap((void *)(uintptr_t)0x10000000, ram_bytes, PROT_READ | PROT_WRITE,
	                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (arena == MAP_FAILED)
		host_fail("no arena of %zu bytes", ram_bytes);
	boot = (struct boot_info){.protocol = "host", .cmdline = "", .memory_count = 1};
	*ram = (struct memory_range){.base = (uintptr_t)arena, .size = ram_bytes, .kind = MEMORY_RAM};

	host_io_reset();
	host_irq_reset();
	cpu_thread = pthread_self();
	irq_depth = 0;
	host_idle_hook = NULL;
	host_time_hook = NULL;
	host_barrier_hook = NULL;
	host_threads = false;
	idle_count = 0;
	clock_is_fake = false;
	host_clock_step = 0;
	start_ns = real_ns();
	armed_ns = NEVER;
	host_console_capture(false);
	input_first = input_end = 0;
	input_event = NULL;
	loop_init();
	page_init(&boot, 0, 0);
	return &boot;
}

/* ---- console ---- */

void host_console_capture(bool on)
{
	free(captured);
	captured = NULL;
	captured_length = 0;
	capturing = on;
}

const char *host_console_text(void) { return captured ? captured : ""; }

void arch_console_write(const char *text, size_t length)
{
	if (!capturing) {
		fwrite(text, 1, length, stdout);
		return;
	}
	captured = realloc(captured, captured_length + length + 1);
	if (!captured)
		host_fail("no memory for the console");
	memcpy(captured + captured_length, text, length);
	captured_length += length;
	captured[captured_length] = '\0';
}

void host_console_input(const char *bytes, size_t length)
{
	if (length > sizeof(input) - input_end)
		host_fail("more than %zu bytes of console input", sizeof(input));
	memcpy(input + input_end, bytes, length);
	input_end += length;
	if (input_event)
		event_mark(input_event);
}

int arch_console_read(void) { return input_first < input_end ? (unsigned char)input[input_first++] : -1; }

void arch_console_attach(struct event *event)
{
	input_event = event;
	if (input_first < input_end)
		event_mark(event);
}

/* ---- the end ---- */

enum host_end host_run(void (*function)(void))
{
	jmp_buf here, *outer = end_target;
	unsigned long depth = irq_depth;
	enum host_end end = HOST_RETURNED;
	int code = setjmp(here);

	if (code == 0) {
		end_target = &here;
		function();
	} else {
		end = (enum host_end)code;
		irq_depth = depth;
	}
	end_target = outer;
	return end;
}

void arch_end(int status)
{
	host_end_status = status;
	if (!end_target)
		exit(status ? EXIT_FAILURE : EXIT_SUCCESS);
	longjmp(*end_target, HOST_ENDED);
}

void panic(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(host_panic_text, sizeof(host_panic_text), format, args);
	va_end(args);
	if (!end_target) {
		fprintf(stderr, "panic: %s\n", host_panic_text);
		abort();
	}
	longjmp(*end_target, HOST_PANICKED);
}

void host_fail(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	va_start(args, format);
	fputs("host: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	abort();
}
