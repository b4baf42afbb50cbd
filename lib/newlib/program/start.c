/*
 * A C program as a program of the image: what `make app SRC="hello.c"` links beside it. Compiled with PROGRAM_NAME set to its name.
 *
 * main() gets argv[0] = "hello" and then the blank-separated words of hello.args="..." on the kernel command line. Its return
 * value, or exit()'s, is the image's status. Without app=NAME this program is the one that runs.
 */
#include <stdlib.h>
#include <string.h>

#include <base/cmdline.h>
#include <base/log.h>
#include <base/program.h>

#define ARGS_MAX 32

/* The program's, which may take fewer. */
int main(int argc, char **argv, char **envp);

#define STRING(x) #x
#define EXPANDED_STRING(x) STRING(x)
#define NAME EXPANDED_STRING(PROGRAM_NAME)
#define REGISTER(...) PROGRAM(__VA_ARGS__)

const char program_default[] = NAME;

static int start(void)
{
	const char *given = cmdline_get(NAME ".args");
	char *words = strdup(given ? given : "");
	char *argv[ARGS_MAX + 2] = {(char[]){NAME}};
	char *none[] = {NULL}, *place;
	int argc = 1;

	if (!words)
		return EXIT_FAILURE;
	for (char *word = strtok_r(words, " \t", &place); word; word = strtok_r(NULL, " \t", &place)) {
		if (argc > ARGS_MAX) {
			log_warn("%s: more than %d arguments, the rest is left out", argv[0], ARGS_MAX);
			break;
		}
		argv[argc++] = word;
	}
	exit(main(argc, argv, none));
}

REGISTER(PROGRAM_NAME, "the program that this image was made for", start);
