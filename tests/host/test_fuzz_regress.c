/*
 * Every fuzz target, without a fuzzer: its seeds, and the inputs that once failed, tests/fuzz/regress/NAME/ *. An input that fails ends
 * the process: the last line of the output names it.
 */
#include "check.h"

#include <dirent.h>

#include "../fuzz/fuzz.h"

#define REGRESS "tests/fuzz/regress"
#define TESTS_MAX 64

static const struct fuzz_target *target;
static unsigned inputs;

static void run_input(const char *name, const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size + 1); /* of its own, so that the sanitizer sees a read behind it */

	printf("# %s/%s\n", target->name, name);
	fflush(stdout);
	memcpy(copy + 1, data, size);
	target->run(copy + 1, size);
	free(copy);
	inputs++;
}

static void run_file(const char *folder, const char *name)
{
	uint8_t data[FUZZ_INPUT_MAX];
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "rb");
	if (!file)
		fail_msg("%s cannot be opened", path);
	run_input(name, data, fread(data, 1, sizeof(data), file));
	fclose(file);
}

static void seeds(void **state)
{
	target = *state;
	inputs = 0;
	fuzz_seed_sink = run_input;
	run_input("empty", (const uint8_t *)"", 0);
	target->seeds();
	assert_true(inputs > 1);
}

static void regress(void **state)
{
	const struct dirent *entry;
	char folder[256];
	DIR *dir;

	target = *state;
	inputs = 0;
	snprintf(folder, sizeof(folder), REGRESS "/%s", target->name);
	dir = opendir(folder);
	if (!dir)
		fail_msg("no folder %s: this is to be run in the root of the sources", folder);
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			run_file(folder, entry->d_name);
	closedir(dir);
	assert_true(inputs > 0);
}

int main(void)
{
	struct CMUnitTest tests[TESTS_MAX];
	static char names[TESTS_MAX][64];
	unsigned count = 0;

	LINKER_FOR_EACH (fuzz_targets, each) {
		static const struct {
			const char *name;
			CMUnitTestFunction function;
		} kinds[] = {{"seeds", seeds}, {"regress", regress}};

		for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++, count++) {
			assert_true(count < ARRAY_SIZE(tests));
			snprintf(names[count], sizeof(names[0]), "%s, %s", (*each)->name, kinds[i].name);
			tests[count] = (struct CMUnitTest){.name = names[count],
			                                   .test_func = kinds[i].function,
			                                   .initial_state = (void *)(uintptr_t)*each};
		}
	}
	return _cmocka_run_group_tests("fuzz targets, replayed", tests, count, NULL, NULL);
}
