/*
 * Files of arch/x86_64 on the host: a test includes them behind this header, as they are, and makes up what the CPU says of itself, and its
 * model-specific registers. Registers in memory, ports and firmware's tables are the host machine's. Only on a host of that kind.
 */
#ifndef FORGED_H
#define FORGED_H

#include <stddef.h>

#include <arch/cpu.h>

/* The originals get other names. */
#define cpuid(leaf) cpuid_of_host(leaf)
#define rdmsr(msr) rdmsr_of_host(msr)
#define wrmsr(msr, value) wrmsr_of_host(msr, value)
#include "../../arch/x86_64/x86.h"
#undef cpuid
#undef rdmsr
#undef wrmsr

struct cpuid forged_cpuid(uint32_t leaf);
uint64_t forged_rdmsr(uint32_t msr);
void forged_wrmsr(uint32_t msr, uint64_t value);
#define cpuid(leaf) forged_cpuid(leaf)
#define rdmsr(msr) forged_rdmsr(msr)
#define wrmsr(msr, value) forged_wrmsr(msr, value)

/* <impl/cpu.h> is the host's, and has no part of this. */
#define IMPL_CPU_INDEX offsetof(struct cpu, index)
#define IMPL_CPU_TSC_OFFSET offsetof(struct cpu, tsc_offset)
#define IMPL_CPU_ARMED_NS offsetof(struct cpu, armed_ns)
#include "../../arch/x86_64/local.h"

#endif
