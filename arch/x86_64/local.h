/*
 * What the files of arch/x86_64 know of each other.
 */
#ifndef X86_64_LOCAL_H
#define X86_64_LOCAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <arch/cpu.h>
#include <base/boot_info.h>

#include "x86.h"

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

/* The stacks of a CPU: what it runs on, and those that the TSS names by IST. */
enum { STACK_MAIN, STACK_DOUBLE_FAULT, STACK_NMI, STACK_INTERRUPT, STACK_COUNT };

struct tss {
	uint32_t reserved0;
	uint64_t rsp[3];
	uint64_t reserved1;
	uint64_t ist[7];
	uint64_t reserved2;
	uint16_t reserved3, io_map;
} __attribute__((packed));
_Static_assert(sizeof(struct tss) == 104, "64-bit TSS");

/* What a CPU has of its own; GS leads to it. */
struct cpu {
	struct cpu *self;
	unsigned index, apic_id;
	uint64_t tsc_offset; /* to the first CPU's TSC */
	const char *entry_stack;
	unsigned state;               /* smp.c's; atomic */
	uint64_t tsc_here, tsc_there; /* its TSC when it came, the first CPU's when it let it go */

	uint64_t armed_ns; /* clock.c: the deadline */
	struct stack stacks[STACK_COUNT];
	uint64_t gdt[5];
	struct tss tss;
	struct irq *sources[VECTOR_LAST + 1 - VECTOR_FIRST]; /* irq.c: by vector, the first of its sources */
};
_Static_assert(offsetof(struct cpu, index) == IMPL_CPU_INDEX && offsetof(struct cpu, tsc_offset) == IMPL_CPU_TSC_OFFSET &&
                       offsetof(struct cpu, armed_ns) == IMPL_CPU_ARMED_NS,
               "<impl/cpu.h>");
_Static_assert(offsetof(struct cpu, apic_id) == CPU_APIC_ID && offsetof(struct cpu, entry_stack) == CPU_ENTRY_STACK &&
                       CPU_MAX == CPU_LIMIT,
               "x86.h");

extern struct cpu boot_cpu;
extern struct cpu *cpus[CPU_MAX];      /* by index: those that run */
extern struct cpu *cpu_slots[CPU_MAX]; /* all that there are memory and stacks for; NULL behind the last one */
static inline struct cpu *this_cpu(void)
{
	struct cpu *cpu;

	__asm__("movq %%gs:0, %0" : "=r"(cpu));
	return cpu;
}

/* smp.c */
void smp_start(void); /* the other CPUs come up while this one goes on */
void smp_join(void);  /* those that came run their loops from here on */
void smp_stop(void);  /* none but this one executes any more: for the end */
bool smp_stopping(void);
[[gnu::noreturn]] void smp_halt(void); /* this one neither */
[[gnu::noreturn]] void smp_main(struct cpu *cpu);

/* smp_entry.S: copied to a page below 1 MiB, whose start then is a CPU's first instruction */
extern char trampoline[], trampoline_end[];
extern char trampoline_gdt[], smp_entry[];
extern const struct trampoline_data {
	uint32_t cr0, cr3, cr4, efer;
	uint16_t gdt_limit;
	uint32_t gdt_base;
	uint32_t entry;
	uint16_t selector;
} __attribute__((packed)) trampoline_data;

/* mmu.c */
void mmu_guard(const void *page); /* unmap one page that nobody has used */
void *mmu_low_page(void);         /* a free page below 1 MiB; NULL: there is none */
bool mmu_make_code(void *page);   /* executable and read-only, for good; false: no memory */

/* descriptors.c */
void descriptors_init(struct cpu *cpu);         /* load this CPU's GDT, TSS, GS, and the IDT */
bool stacks_alloc(struct cpu *cpu);             /* with guards; false: no memory */
const struct stack *stack_of(uint64_t address); /* any CPU's; NULL: in none, guards included */

/* panic.c */
[[gnu::noreturn]] void panic_trap(const struct trap_frame *frame);

/* While there is a fence of <arch/guard.h>, guard_trap(), which does not return when the trap is of the program inside; `name` is the trap's */
extern void (*panic_fence)(const struct trap_frame *frame, const char *name);
void guard_trap(const struct trap_frame *frame, const char *name);

