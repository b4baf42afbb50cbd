/*
 * The kernel command line.
 *
 * It is cut into words once, in a private copy: quotes go, the first '=' of a word ends its key. Whoever asks for a key marks its
 * words as known; what nobody asked for is warned of at the end of boot, so that a mistyped word does not pass unseen. VMMs put
 * words of Linux on every command line by themselves: those are passed over.
 */
#include <base/cmdline.h>

#include <stddef.h>
#include <string.h>

#include <base/log.h>
#include <base/util.h>

#define TEXT_MAX 8192u
#define WORD_MAX 256u

struct word {
	const char *key, *value; /* value "" without '=' */
	bool has_value, known;
};

static char text_copy[TEXT_MAX];
static struct word words[WORD_MAX];
static unsigned word_count;

/* Linux's own words that VMMs, boot loaders and people's scripts add; one that ends in '.' or '_' is a prefix. */
static const char linux_words[] =
	"-- 8250. BOOT_IMAGE acpi acpi_ agent. apic audit biosdevname clocksource console crashkernel cryptomgr. debug "
	"earlycon earlyprintk edd elevator fsck. hugepages hugepagesz hung_task_panic i8042. idle init initcall_debug "
	"initrd intel_iommu intel_pstate iommu iommu. ip ipv6. irqpoll kaslr keep_bootcon kvm-intel. kvm. lapic loglevel "
	"lpj maxcpus mce mem memmap mitigations module. modprobe. net.ifnames nfsroot nmi_watchdog no_timer_check noacpi "
	"noapic noaliencache nokaslr nolapic nomodeset nomodule nomodules noreplace-smp noresume noswap nosmp nosplash notsc "
	"nousb noxsave nowatchdog nr_cpus numa numa_balancing panic panic_on_oops panic_on_warn pci pcie_aspm pcie_ports "
	"pmtmr printk. processor. pti quiet raid random. rcu_nocbs rcupdate. rd. rdinit reboot resume ro root rootdelay "
	"rootflags rootfstype rootwait rw scsi_mod. security selinux single splash swiotlb sysctl. systemd. systemd_ tsc "
	"tsx udev. usbcore. vga video virtio_net. virtio_pci. vsyscall vt. watchdog x2apic_phys xen_";

static bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

void cmdline_init(const char *text)
{
	char *out = text_copy, *const last = text_copy + TEXT_MAX - 1;
	const char *start = NULL; /* of the word that is being cut */
	struct word *word = words;
	bool quoted = false;

	for (word_count = 0;; text++) {
		char c = *text;

		if (!c || (is_blank(c) && !quoted)) {
			if (start) {
				*out++ = '\0';
				word_count++;
			}
			start = NULL;
			if (!c)
				break;
			continue;
		}
		if (!start) {
			start = text;
			if (word_count == WORD_MAX || out > last)
				break;
			word = &words[word_count];
			*word = (struct word){.key = out, .value = ""};
		}
		if (c == '"') {
			quoted = !quoted;
			continue;
		}
		if (out == last) /* which is for the NUL */
			break;
		if (c == '=' && !word->has_value) {
			c = '\0';
			word->has_value = true;
			word->value = out + 1;
		}
		*out++ = c;
	}
	if (start)
		log_warn("cmdline: more than %u words or %u bytes, ignored from \"%.60s\" on", WORD_MAX, TEXT_MAX, start);
	else if (quoted)
		log_warn("cmdline: the quote in \"%s%s%s\" is never closed", word->key, word->has_value ? "=" : "", word->value);
}

const char *cmdline_next(const char *key, unsigned *cursor)
{
	while (*cursor < word_count) {
		struct word *word = &words[(*cursor)++];

		if (strcmp(word->key, key) == 0) {
			word->known = true;
			return word->value;
		}
	}
	return NULL;
}

const char *cmdline_get(const char *key)
{
	const char *last = NULL, *value;

	for (unsigned cursor = 0; (value = cmdline_next(key, &cursor)) != NULL;)
		last = value;
	return last;
}

uint64_t cmdline_number(const char *key, uint64_t fallback)
{
	const char *text = cmdline_get(key);
	uint64_t value;

	if (!text)
		return fallback;
	if (parse_size(text, "", &value, NULL))
		return value;
	log_warn("cmdline: \"%s=%s\": not a number, %llu is used", key, text, (unsigned long long)fallback);
	return fallback;
}

void cmdline_allow_prefix(const char *name)
{
	for (struct word *word = words; word < words + word_count; word++) {
		size_t i = 0;

		while (name[i] && name[i] == word->key[i])
			i++;
		if (!name[i] && word->key[i] == '.')
			word->known = true;
	}
}

static bool is_linux_word(const char *key)
{
	size_t length = strlen(key);

	for (const char *word = linux_words; *word; word += strspn(word, " ")) {
		size_t known = strcspn(word, " ");
		bool prefix = word[known - 1] == '.' || word[known - 1] == '_';

		if ((prefix ? length >= known : length == known) && memcmp(key, word, known) == 0)
			return true;
		word += known;
	}
	return false;
}

void cmdline_warn_unknown(void)
{
	for (unsigned i = 0; i < word_count; i++) {
		const struct word *word = &words[i];

		if (!word->known && !is_linux_word(word->key))
			log_warn("cmdline: unknown word \"%s%s%s\"", word->key, word->has_value ? "=" : "", word->value);
	}
}

/* Of any base; 16 or more: it is none. */
static unsigned digit_of(char c)
{
	unsigned letter = (unsigned char)c | 0x20u;

	return c <= '9' ? (unsigned)(c - '0') : letter - 'a' <= 5 ? letter - 'a' + 10 : 16;
}

/* The digits of one number in C's bases; `text` is then behind them. False: none, or too many. */
static bool parse_digits(const char **text, uint64_t *value)
{
	unsigned base = **text == '0' ? 8 : 10, digit;
	const char *at = *text, *start;
	uint64_t sum = 0;

	if (base == 8 && (at[1] | 0x20) == 'x') {
		base = 16;
		at += 2;
	}
	for (start = at; (digit = digit_of(*at)) < base; at++)
		if (__builtin_mul_overflow(sum, base, &sum) || __builtin_add_overflow(sum, digit, &sum))
			return false;
	*value = sum;
	*text = at;
	return at > start;
}

static bool is_one_of(char c, const char *stops)
{
	while (*stops && *stops != c)
		stops++;
	return *stops == c; /* the end of a text is always one */
}

bool parse_size(const char *text, const char *stops, uint64_t *value, const char **end)
{
	static const char suffixes[] = "kmgt";
	const char *suffix;

	if (!parse_digits(&text, value))
		return false;
	if (!is_one_of(*text, stops)) {
		suffix = strchr(suffixes, *text++ | 0x20);
		if (!suffix || __builtin_mul_overflow(*value, UINT64_C(1024) << (10 * (suffix - suffixes)), value) ||
		    !is_one_of(*text, stops))
			return false;
	}
	if (end)
		*end = text;
	return true;
}
