/*
 * The files of boot/ on the host: where they would go on as the kernel, what they found is kept. What loaders leave in memory has to
 * be below 4 GiB, where boot_arena() is.
 */
#ifndef BOOT_STUB_H
#define BOOT_STUB_H

#include <stddef.h>
#include <stdint.h>

#define kernel_main boot_done
#include <base/boot_info.h>
#include <host.h>

#define BOOT_ARENA_BYTES ((size_t)1 << 20)

/* Zeros, the same memory each time; its end is the end of what can be read. */
uint8_t *boot_arena(void);

/* Run a protocol's C function. HOST_ENDED: it came to the kernel, with boot_found; HOST_PANICKED: host_panic_text says why. */
enum host_end boot_run(void (*start)(const void *argument), const void *argument);
extern struct boot_info boot_found;

/* The protocols' functions, as boot/ has them. */
void pvh_start(const void *start);
void linux64_start(const void *params);
void multiboot1_start(const void *info);
void multiboot2_start(const void *info);
void efi_start(const void *handoff);

#endif
