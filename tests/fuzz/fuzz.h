/*
 * What all fuzz targets share: how they are registered, how they read their input, and the machine that each input gets.
 *
 * A target is one file fuzz_NAME.c with one FUZZ_TARGET. `make fuzz` links it with libFuzzer; `make test-host` links all of them into
 * test_fuzz_regress, which runs every seed and every input of tests/fuzz/regress. An input is a program of a few bytes per
 * step; an input that ends early reads as zeros, and nothing is kept from one input to the next.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <base/util.h>

#define FUZZ_INPUT_MAX 4096u

struct fuzz_target {
	const char *name;
	void (*run)(const uint8_t *data, size_t size);
	void (*seeds)(void); /* gives some inputs to fuzz_seed() */
};
LINKER_SET(fuzz_targets, const struct fuzz_target);
#define FUZZ_TARGET(id)                                                                                                          \
	static const struct fuzz_target id##_target = {.name = #id, .run = run, .seeds = seeds};                                 \
	LINKER_ENTRY(fuzz_targets, id##_target)

/* ---- the input ---- */
struct fuzz_input {
	const uint8_t *at;
	size_t left;
};
uint8_t fuzz_u8(struct fuzz_input *in);
uint16_t fuzz_u16(struct fuzz_input *in);
uint32_t fuzz_u32(struct fuzz_input *in);
uint64_t fuzz_u64(struct fuzz_input *in);
void fuzz_bytes(struct fuzz_input *in, void *to, size_t count);
/* A number below `limit`: one byte of input up to 256, else two or four. */
uint32_t fuzz_below(struct fuzz_input *in, uint32_t limit);

/* ---- seeds: written with the counterparts of the readers, then given away ---- */
void fuzz_put(uint64_t value, unsigned bytes);
#define fuzz_put8(...) fuzz_put_all((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))
void fuzz_put_all(const void *bytes, size_t count);
void fuzz_seed(const char *name); /* what was put since the last one */
extern void (*fuzz_seed_sink)(const char *name, const uint8_t *data, size_t size);

/* ---- oracles ---- */
/* Ends the process, by abort(), with the message, the log of the machine, and what is known of the input. */
[[gnu::noreturn, gnu::format(printf, 1, 2)]] void fuzz_fail(const char *format, ...);
#define fuzz_check(condition, ...)                                                                                               \
	do {                                                                                                                     \
		if (unlikely(!(condition)))                                                                                      \
			fuzz_fail(__VA_ARGS__);                                                                                  \
	} while (0)

/* ---- the machine ---- */
/* Fresh, with fake time and captured console. fuzz_machine_end() fails for a device, an interrupt or, unless `leaks`, a page that is left, and
 * for a log of more than `lines` lines. */
void fuzz_machine(size_t ram_bytes);
void fuzz_machine_end(bool leaks, unsigned lines);
unsigned fuzz_log_lines(void);

/* Let the loop run for `ns` of fake time, and no more than 10,000 turns. */
void fuzz_loop(uint64_t ns);

#endif
