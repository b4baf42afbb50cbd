/*
 * The first and only process of the Linux guest that Vireo is measured against: loads the drivers, makes Linux as fast as it gets, puts
 * load on a device, prints a record like Vireo's, and ends QEMU by its isa-debug-exit port. Static, so that nothing else boots.
 *
 * On the kernel's command line:
 *
 *   load=blk-read   load.way=uring|iopoll|pread|fio load.qd=1,2,... load.ops= load.bs=4096 load.cpus=1   the disk is /dev/vda
 *   load=net-tx     load.burst=1,2,... load.ops= load.len=60       pktgen
 *   load=net-rx     load.ops=                                      frames are counted where the driver hands them on, then dropped
 *   load=boot       nothing but the line
 *
 * A list is measured one by one, with load.ops= operations for each (a list as long, or one number), as a boot takes longer than all of
 * them. Without load.way= it is uring, and at depth 1 pread as well.
 *
 * Requests go the cheapest way that Linux has: io_uring with a registered file and registered buffers, completions reaped and refilled
 * in batches, by interrupt or (virtio_blk.poll_queues=1) polled; at depth 1 pread() is another.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define DISK "/dev/vda"
#define NETWORK "eth0"
#define DEPTH_MAX 128u
#define CPUS_MAX 16u
#define DEBUG_EXIT 0xf4

static char cmdline[4096];

/* ---- the end, and parameters ---- */

static void end(int status)
{
	fflush(stdout);
	tcdrain(STDOUT_FILENO); /* what the serial port has not sent is lost with QEMU */
	if (ioperm(DEBUG_EXIT, 1, 1) == 0)
		outb(status ? 0x11 : 0x10, DEBUG_EXIT);
	for (;;)
		pause();
}

static void fail(const char *what)
{
	printf("load: %s: %s\n", what, strerror(errno));
	end(1);
}

static const char *word(const char *key, const char *fallback)
{
	static char values[32][128];
	static unsigned used;
	size_t length = strlen(key);

	for (const char *at = cmdline; (at = strstr(at, key)); at += length) {
		if ((at == cmdline || at[-1] == ' ') && at[length] == '=') {
			char *value = values[used++ % 32];

			snprintf(value, sizeof(values[0]), "%.*s", (int)strcspn(at + length + 1, " \n"), at + length + 1);
			return value;
		}
	}
	return fallback;
}

static unsigned long number(const char *key, const char *fallback) { return strtoul(word(key, fallback), NULL, 0); }

/* The index-th number of a list, the last one where it is shorter. */
static unsigned long listed(const char *key, const char *fallback, unsigned index)
{
	const char *at = word(key, fallback);

	for (; index && strchr(at, ','); index--)
		at = strchr(at, ',') + 1;
	return strtoul(at, NULL, 0);
}

static unsigned list_length(const char *key, const char *fallback)
{
	unsigned length = 1;

	for (const char *at = word(key, fallback); (at = strchr(at, ',')); at++)
		length++;
	return length;
}

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* The instruction counter (count.c) looks for this one. */
static inline void mark(void) { __asm__ volatile(".byte 0x0f, 0x1f, 0x80; .ascii \"VIRE\"" ::: "memory"); }

/* ---- files of the kernel's ---- */

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), status;

	if (fd < 0)
		return -1;
	status = write(fd, text, strlen(text)) < 0 ? -1 : 0;
	close(fd);
	return status;
}

static size_t get(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t length = fd < 0 ? 0 : read(fd, text, size - 1);

	if (fd >= 0)
		close(fd);
	text[length < 0 ? 0 : length] = '\0';
	return strlen(text);
}

/* In the order in which they need each other; what this machine has no use for is not harmful, what the kernel has built in is absent. */
static void load_modules(void)
{
	static const char *const names[] = {"virtio_ring",
	                                    "virtio",
	                                    "virtio_pci_legacy_dev",
	                                    "virtio_pci_modern_dev",
	                                    "virtio_pci",
	                                    "virtio_mmio",
	                                    "virtio_blk",
	                                    "failover",
	                                    "net_failover",
	                                    "virtio_net",
	                                    "pktgen"};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char path[80], options[128] = "", prefix[48];
		const char *value;
		int fd;

		if (!strcmp(names[i], "pktgen") && strcmp(word("load", ""), "net-tx"))
			continue;
		snprintf(path, sizeof(path), "/modules/%s.ko", names[i]);
		snprintf(prefix, sizeof(prefix), "%s.poll_queues", names[i]);
		value = word(prefix, NULL);
		if (value)
			snprintf(options, sizeof(options), "poll_queues=%s", value);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && syscall(SYS_finit_module, fd, options, 0) && errno != EEXIST)
			printf("load: %s: %s\n", names[i], strerror(errno));
		if (fd >= 0)
			close(fd);
	}
}

