/*
 * selftest: what the machine and its devices can do, tried on real data, in TAP.
 *
 * It goes by what was found: each device is tested through its class, whatever bus it came by, and a machine without devices
 * still has its clock and memory tested. Nothing is changed on a disk and nobody is expected at the other end of a wire unless a
 * parameter says so: docs/interface.md has them.
 */
#include "selftest.h"

#include <string.h>

#include <base/cmdline.h>
#include <base/log.h>
#include <base/program.h>
#include <base/tap.h>

uint64_t selftest_option(const char *key, uint64_t fallback)
{
	char word[48] = "selftest.";
	const char *value;

	strncat(word, key, sizeof(word) - strlen(word) - 1);
	value = cmdline_get(word);
	if (value && !*value)
		return 1;
	return cmdline_number(word, fallback);
}

/* Reset and bring up, `times` times: what is tested behind it has to work as after boot. */
static bool test_reset(struct device_info *info, uint64_t times)
{
	uint64_t done = 0;
	int error = 0;

	while (!error && done < times && info->reset) {
		error = info->reset(info);
		done++;
	}
	if (tap_ok(done == times && !error && !strcmp(info->state, "ok"), "%s comes up again after each of %lu resets",
	           info->name, times))
		return true;
	tap_detail("resets: %lu, error: %d, state: %s", done, error, info->state);
	return false;
}

static void test_device(const struct device_info *info)
{
	uint64_t resets = selftest_option("reset", 0), rebinds = selftest_option("rebind", 0);
	uint64_t queue_resets = selftest_option("queue_resets", 0);

	if (!*info->driver) {
		tap_skip("no driver", "%s is up", info->name);
		return;
	}
	if (!tap_ok(!strcmp(info->state, "ok") && info->queue_count, "%s is up", info->name)) {
		tap_detail("state: %s", info->state);
		tap_detail("reason: %s", info->reason);
		return;
	}
	if (resets && !test_reset(device_find(info->name), resets))
		return;
	if (rebinds)
		selftest_rebind(device_find(info->name), rebinds);
	LINKER_FOR_EACH (selftest_parts, part)
		(*part)->run(info->name);
	if (queue_resets && block_find(info->name))
		selftest_queue_resets(device_find(info->name), block_find(info->name), queue_resets);
}

static int selftest(void)
{
	selftest_base();
	selftest_cpu();
	selftest_files();
	for (const struct device_info *info = device_first(); info; info = info->next)
		test_device(info);
	tap_plan();
	return tap_counts().failed ? 1 : 0;
}

PROGRAM(selftest, "test the machine and its devices, in TAP", selftest);
