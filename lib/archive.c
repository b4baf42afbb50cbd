/*
 * cpio and tar. Both are headers and data in turn, so an archive is walked, never unpacked. Nothing in it is believed: numbers are
 * digits or the walk ends, and each length is checked against what is left.
 */
#include <base/archive.h>

#include <string.h>

#include <base/util.h>

#define CPIO_HEADER 110u
#define CPIO_FIELD(n) (6 + 8 * (n)) /* of 8 hexadecimal digits each, behind the magic number */
enum { CPIO_INO, CPIO_MODE, CPIO_NLINK = 4, CPIO_MTIME, CPIO_FILESIZE, CPIO_DEVMINOR = 8, CPIO_NAMESIZE = 11 };

#define TAR_BLOCK 512u
#define TAR_NAME 0
#define TAR_NAME_SIZE 100u
#define TAR_MODE 100
#define TAR_SIZE 124
#define TAR_MTIME 136
#define TAR_CHECKSUM 148
#define TAR_TYPE 156
#define TAR_LINK 157
#define TAR_MAGIC 257
#define TAR_PREFIX 345
#define TAR_PREFIX_SIZE 155u

#define MODE_TYPE 0170000u
#define MODE_FILE 0100000u
#define MODE_FOLDER 0040000u
#define MODE_LINK 0120000u
#define MODE_PERMISSIONS 07777u

static uint64_t left(const struct archive *archive) { return (uint64_t)(archive->end - archive->at); }

static bool stop(struct archive *archive, const char *problem)
{
	archive->problem = problem;
	return false;
}

/* Digits of base 8 or 16, in a field of tar's between blanks or NULs. */
static bool parse_digits(const uint8_t *field, unsigned length, unsigned base, uint64_t *value)
{
	unsigned i = 0, digits = 0;

	for (*value = 0; i < length && base == 8 && field[i] == ' ';)
		i++;
	for (; i < length; i++, digits++) {
		unsigned letter = field[i] | 0x20u, digit = 99;

		if (field[i] >= '0' && field[i] <= '9')
			digit = field[i] - '0';
		else if (letter >= 'a' && letter <= 'f')
			digit = letter - 'a' + 10;
		if (digit >= base)
			break;
		*value = *value * base + digit;
	}
	return base == 16 ? i == length : digits > 0 && (i == length || field[i] == ' ' || !field[i]);
}

/* ---- cpio ---- */

static bool is_cpio(const uint8_t *at, uint64_t size)
{
	return size >= CPIO_HEADER && (!memcmp(at, "070701", 6) || !memcmp(at, "070702", 6));
}

static uint64_t cpio_padded(const struct archive *archive, uint64_t offset)
{
	return ALIGN_UP((uint64_t)(archive->at - archive->start) + offset, UINT64_C(4)) -
	       (uint64_t)(archive->at - archive->start);
}

static bool cpio_next(struct archive *archive)
{
	for (;;) {
		uint64_t field[13];
		const char *name;

		/* Zeros pad an archive, and another one may follow. */
		while (archive->at < archive->end && !*archive->at)
			archive->at++;
		if (archive->at == archive->end)
			return false;
		if (!is_cpio(archive->at, left(archive)))
			return stop(archive, "no cpio header where one should be");
		for (unsigned i = 0; i < ARRAY_SIZE(field); i++) {
			if (!parse_digits(archive->at + CPIO_FIELD(i), 8, 16, &field[i]))
				return stop(archive, "a cpio header with other things than digits");
		}

		uint64_t data = cpio_padded(archive, CPIO_HEADER + field[CPIO_NAMESIZE]);

		if (data > left(archive) || field[CPIO_FILESIZE] > left(archive) - data)
			return stop(archive, "it is cut short");
		name = (const char *)archive->at + CPIO_HEADER;
		if (!field[CPIO_NAMESIZE] || field[CPIO_NAMESIZE] > ARCHIVE_NAME_MAX + 1 || name[field[CPIO_NAMESIZE] - 1])
			return stop(archive, "a name without an end, or too long");
		memcpy(archive->name, name, field[CPIO_NAMESIZE]);
		archive->data = archive->at + data;
		archive->size = field[CPIO_FILESIZE];
		archive->mode = field[CPIO_MODE] & MODE_PERMISSIONS;
		archive->mtime = field[CPIO_MTIME];
		archive->identity = field[CPIO_NLINK] > 1 ? field[CPIO_INO] << 32 | field[CPIO_DEVMINOR] : 0;
		archive->at += MIN(cpio_padded(archive, data + archive->size), left(archive));

		uint64_t type = field[CPIO_MODE] & MODE_TYPE;

		if (!strcmp(archive->name, "TRAILER!!!") || (type != MODE_FILE && type != MODE_FOLDER && type != MODE_LINK))
			continue;
		archive->kind = type == MODE_FILE ? ARCHIVE_FILE : type == MODE_FOLDER ? ARCHIVE_FOLDER : ARCHIVE_LINK;
		return true;
	}
}

