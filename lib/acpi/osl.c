/*
 * What ACPICA asks of an operating system.
 *
 * One CPU evaluates AML, and never two things at once: locks have nothing to do, and a semaphore that is not free never will be. The
 * loop does not run meanwhile; what AML waits for is waited for here, and no longer than a few seconds over a whole boot.
 *
 * AML may reach device registers, and memory of the firmware's. RAM that is ours is out of its reach.
 */
#include <string.h>

#include <acpi/acpi.h>

#include <arch/clock.h>
#include <arch/cpu.h>
#include <arch/guard.h>
#include <arch/mmio.h>
#include <arch/mmu.h>
#include <arch/platform.h>
#include <base/acpi.h>
#include <base/aml.h>
#include <base/event.h>
#include <base/log.h>
#include <base/page.h>
#include <base/util.h>

#include "osl.h"

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)
#define TIMER_NS 100 /* the unit of acpi_os_get_timer() */
#define LOOP_TURNS_MAX 65536u
#define WAIT_MAX_NS (5 * NS_PER_S)

acpi_status acpi_os_initialize(void) { return AE_OK; }
acpi_status acpi_os_terminate(void) { return AE_OK; }

/* ---- tables ---- */

/* A root table of our own, which lists nothing but the FADT, which has the DSDT: ACPICA sees only what acpi_init() found good. */
static struct {
	struct acpi_table_rsdp rsdp;
	struct acpi_table_header xsdt;
	uint64_t fadt;
} __attribute__((packed)) * root;

static uint8_t sum_of(const void *memory, size_t size)
{
	const uint8_t *byte = memory;
	uint8_t sum = 0;

	while (size--)
		sum = (uint8_t)(sum + *byte++);
	return sum;
}

bool osl_make_root(void)
{
	root = page_alloc(sizeof(*root), PAGE_SIZE);
	if (!root)
		return false;
	memcpy(root->xsdt.signature, "XSDT", 4);
	root->xsdt.length = sizeof(root->xsdt) + sizeof(root->fadt);
	root->xsdt.revision = 1;
	root->fadt = (uintptr_t)acpi_table("FACP", 0);
	root->xsdt.checksum = (uint8_t)-sum_of(&root->xsdt, root->xsdt.length);
	memcpy(root->rsdp.signature, "RSD PTR ", 8);
	root->rsdp.revision = 2;
	root->rsdp.length = sizeof(root->rsdp);
	root->rsdp.xsdt_physical_address = mmu_virt_to_phys(&root->xsdt);
	root->rsdp.checksum = (uint8_t)-sum_of(&root->rsdp, ACPI_RSDP_CHECKSUM_LENGTH);
	root->rsdp.extended_checksum = (uint8_t)-sum_of(&root->rsdp, sizeof(root->rsdp));
	return true;
}

acpi_physical_address acpi_os_get_root_pointer(void) { return mmu_virt_to_phys(root); }

static bool inside(uint64_t at, uint64_t size, const void *memory, uint64_t length)
{
	uint64_t base = (uintptr_t)memory;

	return at >= base && at - base <= length && size <= length - (at - base);
}

/* Tables are mapped already; all else is taken for registers. */
void *acpi_os_map_memory(acpi_physical_address where, acpi_size length)
{
	const struct acpi_header *table;

	if (inside(where, length, root, sizeof(*root)))
		return (void *)where;
	for (unsigned i = 0; (table = acpi_table_at(i)) != NULL; i++)
		if (inside(where, length, table, table->length))
			return (void *)where;
	return (void *)(uintptr_t)mmu_map_device(where, length);
}

void acpi_os_unmap_memory(void *memory, acpi_size size)
{
	(void)memory;
	(void)size;
}

acpi_status acpi_os_predefined_override(const struct acpi_predefined_names *name, acpi_string *value)
{
	(void)name;
	*value = NULL;
	return AE_OK;
}

