/*
 * The host: a machine in a Linux process, for tests. It has a CPU (the thread that called host_boot()), more if the test starts them
 * (host_cpus_start()), an arena of RAM whose physical addresses are its pointers, and registers, ports, interrupt lines and messages that a software device provides.
 *
 * Interrupts. host_irq_*() may be called from any thread. On the CPU's own thread with interrupts unmasked they are taken at
 * once; otherwise when the CPU unmasks or idles. So event_mark() always runs on the CPU's thread, as on a machine.
 *
 * Time is CLOCK_MONOTONIC, or fake after host_clock_set(): then it moves only by cpu_relax() (1 us each), by an idle CPU (to the
 * armed deadline) and by the test.
 *
 * A device without a thread of its own acts in callbacks of registers, and in `host_idle_hook` while the CPU would sleep or spin.
 */
#ifndef HOST_H
#define HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct boot_info;

/* ---- start and end ---- */

/* A fresh machine: `ram_bytes` of RAM behind page_alloc(), an empty event loop, the calling thread as its CPU, nothing registered,
 * real time, no capture, no hooks. Frees the former one. The boot_info that describes it is valid until the next host_boot(). */
const struct boot_info *host_boot(size_t ram_bytes);

/* `count` CPUs in all, each a thread that runs its event loop; real time only. host_cpus_stop() ends them and comes before the next
 * host_boot(). Interrupts of a message go to its event's CPU, those of lines to the first. */
#define HOST_CPUS 16
void host_cpus_start(unsigned count);
void host_cpus_stop(void);

enum host_end { HOST_RETURNED, HOST_ENDED, HOST_PANICKED };

/* Run a function that may end in arch_end() or panic(). When that came from inside an event's callback, host_boot() has to follow.
 * Outside of host_run(), arch_end() exits and panic() aborts. */
enum host_end host_run(void (*function)(void));
extern int host_end_status;       /* of the last HOST_ENDED */
extern char host_panic_text[512]; /* of the last HOST_PANICKED */

/* ---- console ---- */
void host_console_capture(bool on);  /* keep output instead of writing it to stdout; empties what was kept */
const char *host_console_text(void); /* what was kept since, NUL-terminated */
void host_console_input(const char *bytes, size_t length); /* what arch_console_read() will give; marks the attached event */

/* ---- time ---- */
void host_clock_set(uint64_t ns);
void host_clock_advance(uint64_t ns);

/* Fake time that every look at the clock, mask and unmask of interrupts takes. The clock's interrupt is taken when it is due and
 * interrupts are unmasked, and is gone then: a loop that sleeps on it afterwards sleeps for ever. 0 at boot. */
extern uint64_t host_clock_step;
extern void (*host_time_hook)(void); /* called at each of these points: a device that acts at any moment */

/* ---- idle ---- */

/* Called where the CPU would sleep or spins (cpu_idle(), cpu_relax()): the device does what it has to do. True: it did something,
 * look again. A CPU that sleeps with no hook that acts, no timer armed and no threads would sleep for ever: the process aborts. */
extern bool (*host_idle_hook)(void);

/* Devices have threads: an idle CPU waits for them. One that waits for 20 s without a timer aborts. Not with fake time. */
extern bool host_threads;

uint64_t host_idle_count(void); /* how often cpu_idle() was called */

/* ---- registers and ports ---- */
struct host_region {
	uint64_t base, size; /* bytes; ports count as bytes */
	uint64_t (*read)(void *context, uint64_t offset, unsigned width);
	void (*write)(void *context, uint64_t offset, unsigned width, uint64_t value);
	void *context;
	struct host_region *next;
};
/* The storage is the caller's, in place until removed. Accesses that no region has read all ones and write nothing; they count. */
void host_mmio_add(struct host_region *region);
void host_mmio_remove(struct host_region *region);
void host_pio_add(struct host_region *region);
void host_pio_remove(struct host_region *region);
uint64_t host_stray_count(void);

/* Called for each access: after a read, before a write. The region is NULL for one that goes nowhere. */
struct host_access {
	uint64_t offset, value; /* in the region */
	unsigned width;
	bool write;
};
extern void (*host_access_hook)(const struct host_region *region, const struct host_access *access);
extern bool host_pio_present; /* true */

/* PCI configuration by ports. NULL: the machine has none. */
void host_pci_ports_set(uint32_t (*read)(void *context, uint16_t bdf, uint16_t offset, unsigned width),
                        void (*write)(void *context, uint16_t bdf, uint16_t offset, unsigned width, uint32_t value),
                        void *context);
/* What arch_pci_window() gives, for functions that no firmware placed. Empty until set. */
void host_pci_window_set(bool ports, uint64_t base, uint64_t end);

/* Let mmu_map_firmware() reach `memory` at `phys` (any address). Beyond these and the arena it gives NULL. */
void host_firmware_add(uint64_t phys, const void *memory, size_t size);

/* Called for every mmu_virt_to_phys(); NULL: identity without a check. */
extern uint64_t (*host_virt_to_phys_hook)(const void *virt);
void host_device_memory(void *memory, uint64_t size); /* what mmu_map_memory() finds there; NULL, 0: nothing */
bool host_is_ram(uint64_t phys, uint64_t size);       /* all of it in the arena */

/* ---- interrupts ---- */
#define HOST_LINES 64
#define HOST_CONTROLLER 0xfec00000u /* of all of them, for device trees: cells are the line, and its trigger as the enum has it */
extern unsigned host_message_limit; /* how many messages irq_attach_message() grants; 0: -ENODEV. 1024 at boot */

bool host_irq_raise_message(uint64_t address, uint32_t data); /* false: nobody is attached (counted as stray) */
void host_irq_set_line(unsigned gsi, bool asserted);
bool host_irq_line_masked(unsigned gsi);
unsigned host_irq_attached(void); /* sources attached now */

#endif
