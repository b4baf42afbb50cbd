/*
 * fuzz_split and fuzz_packed are one target with two engines.
 */
#ifndef RING_H
#define RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void ring_run(const uint8_t *data, size_t size, bool packed);
void ring_seeds(bool packed);

#endif
