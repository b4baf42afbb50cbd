/*
 * Instructions, registers and descriptors of the CPU, named as in the manuals.
 */
#ifndef X86_64_X86_H
#define X86_64_X86_H

/* These are for assembly, too. */
#define SELECTOR_CODE 0x08
#define SELECTOR_DATA 0x10
#define SELECTOR_TSS 0x18
#define SELECTOR_CODE32 0x18 /* in boot's descriptors, which have no TSS */
#define BOOT_GDT_BYTES 32

/* Offsets in struct cpu (local.h). */
#define CPU_APIC_ID 12
#define CPU_ENTRY_STACK 24
#define CPU_LIMIT 64 /* CPU_MAX */

#define CR0_PE 0x1
#define CR0_MP 0x2
#define CR0_NE 0x20
#define CR0_WP 0x10000
#define CR0_PG 0x80000000
#define CR4_PAE 0x20
#define CR4_OSFXSR 0x200
#define CR4_LA57 0x1000
#define CR4_OSXMMEXCPT 0x400

#define MSR_APIC_BASE 0x1b
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_EFER 0xc0000080
#define MSR_GS_BASE 0xc0000101
#define EFER_LME 0x100
#define EFER_LMA 0x400
#define EFER_NXE 0x800

/* Vectors of interrupts: lines and messages share a range, the local APIC's own stand above it. */
#define VECTOR_FIRST 0x30
#define VECTOR_LAST 0xef
#define VECTOR_TIMER 0xf0
#define VECTOR_WAKE 0xf1 /* from another CPU: it ends a sleep */
#define VECTOR_SPURIOUS 0xff

#ifndef __ASSEMBLER__

#include <stdbool.h>
#include <stdint.h>

struct cpuid {
	uint32_t eax, ebx, ecx, edx;
};

/* All zero for a leaf that the CPU does not have: what it answers then is the data of another one. */
static inline struct cpuid cpuid(uint32_t leaf)
{
	struct cpuid r;
	uint32_t last;

	__asm__("cpuid" : "=a"(last), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf & 0xffff0000), "c"(0));
	if (leaf > last)
		return (struct cpuid){0};
	__asm__("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(0));
	return r;
}

static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (uint64_t)high << 32 | low;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

static inline uint64_t read_cr0(void)
{
	uint64_t value;

	__asm__ volatile("mov %%cr0, %0" : "=r"(value));
	return value;
}

static inline uint64_t read_cr2(void)
{
	uint64_t value;

	__asm__ volatile("mov %%cr2, %0" : "=r"(value));
	return value;
}

static inline uint64_t read_cr3(void)
{
	uint64_t value;

	__asm__ volatile("mov %%cr3, %0" : "=r"(value));
	return value;
}

static inline uint64_t read_cr4(void)
{
	uint64_t value;

	__asm__ volatile("mov %%cr4, %0" : "=r"(value));
	return value;
}

static inline void write_cr3(uint64_t value) { __asm__ volatile("mov %0, %%cr3" : : "r"(value) : "memory"); }
static inline void invlpg(uint64_t address) { __asm__ volatile("invlpg (%0)" : : "r"(address) : "memory"); }

/* The operand of lgdt and lidt. */
struct descriptor_register {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

#endif
#endif
