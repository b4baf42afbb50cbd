/*
 * What the files of arch/x86_64 know of each other.
 */
#ifndef X86_64_LOCAL_H
#define X86_64_LOCAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <base/boot_info.h>

/* linker/x86_64.ld: the image's bounds, page-aligned */
extern char image_start[], image_text_end[], image_rodata_end[], image_end[];

/* boot/long_mode.S: lowest byte (a guard page) and end of the stack that the boot CPU runs on; its TSC at entry */
extern char boot_stack[], boot_stack_top[];
extern uint64_t boot_ticks;

/* A stack's lowest page is not mapped: running over its end is a fault, not a corruption. */
#define STACK_GUARD 4096u
struct stack {
	const char *low, *end; /* guard included */
};

/* trap.S pushes this. */
struct trap_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};

/* mmu.c */
void mmu_guard(const void *page); /* unmap one page */

/* descriptors.c */
void descriptors_init(void);                    /* GDT, TSS, IDT */
const struct stack *stack_of(uint64_t address); /* NULL: in none, guards included */
void stack_guards(void);                        /* unmap the guard pages */

/* panic.c */
[[gnu::noreturn]] void panic_trap(const struct trap_frame *frame);

/* symbols.c: the function that holds `address` and its start; NULL: unknown */
const char *symbol_find(uint64_t address, uint64_t *start);

/* lapic.c */
void lapic_init(void);
void lapic_end_of_interrupt(void);
uint32_t lapic_id(void);
bool lapic_is_x2apic(void);
void lapic_timer_setup(uint32_t lvt);   /* vector, mode and mask */
void lapic_timer_start(uint32_t count); /* 0 stops */
uint32_t lapic_timer_current(void);

/* ioapic.c: lines by GSI */
void ioapic_init(void);
bool ioapic_has(unsigned gsi);
void ioapic_route(unsigned gsi, unsigned vector, bool level, bool low); /* masked at first */
void ioapic_mask(unsigned gsi, bool masked);

/* irq.c */
void irq_dispatch(unsigned vector);

/* madt.c: what the MADT says, or the defaults of a PC without one */
struct madt_ioapic {
	uint32_t address;
	unsigned gsi_base;
};
#define MADT_IOAPIC_MAX 8
struct madt_line {
	unsigned gsi;
	bool level, low;
};
extern struct madt_info {
	unsigned ioapic_count;
	struct madt_ioapic ioapic[MADT_IOAPIC_MAX];
	struct madt_line isa[16];
} madt;
void madt_init(void);

/* fadt.c: registers of the FADT */
struct fadt_register {
	unsigned width;        /* bytes: 1, 2 or 4; 0: there is no such register */
	volatile void *memory; /* NULL: a port */
	uint16_t port;
};
extern struct fadt_info {
	struct fadt_register pm_timer, pm1a_control, pm1b_control, reset, sleep_control;
	uint8_t reset_value;
} fadt;
void fadt_init(void);
uint32_t fadt_read(const struct fadt_register *reg);
void fadt_write(const struct fadt_register *reg, uint32_t value); /* nothing where it is not present */

/* clock.c */
void clock_init(void);
void clock_refine(void); /* once the boot has taken its time */
void clock_interrupt(void);

/* rates.c: how fast the TSC and the local APIC's timer count */
struct rates {
	const char *source;
	uint64_t tsc_hz, lapic_hz; /* lapic_hz 0: not known, not wanted */
	unsigned error_ppm;        /* of what was measured */
};
struct rates rates_find(bool want_lapic);
bool rates_refine(struct rates *rates); /* once, at any later time; false: as they were */

/* reference.c: counters of known rate that a PC may have */
struct reference {
	const char *name;
	uint32_t hz, mask;      /* counts per second; the counter's bits */
	bool (*start)(void);    /* false: not there */
	uint32_t (*read)(void); /* counts up */
	void (*stop)(void);
};
extern const struct reference references[];
extern const unsigned reference_count;

/* serial.c: wait until the last byte is sent, within bounds */
void serial_drain(void);

/* end.c: looks up what arch_end() will need */
void end_init(void);

#endif
