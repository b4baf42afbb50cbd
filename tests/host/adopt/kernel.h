/* The stranger's kernel: what its parts and its test know of each other. */
#ifndef KERNEL_H
#define KERNEL_H

#include <stdbool.h>
#include <stdint.h>

/* ---- kernel.c ---- */
void kernel_start(void);                         /* fresh RAM, an empty loop */
void kernel_interrupt(unsigned line);            /* from a device */
void *kernel_phys(uint64_t phys, uint64_t size); /* RAM there, NULL: there is none */
unsigned kernel_pages_used(void);
const char *kernel_log(void); /* all lines since the start */

/* ---- devices.c: a disk and a source of entropy, each a window of virtio-mmio registers ---- */
#define DEVICE_BASE UINT64_C(0x10000000)
#define DEVICE_SIZE 0x200u
enum { DEVICE_DISK, DEVICE_ENTROPY, DEVICES };
#define DEVICE_LINE 5u /* of the first; the next ones follow */
#define DISK_SECTORS 64u

volatile void *device_window(uint64_t phys, uint64_t size); /* where kernel_map finds the registers; NULL: nothing there */
uint8_t *device_disk(void);
uint8_t device_entropy_byte(uint32_t index); /* what the source gives, from its first byte on */
unsigned device_faults(void);                /* addresses that the driver gave and that are no RAM */

#endif