/* symbols.c: the function that holds `address` and its start; NULL: unknown */
const char *symbol_find(uint64_t address, uint64_t *start);

/* lapic.c */
void lapic_init(void);
void lapic_enable(void);                             /* this CPU's; lapic_init() has it done for the first */
void lapic_send(uint32_t apic_id, uint32_t command); /* LAPIC_* or a vector; ordered after all earlier stores. Any context */
#define LAPIC_NMI 0x4400u
#define LAPIC_INIT 0x4500u
#define LAPIC_STARTUP(page) (0x4600u | (page) >> 12)
void lapic_end_of_interrupt(void);
uint32_t lapic_id(void);
bool lapic_is_x2apic(void);
void lapic_timer_setup(uint32_t lvt);   /* vector, mode and mask */
void lapic_timer_start(uint32_t count); /* 0 stops */
uint32_t lapic_timer_current(void);

/* ioapic.c: lines by GSI */
void ioapic_init(void);
int ioapic_first_line(uint32_t address); /* of the one that is there, which is taken in when nobody told of it; -ENOENT: none */
bool ioapic_has(unsigned gsi);
void ioapic_route(unsigned gsi, uint32_t apic_id, unsigned vector, bool level, bool low); /* not masked */
void ioapic_mask(unsigned gsi, bool masked);

/* irq.c */
void irq_dispatch(unsigned vector);

/* madt.c: what the MADT says, or the defaults of a PC without one and the MP table (mptable.c) */
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
	unsigned cpu_count; /* may be more than the table has; the first CPU is among them or not */
	uint32_t apic_ids[CPU_MAX];
} madt;
void madt_init(void);
void madt_add_cpu(uint32_t apic_id); /* a CPU that can be started */
void mptable_early(void);            /* while the first page is mapped */
void mptable_init(void);             /* its CPUs, if there is one */

/* fadt.c: registers of the FADT */
struct fadt_register {
	unsigned width;        /* bytes: 1, 2 or 4; 0: there is no such register */
	volatile void *memory; /* NULL: a port */
	uint16_t port;
};
extern struct fadt_info {
	struct fadt_register pm_timer, pm1a_event, pm1b_event, pm1a_control, pm1b_control, reset, sleep_control;
	uint8_t pm1_event_length;  /* bytes: status, then enable */
	bool power_button;         /* is fixed hardware */
	uint16_t sci, smi_command; /* a line, as ISA has it; a port */
	uint8_t acpi_enable;       /* what to write there */
	uint8_t reset_value;
} fadt;
void fadt_init(void);
uint32_t fadt_read(const struct fadt_register *reg);
void fadt_write(const struct fadt_register *reg, uint32_t value); /* nothing where it is not present */

/* clock.c */
void clock_init(void);
void clock_refine(void);   /* the boot is over: what is found from now on is final */
void clock_init_cpu(void); /* this CPU's timer; the first one's is ready when its rate is known */
void clock_interrupt(void);

/* rates.c: how fast the TSC and the local APIC's timer count. One CPU measures. */
struct rates {
	const char *source;
	uint64_t tsc_hz, lapic_hz; /* lapic_hz 0: not known */
	unsigned error_ppm;        /* of what was measured */
};
#define RATES_ERROR_MAX_PPM 10000      /* worse is not believed */
uint64_t rates_kvm_time(void);         /* kvm-clock's time, ns; 0: it is not offered */
void rates_begin(struct rates *rates); /* what nobody told is to be measured, from now on */
/* What is not known yet. Until then the local APIC's timer is for nothing else. */
void rates_find(struct rates *rates, bool want_lapic);
void rates_refine(struct rates *rates); /* at a later time: what was measured before, once more */
void rates_end(void);
void rates_tell(const struct rates *rates); /* in the log, what was amiss */

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

/* wall.c */
void wall_init(const struct boot_info *boot);

/* serial.c: wait until the last byte is sent, within bounds */
void serial_drain(void);
void serial_unlock(void); /* whoever holds the port was stopped: for the end */

#endif