/* ---- tar ---- */

static bool is_tar(const uint8_t *block, uint64_t size)
{
	uint64_t told;
	uint32_t sum = 8 * ' '; /* the checksum's own field counts as blanks */

	if (size < TAR_BLOCK || memcmp(block + TAR_MAGIC, "ustar", 5) != 0)
		return false;
	for (unsigned i = 0; i < TAR_BLOCK; i++)
		sum += i >= TAR_CHECKSUM && i < TAR_CHECKSUM + 8 ? 0 : block[i];
	return parse_digits(block + TAR_CHECKSUM, 8, 8, &told) && told == sum;
}

static size_t append(char *name, size_t length, const void *text, size_t most)
{
	size_t more = MIN(strnlen(text, most), ARCHIVE_NAME_MAX - length);

	memcpy(name + length, text, more);
	name[length + more] = '\0';
	return length + more;
}

static void tar_name(struct archive *archive, const uint8_t *block)
{
	size_t length = append(archive->name, 0, block + TAR_PREFIX, block[TAR_MAGIC + 5] ? 0 : TAR_PREFIX_SIZE);

	if (length)
		length = append(archive->name, length, "/", 1);
	append(archive->name, length, block + TAR_NAME, TAR_NAME_SIZE);
}

/* The path= of a pax header: lines "LENGTH KEY=VALUE\n". False: it tells none. */
static bool pax_path(char *name, const uint8_t *at, uint64_t size)
{
	static const char key[] = "path=";
	bool found = false;

	while (size) {
		const uint8_t *blank = memchr(at, ' ', size);
		uint64_t length = 0;

		for (const uint8_t *digit = at; blank && digit < blank && length <= size; digit++)
			length = length * 10 + (uint64_t)(*digit - '0');
		if (!blank || length > size || length <= (uint64_t)(blank + 1 - at))
			break;

		const uint8_t *text = blank + 1, *end = at + length - 1;

		if ((uint64_t)(end - text) > sizeof(key) - 1 && !memcmp(text, key, sizeof(key) - 1)) {
			text += sizeof(key) - 1;
			append(name, 0, text, (size_t)(end - text));
			found = true;
		}
		at += length;
		size -= length;
	}
	return found;
}

static bool tar_next(struct archive *archive)
{
	bool named = false; /* by an entry in front of the one that it is for */

	for (;;) {
		const uint8_t *block = archive->at;
		uint64_t size, mode, mtime;

		if (!left(archive) || !*block) /* zeros end it */
			return false;
		if (!is_tar(block, left(archive)))
			return stop(archive, "no tar header where one should be");
		if (!parse_digits(block + TAR_SIZE, 12, 8, &size) || !parse_digits(block + TAR_MODE, 8, 8, &mode) ||
		    !parse_digits(block + TAR_MTIME, 12, 8, &mtime))
			return stop(archive, "a tar header with other things than digits");
		if (size > left(archive) - TAR_BLOCK)
			return stop(archive, "it is cut short");
		archive->data = block + TAR_BLOCK;
		archive->size = size;
		archive->mode = mode & MODE_PERMISSIONS;
		archive->mtime = mtime;
		archive->identity = 0;
		archive->at += MIN(TAR_BLOCK + ALIGN_UP(size, (uint64_t)TAR_BLOCK), left(archive));
		switch (block[TAR_TYPE]) {
		case 'L':
			named = append(archive->name, 0, archive->data, size) > 0;
			continue;
		case 'x':
			named |= pax_path(archive->name, archive->data, size);
			continue;
		case '1':
		case '2':
			archive->kind = ARCHIVE_LINK;
			archive->data = block + TAR_LINK;
			archive->size = strnlen((const char *)archive->data, TAR_NAME_SIZE);
			archive->identity = block[TAR_TYPE] == '1';
			break;
		case '5':
			archive->kind = ARCHIVE_FOLDER;
			break;
		case '0':
		case '7':
		case '\0':
			archive->kind = ARCHIVE_FILE;
			break;
		default:
			named = false;
			continue;
		}
		if (!named)
			tar_name(archive, block);
		return true;
	}
}

bool archive_open(struct archive *archive, const void *memory, uint64_t size)
{
	memset(archive, 0, sizeof(*archive));
	archive->start = archive->at = memory;
	archive->end = archive->start + size;
	archive->tar = is_tar(memory, size);
	return archive->tar || is_cpio(memory, size);
}

bool archive_next(struct archive *archive) { return archive->tar ? tar_next(archive) : cpio_next(archive); }