acpi_status acpi_os_table_override(struct acpi_table_header *former, struct acpi_table_header **table)
{
	(void)former;
	*table = NULL;
	return AE_OK;
}

acpi_status acpi_os_physical_table_override(struct acpi_table_header *former, acpi_physical_address *address, uint32_t *length)
{
	(void)former;
	*address = 0;
	*length = 0;
	return AE_OK;
}

/* ---- bounds ---- */

/*
 * No time is looked at, for the host may be busy. Each loop of AML has its bound (acpi_os_get_timer()); what calls itself again and again
 * without one is seen by how often it comes here, and is ended with the interpreter. What nests deep is not given the memory to nest deeper.
 */
#define TURNS_MAX 0x200000u
#define STACK_MAX 0xc000u

static unsigned turns;
static uintptr_t stack;

void osl_begin(void)
{
	turns = 0;
	stack = (uintptr_t)__builtin_frame_address(0);
}

void osl_turn(void)
{
	if (++turns > TURNS_MAX)
		guard_fall("it does not end");
}

bool osl_stack_is_low(void) { return stack - (uintptr_t)__builtin_frame_address(0) > STACK_MAX; }

/* ---- nobody else is there ---- */

acpi_thread_id acpi_os_get_thread_id(void) { return 1; }

acpi_status acpi_os_create_lock(acpi_spinlock *lock)
{
	*lock = NULL;
	return AE_OK;
}

void acpi_os_delete_lock(acpi_spinlock lock) { (void)lock; }

acpi_cpu_flags acpi_os_acquire_lock(acpi_spinlock lock)
{
	(void)lock;
	return 0;
}

void acpi_os_release_lock(acpi_spinlock lock, acpi_cpu_flags flags)
{
	(void)lock;
	(void)flags;
}

acpi_status acpi_os_create_semaphore(uint32_t max, uint32_t initial, acpi_semaphore *handle)
{
	uint32_t *units = acpi_os_allocate(sizeof(*units));

	(void)max;
	if (!units)
		return AE_NO_MEMORY;
	*units = initial;
	*handle = units;
	return AE_OK;
}

acpi_status acpi_os_delete_semaphore(acpi_semaphore handle)
{
	acpi_os_free(handle);
	return AE_OK;
}

acpi_status acpi_os_wait_semaphore(acpi_semaphore handle, uint32_t units, uint16_t timeout)
{
	uint32_t *left = handle;

	(void)timeout;
	osl_turn(); /* whoever makes an object comes here for the lock of those */
	if (*left < units)
		return AE_TIME;
	*left -= units;
	return AE_OK;
}

acpi_status acpi_os_signal_semaphore(acpi_semaphore handle, uint32_t units)
{
	*(uint32_t *)handle += units;
	return AE_OK;
}

/* What AML asks for while it runs (notifications) comes after it, in the loop. */
#define LATER_MAX 16u
static struct {
	acpi_osd_exec_callback function;
	void *context;
} later[LATER_MAX];
static unsigned later_count;

void osl_run_later(void)
{
	for (unsigned i = 0; i < later_count; i++)
		later[i].function(later[i].context);
	later_count = 0;
}

acpi_status acpi_os_execute(acpi_execute_type type, acpi_osd_exec_callback function, void *context)
{
	(void)type;
	if (later_count == LATER_MAX)
		return AE_NO_MEMORY;
	later[later_count].function = function;
	later[later_count++].context = context;
	event_mark(&osl_later);
	return AE_OK;
}

void acpi_os_wait_events_complete(void) {}

/* ---- time ---- */

static uint64_t waited; /* ns */

static void wait(uint64_t ns)
{
	uint64_t start = clock_ns();

	ns = MIN(ns, WAIT_MAX_NS - MIN(waited, WAIT_MAX_NS));
	while (clock_ns() - start < ns)
		cpu_relax();
	waited += ns;
}

void acpi_os_sleep(uint64_t ms) { wait(MIN(ms, WAIT_MAX_NS / NS_PER_MS) * NS_PER_MS); }

