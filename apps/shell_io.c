/*
 * The shell's `net`, `rng` and `console`.
 */
#include "shell.h"

#include <errno.h>
#include <string.h>

#include <arch/clock.h>
#include <base/cmdline.h>
#include <base/event.h>
#include <base/log.h>
#include <base/page.h>
#include <base/util.h>
#include <class/char.h>
#include <class/entropy.h>
#include <class/net.h>

#include "ping.h"

#define SECOND_NS UINT64_C(1000000000)

/* ---- net ---- */

static void net_status(void)
{
	struct net_device *device = net_find(NULL);

	if (!device)
		console_line("no network cards");
	for (; device; device = net_next(device)) {
		const struct net_counters told = net_count(device);
		const uint8_t *mac = device->mac;

		console_line("%s: %02x:%02x:%02x:%02x:%02x:%02x, mtu %u, link %s, changed %lu times", device->node.name, mac[0],
		             mac[1], mac[2], mac[3], mac[4], mac[5], device->mtu, device->link_up ? "up" : "down",
		             device->link_changes);
		console_line("  sent %lu frames, %lu bytes, %lu errors; received %lu frames, %lu bytes, %lu errors",
		             told.tx_frames, told.tx_bytes, told.tx_errors, told.rx_frames, told.rx_bytes, told.rx_errors);
	}
}

static struct net_buf *make_frame(struct net_pool *pool, const struct net_device *device, uint32_t length)
{
	struct net_buf *buf = net_buf_alloc(pool);

	if (!buf)
		return NULL;
	memset(buf->data, 0, length);
	memset(buf->data, 0xff, 6);
	memcpy(buf->data + 6, device->mac, 6);
	memcpy(buf->data + 12, "\x88\xb5", 2);
	buf->length = length;
	return buf;
}

/* Broadcast frames of the experimental type 0x88b5, zeros inside. */
static void net_send(char **words)
{
	struct net_device *device = net_find(words[2]);
	uint64_t count = 1, length = 60, sent = 0, quiet_since = clock_ns();
	struct net_buf *buf = NULL;
	struct net_pool *pool;

	if (!shell_number(words[3], "count", 1, 1000000, &count) ||
	    !shell_number(words[3] ? words[4] : NULL, "length", 60, NET_FRAME_MAX, &length))
		return;
	pool = device ? net_pool_create(32) : NULL;
	if (!pool) {
		shell_error(words[2], "send", device ? -ENOMEM : -ENODEV);
		return;
	}
	while (sent < count && clock_ns() - quiet_since < SECOND_NS) {
		buf = buf ? buf : make_frame(pool, device, (uint32_t)length);
		if (buf && net_tx_burst(device, &buf, 1)) {
			buf = NULL;
			sent++;
			quiet_since = clock_ns();
		} else {
			loop_turn(true, quiet_since + SECOND_NS);
		}
	}
	if (buf)
		net_buf_free(buf);
	quiet_since = clock_ns();
	while (net_pool_free_count(pool) < 32 && clock_ns() - quiet_since < SECOND_NS)
		loop_turn(true, quiet_since + SECOND_NS);
	console_line("%s: %lu frames sent%s", device->node.name, sent,
	             net_pool_free_count(pool) < 32 ? ", some not finished" : "");
	if (net_pool_free_count(pool) == 32)
		net_pool_destroy(pool); /* else the device still has some of the memory */
}

static void net_ping(char **words)
{
	const char *ip = cmdline_get("shell.ip");
	struct net_device *device = net_find(words[3] ? words[4] : NULL);
	uint8_t own[4] = {10, 0, 2, 15}, target[4];
	uint64_t count = 1;
	struct ping ping;
	int error;

	if (!ip_parse(words[2], target) || (ip && !ip_parse(ip, own))) {
		console_line("ping: \"%s\" is no address", ip_parse(words[2], target) ? ip : words[2]);
		return;
	}
	if (!shell_number(words[3], "count", 1, 10000, &count))
		return;
	error = device ? ping_open(&ping, device, own) : -ENODEV;
	if (error) {
		shell_error(words[2], "ping", error);
		return;
	}
	error = ping_resolve(&ping, target, 3 * SECOND_NS);
	for (uint64_t i = 0; i < count && !error; i++) {
		error = ping_once(&ping, 56, 3 * SECOND_NS);
		if (!error)
			console_line("%s answered in %lu us", words[2], ping.rtt_ns / 1000);
	}
	if (error)
		shell_error(words[2], "ping", error);
	ping_close(&ping);
}

