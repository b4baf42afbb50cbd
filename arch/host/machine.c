/*
 * The CPUs, their clock, RAM, the console and the end of the machine. Each CPU is a thread; the first is the one that called host_boot().
 *
 * The interrupt mask is a depth, so that a save without its restore, or one out of order, is found where it happens. `armed_ns`
 * is the deadline of the CPU's clock: its interrupt does nothing but end a cpu_idle().
 */
#include <arch/barrier.h>
#include <arch/clock.h>
#include <arch/cpu.h>
#include <arch/mmu.h>
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
static struct host_cpu {
	unsigned index;
	pthread_t thread;
	unsigned long irq_depth;
	uint64_t armed_ns, idle_count;
	pthread_cond_t wake;
	atomic_bool pending; /* something to take */
	bool stop;           /* CPUs but the first: no more turns */
} cpus[HOST_CPUS];
static unsigned cpu_total = 1;
static _Thread_local struct host_cpu *here; /* NULL on threads that are none */
static bool in_hook;

static bool clock_is_fake;
static uint64_t fake_ns, start_ns;

static pthread_mutex_t wake_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t console_lock = PTHREAD_MUTEX_INITIALIZER;

static bool capturing;
static char *captured;
static size_t captured_length;
static char input[4096];
static size_t input_first, input_end;
static struct event *input_event;

static _Thread_local jmp_buf *end_target;

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
	here->irq_depth = 1;
	atomic_store(&here->pending, false);
	host_irq_take(here->index);
	here->irq_depth = 0;
}

/* A point in the program where some time has gone by: with interrupts unmasked, those that are due come here. */
static void pass_time(void)
{
	if (host_clock_step)
		fake_ns += host_clock_step;
	if (host_time_hook && !in_hook) {
		in_hook = true;
		host_time_hook();
		in_hook = false;
	}
	if (!here || here->irq_depth)
		return;
	if (here->armed_ns != NEVER && current_ns() >= here->armed_ns)
		here->armed_ns = NEVER;
	if (atomic_load(&here->pending))
		take_interrupts();
}

uint64_t clock_ns(void)
{
	pass_time();
	return current_ns();
}

uint64_t clock_ticks(void) { return clock_ns(); }

uint64_t clock_hz(void) { return 1000000000; }

void clock_arm(uint64_t deadline_ns) { here->armed_ns = deadline_ns; }

uint64_t clock_armed(void) { return here->armed_ns; }

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
	for (unsigned i = 0; i < HOST_CPUS; i++) {
		cpus[i].index = i;
		cpus[i].armed_ns = NEVER;
		pthread_cond_init(&cpus[i].wake, &attributes);
	}
	here = &cpus[0];
	start_ns = real_ns();
	loop_init();
}

unsigned cpu_index(void) { return here ? here->index : 0; }

unsigned cpu_count(void) { return cpu_total; }

void cpu_wake(unsigned cpu)
{
	atomic_store(&cpus[cpu].pending, true);
	pthread_mutex_lock(&wake_lock);
	pthread_cond_signal(&cpus[cpu].wake);
	pthread_mutex_unlock(&wake_lock);
}

void host_irq_raised(unsigned cpu)
{
	if (here != &cpus[cpu]) {
		cpu_wake(cpu);
		return;
	}
	atomic_store(&here->pending, true);
	if (here->irq_depth == 0)
		take_interrupts();
}

unsigned long cpu_irq_save(void)
{
	if (!here)
		host_fail("cpu_irq_save() on a thread that is not the CPU: devices raise interrupts by host_irq_*()");
	pass_time();
	return here->irq_depth++;
}

void cpu_irq_restore(unsigned long state)
{
	if (here->irq_depth != state + 1)
		host_fail("cpu_irq_restore() out of order: %lu at depth %lu", state, here->irq_depth);
	here->irq_depth = state;
	pass_time();
}

static bool run_hook(void)
{
	bool acted;

	if (here != &cpus[0] || !host_idle_hook || in_hook)
		return false;
	in_hook = true;
	acted = host_idle_hook();
	in_hook = false;
	return acted;
}

void cpu_relax(void)
{
	run_hook();
	if (host_threads || cpu_total > 1)
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
	while (!atomic_load(&here->pending) && pthread_cond_timedwait(&here->wake, &wake_lock, &at) == 0)
		;
	pthread_mutex_unlock(&wake_lock);
}

