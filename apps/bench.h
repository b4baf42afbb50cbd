/*
 * What the benches share: parameters, the figures of a run, and the record.
 */
#ifndef APPS_BENCH_H
#define APPS_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include <base/event.h>
#include <class/block.h>

#define WARM_UP_MAX 2000u

/* What is measured, by differences. */
struct sample {
	uint64_t ns, ticks, kicks, irqs;
};
struct sample take_sample(const char *device);

/* `parameters`: more members of the JSON object, each with a comma behind it. */
void bench_report(const char *name, const char *device, const char *parameters, bool poll, uint64_t ops, uint64_t errors,
                  const struct sample *start, const struct sample *end);

/* A parameter within bounds, or one of two words; false and a line otherwise. */
bool bench_parameter(const char *key, uint64_t fallback, uint64_t least, uint64_t most, uint64_t *value);
bool bench_choice(const char *key, const char *usual, const char *other, bool *is_other);

/* Ends a run in which nothing happens any more: looks now and then whether `left` has changed. */
extern struct watchdog {
	struct timer timer;
	const uint64_t *left; /* what the run counts down */
	uint64_t seen;
	bool stuck;
} watchdog;
void watchdog_start(const uint64_t *left);
bool watchdog_stop(const char *device); /* false, and a line, if the run was stuck */

/* bench_cpus.c */
struct block_plan {
	uint64_t bytes, depth, ops, cpus;
	bool poll;
};
int bench_block_cpus(struct block_device *device, enum block_op op, const char *name, const struct block_plan *plan);

int bench_net_tx(void);
int bench_net_rx(void);
int bench_net_echo(void);

#endif
