/*
 * Function names for backtraces. The first link's symbols are packed by tools/ksyms.sh into a table that the second link adds:
 * for each function, in order of address, the distance from the one before as ULEB128 (the first from 0) and its name.
 * Without the table (first link) no address has a name.
 */
#include "local.h"

extern const unsigned char symbol_table_start[], symbol_table_end[];

const char *symbol_find(uint64_t address, uint64_t *start)
{
	const unsigned char *at = symbol_table_start;
	const char *name = NULL;
	uint64_t value = 0;

	if (address < (uintptr_t)image_start || address >= (uintptr_t)image_text_end)
		return NULL;
	while (at < symbol_table_end) {
		uint64_t step = 0;
		unsigned shift = 0;

		do
			step |= (uint64_t)(*at & 0x7f) << shift;
		while (shift += 7, *at++ & 0x80);
		if (value + step > address)
			break;
		value += step;
		name = (const char *)at;
		while (*at++)
			;
	}
	*start = value;
	return name;
}