static void sleep_until_interrupt(void)
{
	if (atomic_load(&here->pending) || run_hook() || atomic_load(&here->pending))
		return;
	if (clock_is_fake && here->armed_ns != NEVER) {
		if (fake_ns < here->armed_ns)
			fake_ns = here->armed_ns;
	} else if (here->armed_ns != NEVER) {
		wait_until(here->armed_ns);
	} else if ((host_threads || cpu_total > 1) && !clock_is_fake) {
		uint64_t limit_ns = current_ns() + STUCK_NS;

		wait_until(limit_ns);
		if (!atomic_load(&here->pending) && here == &cpus[0])
			host_fail("the CPU slept for 20 s and nothing came");
	} else {
		host_fail("the CPU would sleep for ever");
	}
	if (here->armed_ns != NEVER && current_ns() >= here->armed_ns)
		here->armed_ns = NEVER;
}

void cpu_idle(void)
{
	unsigned long depth = here->irq_depth;

	if (!depth)
		host_fail("cpu_idle() with interrupts unmasked");
	here->idle_count++;
	sleep_until_interrupt();
	if (atomic_load(&here->pending))
		take_interrupts();
	here->irq_depth = depth;
}

uint64_t host_idle_count(void) { return here->idle_count; }

static void stop_here(void *arg)
{
	(void)arg;
	here->stop = true;
}

static void *run_cpu(void *cpu)
{
	here = cpu;
	while (!here->stop)
		loop_turn(true, LOOP_FOREVER);
	return NULL;
}

void host_cpus_start(unsigned count)
{
	if (cpu_total != 1 || count < 1 || count > HOST_CPUS || clock_is_fake)
		host_fail("%u CPUs cannot be started here", count);
	cpu_total = count;
	for (unsigned i = 1; i < count; i++) {
		cpus[i].irq_depth = 0;
		cpus[i].idle_count = 0;
		cpus[i].armed_ns = NEVER;
		cpus[i].pending = false;
		cpus[i].stop = false;
		if (pthread_create(&cpus[i].thread, NULL, run_cpu, &cpus[i]))
			host_fail("no thread for CPU %u", i);
	}
}

void host_cpus_stop(void)
{
	for (unsigned i = 1; i < cpu_total; i++) {
		cpu_run(i, stop_here, NULL);
		pthread_join(cpus[i].thread, NULL);
	}
	cpu_total = 1;
}

/* ---- RAM ---- */

bool host_is_ram(uint64_t phys, uint64_t size)
{
	const struct memory_range *ram = &boot.memory[0];

	return (phys >= ram->base && phys - ram->base <= ram->size && size <= ram->size - (phys - ram->base)) ||
	       mmu_map_memory(phys, size);
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

	if (cpu_total != 1)
		host_fail("host_boot() while other CPUs run");
	host_io_reset();
	host_irq_reset();
	here = &cpus[0];
	here->irq_depth = 0;
	here->pending = false;
	host_idle_hook = NULL;
	host_time_hook = NULL;
	host_barrier_hook = NULL;
	host_threads = false;
	here->idle_count = 0;
	clock_is_fake = false;
	host_clock_step = 0;
	start_ns = real_ns();
	here->armed_ns = NEVER;
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

static void capture(const char *text, size_t length)
{
	captured = realloc(captured, captured_length + length + 1);
	if (!captured)
		host_fail("no memory for the console");
	memcpy(captured + captured_length, text, length);
	captured_length += length;
	captured[captured_length] = '\0';
}

void arch_console_write(const char *text, size_t length)
{
	pthread_mutex_lock(&console_lock);
	if (capturing)
		capture(text, length);
	else
		fwrite(text, 1, length, stdout);
	pthread_mutex_unlock(&console_lock);
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
	jmp_buf place, *outer = end_target;
	unsigned long depth = here->irq_depth;
	enum host_end end = HOST_RETURNED;
	int code = setjmp(place);

	if (code == 0) {
		end_target = &place;
		function();
	} else {
		end = (enum host_end)code;
		here->irq_depth = depth;
	}
	end_target = outer;
	return end;
}

bool arch_power_attach(struct event *event) { return (void)event, false; }

bool arch_power_pressed(void) { return false; }

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
