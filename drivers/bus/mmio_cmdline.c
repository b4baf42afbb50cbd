/*
 * virtio-mmio devices from the kernel command line: virtio_mmio.device=<size>@<base>:<irq>[:<id>], the form that Linux defined and
 * that VMMs write when there is neither FDT nor ACPI to tell of them.
 *
 * Size and base are numbers in any C base, with K, M, G; irq likewise. The id is a number that names the device to Linux: it is
 * checked and not used, devices are named in the order of the words. Each bad word gets one line and the others count.
 */
#include <stddef.h>

#include <base/cmdline.h>
#include <base/log.h>
#include <base/program.h>
#include <drivers/bus/mmio.h>

#define KEY "virtio_mmio.device"

static bool parse(const char *text, struct mmio_slot *slot)
{
	uint64_t irq, id;

	if (!parse_size(text, "@", &slot->size, &text) || !*text++ || !parse_size(text, ":", &slot->base, &text) || !*text++ ||
	    !parse_size(text, ":", &irq, &text))
		return false;
	if (*text++) {
		text += *text == '-'; /* Linux: -1 asks for any id */
		if (!parse_size(text, "", &id, NULL))
			return false;
	}
	if (!irq || irq >= IRQ_NO_GSI)
		return false;
	slot->gsi = (unsigned)irq;
	return true;
}

static void mmio_cmdline_scan(void)
{
	unsigned cursor = 0;
	const char *word;

	while ((word = cmdline_next(KEY, &cursor))) {
		struct mmio_slot slot = {.told_by = "the command line", .trigger = IRQ_TRIGGER_ISA};

		if (parse(word, &slot))
			mmio_slot_add(&slot, word);
		else
			log_warn("%s=%s: not <size>@<base>:<irq>[:<id>], ignored", KEY, word);
	}
}

DISCOVERY(mmio_cmdline, 20, mmio_cmdline_scan);
