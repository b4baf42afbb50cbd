/*
 * A program as anybody writes it, on a tree that the host shares: its argument is where the tree is. Its exit status is that of the machine.
 */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINES 20000

static char path[256], other[256];

static const char *at(char *memory, const char *root, const char *name)
{
	snprintf(memory, sizeof(path), "%s/%s", root, name);
	return memory;
}

/* Copy upside down, so that every byte is read and written, each line by a seek. */
static void reverse(const char *root)
{
	FILE *from = fopen(at(path, root, "from"), "r"), *to = fopen(at(other, root, "made/reversed"), "w+");
	long size;

	assert(from && to);
	assert(!fseek(from, 0, SEEK_END));
	size = ftell(from);
	for (long i = size; i-- > 0;) {
		assert(!fseek(from, i, SEEK_SET));
		putc(getc(from), to);
	}
	assert(ftell(to) == size && !ferror(from) && !fclose(from) && !fclose(to));
}

static void lines(const char *root)
{
	FILE *file = fopen(at(path, root, "made/lines"), "w");
	struct stat status;
	int number, count = 0;

	assert(file);
	for (int i = 0; i < LINES; i++)
		fprintf(file, "%d\n", i);
	assert(!fclose(file));
	file = fopen(path, "a");
	assert(file && fputs("end\n", file) >= 0 && !fclose(file));
	file = fopen(path, "r+");
	assert(file);
	while (fscanf(file, "%d", &number) == 1)
		assert(number == count++);
	assert(count == LINES && !fseek(file, -4, SEEK_END) && fputs("END!", file) >= 0 && !fclose(file));
	assert(!stat(path, &status) && S_ISREG(status.st_mode) && status.st_size == 108894);
}

static int count_names(const char *folder)
{
	DIR *dir = opendir(folder);
	int count = 0;

	assert(dir);
	for (int pass = 0; pass < 2; pass++, rewinddir(dir))
		while (readdir(dir))
			count++;
	closedir(dir);
	return count / 2;
}

static void names(const char *root)
{
	int fd = open(at(path, root, "made/old"), O_RDWR | O_CREAT | O_EXCL, 0600);

	assert(fd > 2 && write(fd, "0123456789", 10) == 10 && !ftruncate(fd, 4) && !fsync(fd) && lseek(fd, 0, SEEK_END) == 4 &&
	       !close(fd));
	assert(open(path, O_RDWR | O_CREAT | O_EXCL, 0600) < 0 && errno == EEXIST);
	assert(!rename(path, at(other, root, "made/new")) && access(path, R_OK) < 0 && errno == ENOENT && !access(other, W_OK));
	assert(rename(other, "/elsewhere") < 0 && errno == EXDEV);
	assert(!mkdir(at(path, root, "made/folder"), 0700) && unlink(path) < 0 && errno == EISDIR);
	assert(rmdir(other) < 0 && errno == ENOTDIR && rmdir(at(other, root, "made")) < 0 && errno == ENOTEMPTY);
	assert(count_names(other) == 4);
	assert(!rmdir(path) && count_names(other) == 3 && count_names(root) >= 2);
	assert(!opendir(at(other, root, "from")) && errno == ENOTDIR);
	assert(!fopen(at(path, root, "none"), "r") && errno == ENOENT && !fopen("/not-a-tree/x", "w") && errno == EROFS);
}

int main(int argc, char **argv)
{
	assert(argc == 2 && !mkdir(at(path, argv[1], "made"), 0755));
	reverse(argv[1]);
	lines(argv[1]);
	names(argv[1]);
	return 0;
}
