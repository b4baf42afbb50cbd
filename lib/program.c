/*
 * The programs that were linked.
 */
#include <base/program.h>

#include <string.h>

const struct program *program_find(const char *name)
{
	LINKER_FOR_EACH (vireo_programs, item) {
		if (strcmp((*item)->name, name) == 0)
			return *item;
	}
	return NULL;
}
