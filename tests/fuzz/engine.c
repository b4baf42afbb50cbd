/*
 * What libFuzzer calls: the one target that is linked. `--seeds=DIRECTORY` as the first argument writes the target's seeds there instead.
 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *directory;

static void write_seed(const char *name, const uint8_t *data, size_t size)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "wb");
	if (!file || fwrite(data, 1, size, file) != size || fclose(file)) {
		perror(path);
		exit(EXIT_FAILURE);
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	if (*argc < 2 || strncmp((*argv)[1], "--seeds=", 8) != 0)
		return 0;
	directory = (*argv)[1] + 8;
	fuzz_seed_sink = write_seed;
	__start_fuzz_targets[0]->seeds();
	exit(EXIT_SUCCESS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	__start_fuzz_targets[0]->run(data, size);
	return 0;
}
