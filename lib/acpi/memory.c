/*
 * ACPICA's memory, apart from the C library's heap: what broken AML makes it overrun is its own, all of it can be let go at once, and there
 * is an end to what it takes.
 *
 * Pieces are powers of two, cut from chunks of pages that double; what is freed waits in a list of its size.
 */
#include <acpi/acpi.h>

#include <base/page.h>
#include <base/util.h>

#include "osl.h"

#define CLASS_MIN 5u  /* 32 bytes */
#define CLASS_MAX 23u /* 8 MiB */
#define CHUNK_MIN 0x10000u
#define CHUNKS_MAX 10u
#define HEAP_MAX 0x2000000u

struct piece {
	union {
		unsigned class; /* in use */
		struct piece *next;
	};
	uint64_t space[]; /* where an allocation begins: 8 bytes on, at a multiple of 8 as ACPICA wants it */
};

static struct {
	char *memory;
	size_t size;
} chunks[CHUNKS_MAX];
static unsigned chunk_count;
static size_t total, used; /* bytes of all chunks; of the last one */
static struct piece *lists[CLASS_MAX + 1];

static bool grow(size_t least)
{
	size_t size = MAX((size_t)CHUNK_MIN << chunk_count, least);

	if (chunk_count == CHUNKS_MAX || size > HEAP_MAX - total)
		return false;
	chunks[chunk_count].memory = page_alloc_uncleared(size, PAGE_SIZE);
	if (!chunks[chunk_count].memory)
		return false;
	chunks[chunk_count++].size = size;
	total += size;
	used = 0;
	return true;
}

void *acpi_os_allocate(acpi_size size)
{
	unsigned class = CLASS_MIN;
	struct piece *piece;

	osl_turn();
	while (class <= CLASS_MAX && BIT64(class) - sizeof(*piece) < size)
		class ++;
	if (class > CLASS_MAX || osl_stack_is_low())
		return NULL;
	piece = lists[class];
	if (piece) {
		lists[class] = piece->next;
	} else {
		if ((!chunk_count || BIT64(class) > chunks[chunk_count - 1].size - used) && !grow(BIT64(class)))
			return NULL;
		piece = (struct piece *)(chunks[chunk_count - 1].memory + used);
		used += BIT64(class);
	}
	piece->class = class;
	return piece->space;
}

void acpi_os_free(void *memory)
{
	struct piece *piece = memory ? container_of(memory, struct piece, space) : NULL;
	unsigned class;

	if (!piece || piece->class < CLASS_MIN || piece->class > CLASS_MAX)
		return;
	class = piece->class;
	piece->next = lists[class];
	lists[class] = piece;
}

void osl_free_all(void)
{
	while (chunk_count) {
		chunk_count--;
		page_free(chunks[chunk_count].memory, chunks[chunk_count].size);
	}
}
