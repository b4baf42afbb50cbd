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

/* One number that ends at `stop` (0: the end of the text); *text moves behind it. */
static bool take(const char **text, char stop, uint64_t *value)
{
	const char stops[2] = {stop, 0};
	const char *end;

	if (!parse_size(*text, stops, value, &end) || *end != stop)
		return false;
	*text = stop ? end + 1 : end;
	return true;
}

static bool parse(const char *text, struct mmio_slot *slot)
{
	uint64_t irq, id;

	if (!take(&text, '@', &slot->size) || !take(&text, ':', &slot->base))
		return false;
	if (!take(&text, 0, &irq)) {
		if (!take(&text, ':', &irq))
			return false;
		text += *text == '-'; /* Linux: -1 asks for any id */
		if (!take(&text, 0, &id))
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
