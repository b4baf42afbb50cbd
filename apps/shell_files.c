/*
 * The shell's `ls` and `cat`: the files that the loader brought.
 */
#include "shell.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <base/log.h>

static void list_file(const char *path, const char *name, bool link)
{
	struct stat status = {0};

	if (stat(path, &status) && !link)
		shell_error(path, "ls", -errno);
	else
		console_line("%c%04o %10lu %s",
		             link                      ? 'l'
		             : S_ISDIR(status.st_mode) ? 'd'
		                                       : '-',
		             (unsigned)(status.st_mode & 07777), (unsigned long)status.st_size, name);
}

static void list(unsigned count, char **words)
{
	const char *path = count > 1 ? words[1] : "/";
	DIR *dir = opendir(path);
	struct dirent *entry;

	if (!dir && errno == ENOTDIR)
		list_file(path, path, false);
	else if (!dir)
		shell_error(path, "ls", -errno);
	while (dir && (entry = readdir(dir))) {
		char name[1024];

		format_text(name, sizeof(name), "%s/%s", path, entry->d_name);
		list_file(name, entry->d_name, entry->d_type == DT_LNK);
	}
	if (dir)
		closedir(dir);
}

/* By lines, without their ends: those are the console's. Long ones are cut into several. */
static void print(unsigned count, char **words)
{
	int fd = open(words[1], O_RDONLY), got = 0;
	char data[512], line[512];
	unsigned length = 0;

	(void)count;
	while (fd >= 0 && (got = (int)read(fd, data, sizeof(data))) > 0) {
		for (int i = 0; i < got; i++) {
			if (data[i] != '\n')
				line[length++] = data[i];
			if (data[i] == '\n' || length == sizeof(line)) {
				console_line("%.*s", (int)length, line);
				length = 0;
			}
		}
	}
	if (length)
		console_line("%.*s", (int)length, line);
	if (fd < 0 || got < 0)
		shell_error(words[1], "cat", -errno);
	if (fd >= 0)
		close(fd);
}

SHELL_COMMAND(ls, "ls [PATH]", "files that the loader brought", list, 0, 1);
SHELL_COMMAND(cat, "cat PATH", "a file by lines", print, 1, 1);
