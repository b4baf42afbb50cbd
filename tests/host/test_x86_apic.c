/*
 * arch/x86_64/lapic.c: an x2APIC is spoken to by its model-specific registers alone, an xAPIC by those in memory.
 */
#include "check.h"

#include <arch/mmio.h>
#include <arch/mmu.h>
#include <arch/platform.h>
#include <base/util.h>

#include "forged.h"

#include "../../arch/x86_64/lapic.c"

#define APIC_AT 0xfee00000u
#define ENABLED_AND_X2 (BASE_ENABLED | BASE_X2APIC)

struct cpu boot_cpu;

static struct cpuid leaf_1;
static uint64_t base_msr, id_msr;

static struct {
	uint32_t msr;
	uint64_t value;
} written[64];
static unsigned written_count;

struct cpuid forged_cpuid(uint32_t leaf) { return leaf == 1 ? leaf_1 : (struct cpuid){0}; }

uint64_t forged_rdmsr(uint32_t msr)
{
	if (msr == MSR_APIC_BASE)
		return base_msr;
	if (msr == 0x802)
		return id_msr;
	if (msr == 0x839)
		return 12345;
	fail_msg("MSR %#x is read", msr);
	return 0;
}

void forged_wrmsr(uint32_t msr, uint64_t value)
{
	assert_true(written_count < ARRAY_SIZE(written));
	if (msr == MSR_APIC_BASE)
		base_msr = value;
	else
		assert_true(base_msr & BASE_X2APIC && base_msr & BASE_ENABLED); /* else it is a fault */
	written[written_count].msr = msr;
	written[written_count++].value = value;
}

/* ---- an APIC in memory ---- */

static uint32_t memory[1024], pending_reads;
static unsigned memory_writes, last_write;

static uint64_t get(void *context, uint64_t offset, unsigned width)
{
	(void)context;
	assert_int_equal(width, 4);
	assert_int_equal(offset % 16, 0);
	if (offset == REG_COMMAND && pending_reads)
		return pending_reads--, COMMAND_PENDING;
	return memory[offset / 4];
}

static void put(void *context, uint64_t offset, unsigned width, uint64_t value)
{
	(void)context;
	assert_int_equal(width, 4);
	assert_int_equal(pending_reads, 0);
	memory[offset / 4] = (uint32_t)value;
	last_write = (unsigned)offset;
	memory_writes++;
}

static struct host_region apic = {.base = APIC_AT, .size = 4096, .read = get, .write = put};

static int set_up(void **state)
{
	(void)state;
	host_boot(64 << 10);
	memset(memory, 0, sizeof(memory));
	written_count = memory_writes = 0;
	leaf_1 = (struct cpuid){.edx = BIT64(9)};
	base_msr = APIC_AT | BIT64(8);
	id_msr = 0x12345678;
	x2apic = false;
	registers = NULL;
	host_mmio_add(&apic);
	return 0;
}

static uint64_t value_of(uint32_t msr)
{
	for (unsigned i = written_count; i--;)
		if (written[i].msr == msr)
			return written[i].value;
	fail_msg("MSR %#x was not written", msr);
	return 0;
}

static void check_x2apic(void)
{
	assert_true(lapic_is_x2apic());
	assert_int_equal(base_msr, APIC_AT | BIT64(8) | ENABLED_AND_X2);
	assert_int_equal(value_of(0x80f), 0x100 | VECTOR_SPURIOUS);
	assert_int_equal(value_of(0x832), LVT_MASKED | VECTOR_TIMER);
	assert_int_equal(value_of(0x83e), 0xb);
	assert_int_equal(value_of(0x808), 0);
	assert_int_equal(boot_cpu.apic_id, 0x12345678); /* all 32 bits */

	written_count = 0;
	lapic_send(0x9abcdef0, LAPIC_NMI);
	lapic_end_of_interrupt();
	lapic_timer_setup(VECTOR_TIMER);
	lapic_timer_start(77);
	assert_int_equal(written_count, 4);
	assert_int_equal(value_of(0x830), UINT64_C(0x9abcdef000000000) | LAPIC_NMI); /* both halves at once */
	assert_int_equal(value_of(0x80b), 0);
	assert_int_equal(value_of(0x832), VECTOR_TIMER);
	assert_int_equal(value_of(0x838), 77);
	assert_int_equal(lapic_timer_current(), 12345);
	assert_int_equal(memory_writes, 0);
}

/* "x2APIC State Transitions": from disabled only by way of xAPIC mode, so enabled comes first. */
static void test_x2apic(void **state)
{
	(void)state;
	leaf_1.ecx = BIT64(21);
	lapic_init();
	assert_int_equal(written[0].msr, MSR_APIC_BASE);
	assert_int_equal(written[0].value, APIC_AT | BIT64(8) | BASE_ENABLED);
	assert_int_equal(written[1].value, APIC_AT | BIT64(8) | ENABLED_AND_X2);
	check_x2apic();
}

/* A machine that is in that mode already, whose registers in memory are not there: nobody touches them. */
static void test_x2apic_already(void **state)
{
	(void)state;
	base_msr |= ENABLED_AND_X2;
	host_mmio_remove(&apic);
	lapic_init();
	for (unsigned i = 0; i < written_count; i++) /* leaving it, even for a moment, is a fault */
		assert_true(written[i].msr != MSR_APIC_BASE || (written[i].value & ENABLED_AND_X2) == ENABLED_AND_X2);
	check_x2apic();
	assert_int_equal(host_stray_count(), 0);
}

static void test_xapic(void **state)
{
	(void)state;
	memory[REG_ID / 4] = 5u << 24;
	lapic_init();
	assert_false(lapic_is_x2apic());
	assert_int_equal(base_msr, APIC_AT | BIT64(8) | BASE_ENABLED);
	assert_int_equal(boot_cpu.apic_id, 5);
	assert_int_equal(memory[REG_SPURIOUS / 4], 0x100 | VECTOR_SPURIOUS);

	pending_reads = 3; /* the one before is on its way: it is waited for */
	lapic_send(200, LAPIC_INIT);
	assert_int_equal(memory[REG_COMMAND_HIGH / 4], 200u << 24);
	assert_int_equal(memory[REG_COMMAND / 4], LAPIC_INIT);
	assert_int_equal(last_write, REG_COMMAND); /* which sends */
	assert_int_equal(written_count, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_x2apic, set_up),
		cmocka_unit_test_setup(test_x2apic_already, set_up),
		cmocka_unit_test_setup(test_xapic, set_up),
	};

	return cmocka_run_group_tests_name("x86_64: local APICs", tests, NULL, NULL);
}
