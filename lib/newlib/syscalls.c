/*
 * What newlib asks of a system, for programs written against the C library.
 *
 * Descriptors 0, 1 and 2 are the serial console, further ones files.c's. A call that has to wait (read, sleep) runs the event loop
 * meanwhile: devices stay served. Memory is the page allocator's heap, entropy comes from an entropy device, and the end of the
 * process is the end of the image.
 *
 * newlib calls these names without a leading underscore (its x86_64 configuration), so they are what programs see as well.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/time.h>
#include <sys/times.h>
#include <time.h>
#include <unistd.h>

#include <arch/clock.h>
#include <arch/platform.h>
#include <base/event.h>
#include <base/page.h>
#include <base/program.h>
#include <base/util.h>
#include <class/entropy.h>

#include "local.h"

#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_US UINT64_C(1000)

static int fail(int error)
{
	errno = error;
	return -1;
}

/* ---- the console ---- */

_READ_WRITE_RETURN_TYPE write(int fd, const void *memory, size_t length)
{
	if (fd != STDOUT_FILENO && fd != STDERR_FILENO)
		return fd == STDIN_FILENO ? fail(EBADF) : descriptor_write(fd, memory, length);
	length = MIN(length, (size_t)INT_MAX);
	arch_console_write(memory, length);
	return (int)length;
}

/*
 * The terminal's line discipline, as programs expect it of standard input: what is typed is echoed, can be corrected with
 * backspace, and is delivered by the line. Control-D on an empty line is the end of the input.
 */
static struct {
	char text[256];
	size_t length, taken;
	bool attached, end;
} line;

static struct event console_event;

static void console_arrived(struct event *event) { (void)event; /* it has ended the loop's sleep: that is all */ }

static char console_byte(void)
{
	int c;

	if (!line.attached) {
		event_init(&console_event, console_arrived);
		arch_console_attach(&console_event);
		line.attached = true;
	}
	while ((c = arch_console_read()) < 0)
		loop_turn(true, LOOP_FOREVER);
	return (char)c;
}

static void line_fill(void)
{
	line.length = line.taken = 0;
	for (;;) {
		char c = console_byte();

		if (c == '\r' || c == '\n') {
			arch_console_write("\n", 1);
			line.text[line.length++] = '\n';
			return;
		}
		if (c == 4 && !line.length) {
			line.end = true;
			return;
		}
		if ((c == '\b' || c == 127) && line.length) {
			line.length--;
			arch_console_write("\b \b", 3);
		} else if ((unsigned char)c >= ' ' && c != 127 && line.length < sizeof(line.text) - 1) {
			line.text[line.length++] = c;
			arch_console_write(&c, 1);
		}
	}
}

_READ_WRITE_RETURN_TYPE read(int fd, void *memory, size_t length)
{
	char *to = memory;
	size_t n = 0;

	if (fd != STDIN_FILENO)
		return descriptor_read(fd, memory, length);
	if (!length)
		return 0;
	if (line.taken == line.length)
		line_fill();
	while (n < length && line.taken < line.length)
		to[n++] = line.text[line.taken++];
	return (int)n;
}

/* ---- memory ---- */

void *sbrk(ptrdiff_t delta)
{
	void *end = page_heap_grow(delta);

	if (!end) {
		errno = ENOMEM;
		return (void *)-1;
	}
	return end;
}

/* ---- the process ---- */

void _exit(int status) { program_end(status); }

pid_t getpid(void) { return 1; }

/* raise() and abort() come here, and so does a failed assert(): a bug of the program, told with a backtrace. */
int kill(pid_t pid, int number)
{
	if (pid != getpid())
		return fail(ESRCH);
	if (!number)
		return 0;
	panic("the program raised signal %d%s", number, number == SIGABRT ? " (abort)" : "");
}

/* ---- time ---- */

/* The time of day counts from boot, too, where nothing in the machine knows it. */
int clock_gettime(clockid_t clock, struct timespec *time)
{
	uint64_t ns = clock_ns() + (clock == CLOCK_REALTIME ? clock_epoch_ns() : 0);

	*time = (struct timespec){.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
	return 0;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone)
{
	uint64_t ns = clock_epoch_ns() + clock_ns();

	(void)zone;
	*time = (struct timeval){.tv_sec = (time_t)(ns / NS_PER_S), .tv_usec = (suseconds_t)(ns % NS_PER_S / NS_PER_US)};
	return 0;
}

clock_t times(struct tms *used)
{
	clock_t ticks = (clock_t)(clock_ns() / (NS_PER_S / CLOCKS_PER_SEC));

	*used = (struct tms){.tms_utime = ticks};
	return ticks;
}

int nanosleep(const struct timespec *time, struct timespec *left)
{
	if (time->tv_sec < 0 || time->tv_nsec < 0 || (uint64_t)time->tv_nsec >= NS_PER_S)
		return fail(EINVAL);
	loop_sleep((uint64_t)time->tv_sec * NS_PER_S + (uint64_t)time->tv_nsec);
	if (left)
		*left = (struct timespec){0};
	return 0;
}

int usleep(useconds_t us)
{
	loop_sleep(us * NS_PER_US);
	return 0;
}

unsigned sleep(unsigned seconds)
{
	loop_sleep(seconds * NS_PER_S);
	return 0;
}

/* ---- entropy ---- */

struct wish {
	void *memory;
	size_t length;
	int error;
};

static void read_entropy(void *arg)
{
	struct wish *wish = arg;
	struct entropy_device *source = entropy_find(NULL);

	if (!source)
		wish->error = -ENOSYS;
	else if (wish->length)
		wish->error = entropy_read(source, wish->memory, (uint32_t)wish->length);
}

/* No device, no entropy: a caller learns it, nothing weaker takes its place. The devices are the first CPU's. */
int getentropy(void *memory, size_t length)
{
	struct wish wish = {.memory = memory, .length = length};

	if (length > 256)
		return fail(EIO);
	cpu_run(0, read_entropy, &wish);
	return wish.error ? fail(-wish.error) : 0;
}
