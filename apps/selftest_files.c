/*
 * The files that the loader brought, if there are any: each one is found by its folder and by its path, and read to its end. A
 * record has the CRC-32 of all bytes in the order of the folders, for whoever made the archive.
 */
#include "selftest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/log.h>
#include <base/tap.h>

#include "pattern.h"

#define DEPTH_MAX 64

struct walk {
	unsigned files, folders, errors;
	uint64_t bytes;
	uint32_t crc;
	char path[1024];
	uint8_t data[4096];
};

/* Its size has to be what stat() says. */
static bool read_file(struct walk *walk, const struct stat *status)
{
	int fd = open(walk->path, O_RDONLY);
	off_t total = 0;
	ssize_t got = 1;

	while (fd >= 0 && got > 0 && lseek(fd, total, SEEK_SET) == total &&
	       (got = read(fd, walk->data, sizeof(walk->data))) > 0) {
		walk->crc = crc32_update(walk->crc, walk->data, (size_t)got);
		total += got;
	}
	walk->bytes += (uint64_t)total;
	return fd >= 0 && got == 0 && total == status->st_size && close(fd) == 0;
}

static void walk_folder(struct walk *walk, unsigned depth)
{
	size_t length = strlen(walk->path);
	DIR *dir = depth < DEPTH_MAX ? opendir(walk->path) : NULL;
	struct dirent *entry;

	if (!dir) {
		walk->errors++;
		return;
	}
	while ((entry = readdir(dir))) {
		struct stat status;
		size_t name = strlen(entry->d_name);

		if (length + 1 + name >= sizeof(walk->path)) {
			walk->errors++;
			continue;
		}
		walk->path[length] = '/';
		memcpy(walk->path + length + 1, entry->d_name, name + 1);
		if (entry->d_type == DT_LNK) {
			; /* to somewhere, or to nowhere */
		} else if (stat(walk->path, &status)) {
			walk->errors++;
		} else if (S_ISDIR(status.st_mode)) {
			walk->folders++;
			walk_folder(walk, depth + 1);
		} else if (S_ISREG(status.st_mode)) {
			walk->files++;
			walk->errors += !read_file(walk, &status);
		}
		walk->path[length] = '\0';
	}
	closedir(dir);
}

void selftest_files(void)
{
	static struct walk walk;

	memset(&walk, 0, sizeof(walk));
	strcpy(walk.path, "/");
	walk_folder(&walk, 0);
	if (!walk.files && !walk.folders && !walk.errors)
		return;
	if (!tap_ok(!walk.errors, "the loader's files: each is there and can be read"))
		tap_detail("errors: %u, files: %u", walk.errors, walk.files);
	tap_ok(open("/no/such/file", O_RDONLY) < 0 && errno == ENOENT && open("/new", O_WRONLY | O_CREAT, 0600) < 0 &&
	               errno == EROFS,
	       "the loader's files: no others, and no new ones");
	record("{\"event\":\"files\",\"files\":%u,\"folders\":%u,\"bytes\":%lu,\"crc32\":\"0x%08x\"}", walk.files, walk.folders,
	       walk.bytes, (unsigned)walk.crc);
}