/* ---- the disk ---- */

struct job {
	pthread_t thread;
	unsigned cpu, depth, bytes;
	uint64_t ops, start, end, errors;
	uint64_t first, places, next; /* of the disk, in requests */
	const char *way;
	int file;
	uint8_t *memory;
	/* io_uring */
	int ring;
	struct io_uring_params params;
	uint32_t *sq_tail, *sq_array, *cq_head, *cq_tail, sq_mask, cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
	uint32_t tail; /* ours */
};

static pthread_barrier_t barrier;

static uint64_t next_offset(struct job *job)
{
	uint64_t at = job->first + job->next;

	job->next = job->next + 1 == job->places ? 0 : job->next + 1;
	return at * job->bytes;
}

static void ring_open(struct job *job)
{
	bool polled = !strcmp(job->way, "iopoll");
	struct iovec buffers[DEPTH_MAX];
	uint8_t *sq, *cq;

	job->params.flags = (polled ? IORING_SETUP_IOPOLL : IORING_SETUP_COOP_TASKRUN | IORING_SETUP_DEFER_TASKRUN) |
	                    IORING_SETUP_SINGLE_ISSUER;
	job->ring = (int)syscall(SYS_io_uring_setup, DEPTH_MAX, &job->params);
	if (job->ring < 0)
		fail("io_uring_setup");
	sq = mmap(NULL, job->params.sq_off.array + DEPTH_MAX * 4, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, job->ring,
	          IORING_OFF_SQ_RING);
	cq = mmap(NULL, job->params.cq_off.cqes + 2 * DEPTH_MAX * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE,
	          MAP_SHARED | MAP_POPULATE, job->ring, IORING_OFF_CQ_RING);
	job->sqes = mmap(NULL, DEPTH_MAX * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
	                 job->ring, IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || job->sqes == MAP_FAILED)
		fail("io_uring mmap");
	job->sq_tail = (uint32_t *)(sq + job->params.sq_off.tail);
	job->sq_mask = *(uint32_t *)(sq + job->params.sq_off.ring_mask);
	job->sq_array = (uint32_t *)(sq + job->params.sq_off.array);
	job->cq_head = (uint32_t *)(cq + job->params.cq_off.head);
	job->cq_tail = (uint32_t *)(cq + job->params.cq_off.tail);
	job->cq_mask = *(uint32_t *)(cq + job->params.cq_off.ring_mask);
	job->cqes = (struct io_uring_cqe *)(cq + job->params.cq_off.cqes);
	for (unsigned i = 0; i < job->depth; i++)
		buffers[i] = (struct iovec){job->memory + (size_t)i * job->bytes, job->bytes};
	if (syscall(SYS_io_uring_register, job->ring, IORING_REGISTER_BUFFERS, buffers, job->depth) ||
	    syscall(SYS_io_uring_register, job->ring, IORING_REGISTER_FILES, &job->file, 1))
		fail("io_uring_register");
}

static void ring_queue(struct job *job, unsigned slot)
{
	uint32_t at = job->tail++ & job->sq_mask;
	struct io_uring_sqe *sqe = &job->sqes[at];

	*sqe = (struct io_uring_sqe){.opcode = IORING_OP_READ_FIXED,
	                             .flags = IOSQE_FIXED_FILE,
	                             .fd = 0,
	                             .off = next_offset(job),
	                             .addr = (uintptr_t)(job->memory + (size_t)slot * job->bytes),
	                             .len = job->bytes,
	                             .buf_index = (uint16_t)slot,
	                             .user_data = slot};
	job->sq_array[at] = at;
}

