/*
 * From the boot protocol to the end of the image: memory, tables, interrupts, devices, one program, its status.
 *
 * All of it runs once, in this order, and waits for nothing by itself.
 */
#include <string.h>

#include <arch/cpu.h>
#include <arch/platform.h>
#include <base/acpi.h>
#include <base/boot_info.h>
#include <base/carry.h>
#include <base/cmdline.h>
#include <base/dt.h>
#include <base/event.h>
#include <base/log.h>
#include <base/page.h>
#include <base/power.h>
#include <base/program.h>
#include <base/tap.h>
#include <base/tree.h>
#include <base/version.h>

[[gnu::weak]] const char program_default[] = "selftest";

static void init_log(void)
{
	const char *level = cmdline_get("log");

	if (level && !log_set_level(level))
		log_warn("cmdline: \"log=%s\": the levels are off, error, warn, info, debug", level);
}

/* acpi=off, as Linux has it: the machine is what else tells of it. */
static bool no_acpi(void)
{
	const char *word = cmdline_get("acpi");

	return word && strcmp(word, "off") == 0;
}

static void announce(const struct boot_info *boot)
{
	uint64_t memory = 0;

	if (log_is_off())
		return;
	for (unsigned i = 0; i < boot->memory_count; i++)
		memory += boot->memory[i].kind == MEMORY_RAM ? boot->memory[i].size : 0;
	record("{\"event\":\"boot\",\"version\":\"%s\",\"arch\":\"%s\",\"protocol\":\"%s\",\"cpus\":%u,\"memory\":%llu}",
	       VIREO_VERSION, arch_name, boot->protocol, cpu_count(), (unsigned long long)memory);
}

static void discover(void)
{
	for (unsigned order = 0; order <= DISCOVERY_LAST; order++) {
		LINKER_FOR_EACH (vireo_discoveries, item) {
			if ((*item)->order == order)
				(*item)->scan();
		}
	}
}

static void refuse_program(const char *name)
{
	char names[400] = "";
	size_t length = 0;

	LINKER_FOR_EACH (vireo_programs, item) {
		length += format_text(names + length, sizeof(names) - length, " %s", (*item)->name);
		length = MIN(length, sizeof(names) - 1);
	}
	log_error("no program \"%s\"; there are:%s", name, names);
}

/* The words of all programs are known: one line may serve several. */
static void check_words(void)
{
	if (log_is_off())
		return;
	LINKER_FOR_EACH (vireo_programs, item) {
		cmdline_allow_prefix((*item)->name);
	}
	cmdline_warn_unknown();
}

static int run_program(void)
{
	const char *word = cmdline_get("app"), *name = word ? word : program_default;
	const struct program *program = program_find(name);

	check_words();
	if (program)
		return program->run();
	refuse_program(name);
	return 1;
}

void program_end(int status)
{
	struct tap_counts counts = tap_counts();

	if (status == 0 && counts.failed)
		status = 1;
	record("{\"event\":\"end\",\"status\":%d,\"ok\":%u,\"failed\":%u,\"skipped\":%u}", status, counts.ok, counts.failed,
	       counts.skipped);
	if (console_carry_flush)
		console_carry_flush();
	arch_end(status);
}

void kernel_main(struct boot_info *boot)
{
	uint64_t image_start, image_end;

	loop_init();
	cmdline_init(boot->cmdline);
	init_log();
	arch_init_memory(boot);
	arch_image_range(&image_start, &image_end);
	page_init(boot, image_start, image_end);
	tree_init(boot);
	dt_told = boot->dtb;
	if (!no_acpi())
		acpi_init(boot->rsdp);
	arch_init(boot);
	announce(boot);
	discover();
	arch_init_late();
	power_init();
	program_end(run_program());
}