void acpi_os_stall(uint32_t us) { wait(us * NS_PER_US); }

/*
 * ACPICA ends a loop by this time, of which it asks once a turn, and so does AML. A loop that computes much is not one that does not end, however
 * busy the host: so it is turns that are counted. Once a few loops were ended, time flies: all together they may not take long.
 */
uint64_t acpi_os_get_timer(void)
{
	static uint64_t now; /* ns */

	now += OSL_LOOP_SECONDS * NS_PER_S / (osl_loops < OSL_LOOPS_MAX ? LOOP_TURNS_MAX : 2);
	return now / TIMER_NS;
}

unsigned osl_loops;

/* ---- registers ---- */

acpi_status acpi_os_read_port(acpi_io_address port, uint32_t *value, uint32_t width)
{
	*value = UINT32_MAX >> (32 - width);
	if (!pio_present() || port > UINT16_MAX)
		return AE_BAD_ADDRESS;
	*value = width == 8 ? pio_read8((uint16_t)port) : width == 16 ? pio_read16((uint16_t)port) : pio_read32((uint16_t)port);
	return AE_OK;
}

acpi_status acpi_os_write_port(acpi_io_address port, uint32_t value, uint32_t width)
{
	if (!pio_present() || port > UINT16_MAX)
		return AE_BAD_ADDRESS;
	if (width == 8)
		pio_write8((uint16_t)port, (uint8_t)value);
	else if (width == 16)
		pio_write16((uint16_t)port, (uint16_t)value);
	else
		pio_write32((uint16_t)port, value);
	return AE_OK;
}

/* Only the registers of the fixed hardware come this way, and that is not ACPICA's here. */
acpi_status acpi_os_read_memory(acpi_physical_address address, uint64_t *value, uint32_t width)
{
	(void)address;
	(void)width;
	*value = 0;
	return AE_SUPPORT;
}

acpi_status acpi_os_write_memory(acpi_physical_address address, uint64_t value, uint32_t width)
{
	(void)address;
	(void)value;
	(void)width;
	return AE_SUPPORT;
}

static acpi_status pci_access(const struct acpi_pci_id *id, uint32_t offset, uint32_t width, bool write, uint32_t *value)
{
	const struct aml_pci function = {
		.segment = id->segment,
		.bdf = (uint16_t)(id->bus << 8 | id->device << 3 | id->function),
	};

	if (width > 32 || offset % (width / 8) || !aml_pci_access ||
	    aml_pci_access(function, (uint16_t)offset, width / 8, write, value) != 0)
		return AE_NOT_EXIST;
	return AE_OK;
}

acpi_status acpi_os_read_pci_configuration(struct acpi_pci_id *id, uint32_t offset, uint64_t *value, uint32_t width)
{
	uint32_t read = UINT32_MAX;
	acpi_status status = pci_access(id, offset, width, false, &read);

	*value = read;
	return status;
}

acpi_status acpi_os_write_pci_configuration(struct acpi_pci_id *id, uint32_t offset, uint64_t value, uint32_t width)
{
	uint32_t written = (uint32_t)value;

	return pci_access(id, offset, width, true, &written);
}

/* ---- what it says ---- */

acpi_status acpi_os_signal(uint32_t function, void *info)
{
	const struct acpi_signal_fatal_info *fatal = info;

	if (function == ACPI_SIGNAL_FATAL && fatal)
		log_warn("acpi: AML reports a fatal error (type %#x, code %#x, argument %#x)", fatal->type, fatal->code,
		         fatal->argument);
	return AE_OK;
}

void acpi_os_printf(const char *format, ...) { (void)format; }

/* The end is arch_end()'s. */
acpi_status acpi_os_enter_sleep(uint8_t state, uint32_t a, uint32_t b)
{
	(void)state;
	(void)a;
	(void)b;
	return AE_SUPPORT;
}
