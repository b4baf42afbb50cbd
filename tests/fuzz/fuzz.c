/*
 * The targets' common ground. See fuzz.h.
 */
#include "fuzz.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arch/clock.h>
#include <base/event.h>
#include <base/log.h>
#include <base/page.h>
#include <host.h>
#include <virtio/virtio.h>

#include "swdev.h"

#define TURNS_MAX 10000u
#define LOOKS_MAX 200000u

void (*fuzz_seed_sink)(const char *name, const uint8_t *data, size_t size);

static uint8_t seed[FUZZ_INPUT_MAX];
static size_t seed_length;
static uint64_t free_pages;
static bool (*device_looks)(void);
static unsigned looks;

/* ---- the input ---- */

void fuzz_bytes(struct fuzz_input *in, void *to, size_t count)
{
	size_t there = MIN(count, in->left);

	memset(to, 0, count);
	if (!there)
		return;
	memcpy(to, in->at, there);
	in->at += there;
	in->left -= there;
}

uint8_t fuzz_u8(struct fuzz_input *in)
{
	uint8_t value;

	fuzz_bytes(in, &value, sizeof(value));
	return value;
}

uint16_t fuzz_u16(struct fuzz_input *in)
{
	uint16_t value;

	fuzz_bytes(in, &value, sizeof(value));
	return value;
}

uint32_t fuzz_u32(struct fuzz_input *in)
{
	uint32_t value;

	fuzz_bytes(in, &value, sizeof(value));
	return value;
}

uint64_t fuzz_u64(struct fuzz_input *in)
{
	uint64_t value;

	fuzz_bytes(in, &value, sizeof(value));
	return value;
}

uint32_t fuzz_below(struct fuzz_input *in, uint32_t limit)
{
	return (limit <= 256 ? fuzz_u8(in) : limit <= 65536 ? fuzz_u16(in) : fuzz_u32(in)) % limit;
}

/* ---- seeds ---- */

void fuzz_put_all(const void *bytes, size_t count)
{
	fuzz_check(count <= sizeof(seed) - seed_length, "a seed of more than %zu bytes", sizeof(seed));
	memcpy(seed + seed_length, bytes, count);
	seed_length += count;
}

void fuzz_put(uint64_t value, unsigned bytes) { fuzz_put_all(&value, bytes); }

void fuzz_seed(const char *name)
{
	size_t length = seed_length;

	seed_length = 0;
	fuzz_seed_sink(name, seed, length);
}

/* ---- oracles ---- */

void fuzz_fail(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fputs(host_console_text(), stderr);
	fputs("fuzz: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	abort();
}

/* ---- the machine ---- */

/* Time flies where the driver only waits, and a device that has it wait for ever has had its turn soon. */
static bool look(void)
{
	static uint64_t idles;

	host_clock_advance(host_idle_count() != idles ? 20000 : 1000000);
	idles = host_idle_count();
	fuzz_check(++looks < LOOKS_MAX, "there is no end to it");
	return device_looks();
}

void fuzz_machine(size_t ram_bytes)
{
	fuzz_check(!virtio_device_first(), "a device is left from the input before");
	swdev_machine(ram_bytes);
	looks = 0;
	device_looks = host_idle_hook;
	host_idle_hook = look;
	free_pages = page_count_free();
}

unsigned fuzz_log_lines(void)
{
	unsigned lines = 0;

	for (const char *text = host_console_text(); *text; text++)
		lines += *text == '[' && (text == host_console_text() || text[-1] == '\n');
	return lines;
}

void fuzz_machine_end(bool leaks, unsigned lines)
{
	fuzz_check(!virtio_device_first(), "a device is left");
	fuzz_check(!host_irq_attached(), "%u interrupts are left", host_irq_attached());
	fuzz_check(leaks || page_count_free() == free_pages, "%llu pages are free, %llu were at the start",
	           (unsigned long long)page_count_free(), (unsigned long long)free_pages);
	fuzz_check(fuzz_log_lines() <= lines, "%u log lines, %u are bearable", fuzz_log_lines(), lines);
	host_console_capture(true);
}

void fuzz_loop(uint64_t ns)
{
	uint64_t end = clock_ns() + ns;

	for (unsigned i = 0; i < TURNS_MAX && clock_ns() < end; i++)
		loop_turn(true, end);
}