static void shell_net(unsigned count, char **words)
{
	if (count == 1 || (count == 2 && !strcmp(words[1], "status")))
		net_status();
	else if (count >= 3 && !strcmp(words[1], "send"))
		net_send(words);
	else if (count >= 3 && !strcmp(words[1], "ping"))
		net_ping(words);
	else
		shell_usage(words);
}

/* ---- rng ---- */

static void shell_rng(unsigned count, char **words)
{
	const char *name = count == 3 ? words[1] : NULL;
	struct entropy_device *device = entropy_find(name);
	uint64_t length = 0;
	uint8_t *memory;
	int error = -ENODEV;

	if (!shell_number(words[count - 1], "count", 1, 65536, &length))
		return;
	memory = page_alloc(length, PAGE_SIZE);
	if (device)
		error = memory ? entropy_read(device, memory, (uint32_t)length) : -ENOMEM;
	if (error)
		shell_error(device ? device->node.name : "rng", "read", error);
	else
		shell_dump(0, memory, length);
	if (memory)
		page_free(memory, length);
}

/* ---- console ---- */

static int write_words(struct char_device *device, unsigned count, char **words)
{
	int error = 0;

	for (unsigned i = 0; i < count && !error; i++) {
		if (*words[i])
			error = char_write(device, words[i], (uint32_t)strlen(words[i]));
		if (!error)
			error = i + 1 < count ? char_write(device, " ", 1) : char_write(device, "\r\n", 2);
	}
	return error;
}

static void list_ports(void)
{
	for (struct char_device *device = char_next(NULL); device; device = char_next(device))
		console_line("%s \"%s\": %s, %s here, %s there, %ux%u", device->node.name, device->tag,
		             device->console ? "console" : "port", device->open ? "open" : "closed",
		             device->peer_open ? "open" : "closed", device->columns, device->rows);
}

static void read_all(struct char_device *device)
{
	uint32_t length, total = 0;
	uint8_t bytes[256];

	while ((length = char_read(device, bytes, sizeof(bytes)))) {
		shell_dump(total, bytes, length);
		total += length;
	}
	if (!total)
		console_line("%s: nothing has arrived", device->node.name);
}

static void shell_console(unsigned count, char **words)
{
	struct char_device *device = count > 2 ? char_find(words[2]) : NULL;
	bool writes = count > 3 && !strcmp(words[1], "write"), reads = count == 3 && !strcmp(words[1], "read");
	int error = 0;

	if (count == 1) {
		list_ports();
		return;
	}
	if (!writes && !reads && (count != 3 || strcmp(words[1], "close") != 0)) {
		shell_usage(words);
		return;
	}
	if (device)
		char_open(device, writes || reads);
	if (!device)
		error = -ENODEV;
	else if (writes)
		error = device->console || device->peer_open ? write_words(device, count - 3, words + 3) : -ENOTCONN;
	else if (reads)
		read_all(device);
	if (error)
		shell_error(words[2], words[1], error);
}

SHELL_COMMAND(console, "console [write NAME TEXT... | read NAME | close NAME]", "consoles and ports", shell_console, 0,
              SHELL_WORDS_MAX);
SHELL_COMMAND(net, "net status | send NAME [COUNT [LENGTH]] | ping ADDRESS [COUNT [NAME]]", "network cards", shell_net, 0, 4);
SHELL_COMMAND(rng, "rng [NAME] COUNT", "random bytes", shell_rng, 1, 2);