/* All that is complete is reaped, as many new requests are queued, and one call hands them over and waits for the next completion. */
static void ring_run(struct job *job, uint64_t ops)
{
	uint64_t left = ops, to_queue = ops;
	unsigned queued = 0;

	for (; queued < job->depth && to_queue; queued++, to_queue--)
		ring_queue(job, queued);
	while (left) {
		uint32_t head = *job->cq_head, tail;

		__atomic_store_n(job->sq_tail, job->tail, __ATOMIC_RELEASE);
		if (syscall(SYS_io_uring_enter, job->ring, queued, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0 && errno != EINTR)
			fail("io_uring_enter");
		queued = 0;
		tail = __atomic_load_n(job->cq_tail, __ATOMIC_ACQUIRE);
		for (; head != tail; head++) {
			const struct io_uring_cqe *cqe = &job->cqes[head & job->cq_mask];

			job->errors += cqe->res != (int)job->bytes;
			left--;
			if (to_queue) {
				ring_queue(job, (unsigned)cqe->user_data);
				queued++;
				to_queue--;
			}
		}
		__atomic_store_n(job->cq_head, head, __ATOMIC_RELEASE);
	}
}

static void pread_run(struct job *job, uint64_t ops)
{
	for (; ops; ops--)
		job->errors += pread(job->file, job->memory, job->bytes, (off_t)next_offset(job)) != (ssize_t)job->bytes;
}

static void *run_job(void *argument)
{
	struct job *job = argument;
	bool ring = strcmp(job->way, "pread");
	uint64_t warm_up = job->ops / 10 + 1;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(job->cpu, &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
	job->file = open(DISK, O_RDONLY | O_DIRECT);
	if (job->file < 0)
		fail(DISK);
	job->memory = mmap(NULL, (size_t)job->depth * job->bytes, PROT_READ | PROT_WRITE,
	                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (ring)
		ring_open(job);
	(ring ? ring_run : pread_run)(job, warm_up < 2000 ? warm_up : 2000);
	pthread_barrier_wait(&barrier);
	mark();
	job->start = now();
	(ring ? ring_run : pread_run)(job, job->ops);
	job->end = now();
	mark();
	return NULL;
}

static void tune_disk(void)
{
	static const char *const settings[][2] = {{"scheduler", "none"}, {"iostats", "0"}, {"nomerges", "2"}, {"add_random", "0"}};

	for (unsigned i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		char path[80];

		snprintf(path, sizeof(path), "/sys/block/vda/queue/%s", settings[i][0]);
		if (put(path, settings[i][1]))
			printf("load: %s: %s\n", path, strerror(errno));
	}
}

static void run_fio(void)
{
	char depth[32];
	const char *arguments[] = {"/bin/fio",
	                           "--name=read",
	                           "--filename=" DISK,
	                           "--direct=1",
	                           "--rw=read",
	                           "--bs=4k",
	                           "--ioengine=io_uring",
	                           "--fixedbufs",
	                           "--registerfiles",
	                           "--iodepth_batch_complete_min=1",
	                           "--iodepth_batch_complete_max=32",
	                           "--iodepth_batch=32",
	                           "--time_based",
	                           "--runtime=2",
	                           "--output-format=json",
	                           "--gtod_reduce=1",
	                           "--thread",
	                           depth,
	                           NULL};
	int status;

	mkdir("/tmp", 0777);
	snprintf(depth, sizeof(depth), "--iodepth=%lu", number("load.qd", "32"));
	if (!fork()) {
		execv(arguments[0], (char *const *)arguments);
		fail(arguments[0]);
	}
	wait(&status);
}

static void read_disk(const char *way, unsigned depth, uint64_t wanted)
{
	static struct job jobs[CPUS_MAX];
	unsigned cpus = (unsigned)number("load.cpus", "1"), bytes = (unsigned)number("load.bs", "4096");
	uint64_t places, start = UINT64_MAX, last = 0, errors = 0, ops = 0;
	char text[64];

	if (!cpus || cpus > CPUS_MAX || !depth || depth > DEPTH_MAX || !bytes) {
		errno = EINVAL;
		fail("load.cpus, load.qd or load.bs");
	}
	get("/sys/block/vda/size", text, sizeof(text));
	places = strtoull(text, NULL, 10) * 512 / bytes / cpus;
	pthread_barrier_init(&barrier, NULL, cpus);
	for (unsigned i = 0; i < cpus; i++) {
		jobs[i] = (struct job){.cpu = i,
		                       .depth = depth,
		                       .bytes = bytes,
		                       .ops = wanted / cpus,
		                       .places = places,
		                       .first = places * i,
		                       .way = way};
		if (i)
			pthread_create(&jobs[i].thread, NULL, run_job, &jobs[i]);
	}
	run_job(&jobs[0]);
	for (unsigned i = 0; i < cpus; i++) {
		if (i)
			pthread_join(jobs[i].thread, NULL);
		start = jobs[i].start < start ? jobs[i].start : start;
		last = jobs[i].end > last ? jobs[i].end : last;
		errors += jobs[i].errors;
		ops += jobs[i].ops;
	}
	printf("@linux {\"event\":\"bench\",\"name\":\"blk-read\",\"bs\":%u,\"qd\":%u,\"mode\":\"%s\",\"cpus\":%u,\"ops\":%lu,"
	       "\"ns\":%lu,\"errors\":%lu}\n",
	       bytes, depth, way, cpus, ops, last - start, errors);
}

static void bench_disk(void)
{
	const char *way = word("load.way", NULL);

	tune_disk();
	if (way && !strcmp(way, "fio")) {
		run_fio();
		return;
	}
	for (unsigned i = 0; i < list_length("load.qd", "32"); i++) {
		unsigned depth = (unsigned)listed("load.qd", "32", i);
		uint64_t ops = listed("load.ops", "100000", i);

		read_disk(way ? way : "uring", depth, ops);
		if (!way && depth == 1)
			read_disk("pread", depth, ops);
	}
}

/* ---- the network ---- */

static void network_up(void)
{
	struct ifreq request = {0};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	put("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
	put("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
	strcpy(request.ifr_name, NETWORK);
	if (ioctl(fd, SIOCGIFFLAGS, &request))
		fail(NETWORK);
	request.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &request))
		fail("SIOCSIFFLAGS");
	close(fd);
}

static void pktgen(const char *file, const char *command)
{
	char path[80];

	snprintf(path, sizeof(path), "/proc/net/pktgen/%s", file);
	if (put(path, command))
		printf("load: pktgen %s: %s: %s\n", file, command, strerror(errno));
}

static void transmit(unsigned long count)
{
	char command[64];

	snprintf(command, sizeof(command), "count %lu", count);
	pktgen(NETWORK, command);
	pktgen("pgctrl", "start\n"); /* returns when all are sent */
}

static unsigned long result_number(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	return at ? strtoul(at + strlen(name), NULL, 10) : 0;
}

static void send_bursts(unsigned long length, unsigned long burst, unsigned long ops)
{
	char command[64], result[4096];
	unsigned long sent;

	snprintf(command, sizeof(command), "burst %lu", burst);
	pktgen(NETWORK, command);
	transmit(ops / 10 + 1);
	mark();
	transmit(ops);
	mark();
	get("/proc/net/pktgen/" NETWORK, result, sizeof(result));
	sent = result_number(result, "pkts-sofar: ");
	printf("@linux "
	       "{\"event\":\"bench\",\"name\":\"net-tx\",\"len\":%lu,\"burst\":%lu,\"mode\":\"pktgen\",\"ops\":%lu,\"ns\":%lu,"
	       "\"errors\":%lu}\n",
	       length, burst, sent, result_number(result, "Result: OK: ") * 1000, result_number(result, "errors: "));
}

static void bench_transmit(void)
{
	unsigned long length = number("load.len", "60");
	char command[64];

	network_up();
	pktgen("kpktgend_0", "add_device " NETWORK);
	snprintf(command, sizeof(command), "pkt_size %lu", length);
	pktgen(NETWORK, command);
	pktgen(NETWORK, "clone_skb 1000000000");
	pktgen(NETWORK, "delay 0");
	pktgen(NETWORK, "dst_mac ff:ff:ff:ff:ff:ff");
	for (unsigned i = 0; i < list_length("load.burst", "32"); i++)
		send_bursts(length, listed("load.burst", "32", i), listed("load.ops", "100000", i));
}

static uint64_t received(void)
{
	char text[64];

	get("/sys/class/net/" NETWORK "/statistics/rx_packets", text, sizeof(text));
	return strtoull(text, NULL, 10);
}

static uint64_t await(uint64_t count, uint64_t *when)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	uint64_t have;

	while ((have = received()) < count)
		nanosleep(&pause, NULL);
	*when = now();
	return have;
}

static void bench_receive(void)
{
	unsigned long ops = number("load.ops", "100000");
	uint64_t start, last, first_count, last_count;

	network_up();
	printf("@linux {\"event\":\"ready\"}\n");
	fflush(stdout);
	first_count = await(ops / 10 + 1, &start);
	mark();
	last_count = await(first_count + ops, &last);
	mark();
	printf("@linux {\"event\":\"bench\",\"name\":\"net-rx\",\"mode\":\"irq\",\"ops\":%lu,\"ns\":%lu,\"errors\":0}\n",
	       last_count - first_count, last - start);
}

int main(void)
{
	const char *what;

	/* Static memory, one console: nothing below fails for want of these, or it says so itself. */
	mount("none", "/dev", "devtmpfs", 0, NULL);
	mount("none", "/proc", "proc", 0, NULL);
	mount("none", "/sys", "sysfs", 0, NULL);
	get("/proc/cmdline", cmdline, sizeof(cmdline));
	what = word("load", "");
	load_modules();
	if (!strcmp(what, "boot")) {
		if (access(DISK, R_OK) || access("/sys/class/net/" NETWORK, R_OK))
			fail("no disk or no network");
		printf("@linux {\"event\":\"bench\",\"name\":\"boot\",\"ns\":%lu,\"errors\":0}\n", now());
	} else if (!strcmp(what, "blk-read")) {
		bench_disk();
	} else if (!strcmp(what, "net-tx")) {
		bench_transmit();
	} else if (!strcmp(what, "net-rx")) {
		bench_receive();
	} else {
		printf("load: nothing to do for \"%s\"\n", what);
		end(1);
	}
	end(0);
}
