/*
 * The network driver's checksums, segments and hashes: what goes out is what the program asked for, what comes in is checked first.
 */
#include "check_swdev.h"

#include <errno.h>

#include <base/event.h>
#include <class/net.h>
#include <virtio/virtio.h>

#include "swdev_impl.h"
#include "swdev_types.h"

#define POOL 256u
static struct net_pool *pool;

static struct net_device *plug(struct swdev *dev, const struct swdev_front *front)
{
	plug_in(dev, front);
	return net_find(dev->vdev->name);
}

static void unplug(struct swdev *dev)
{
	pull_out(dev);
	assert_int_equal(net_pool_free_count(pool), POOL);
}

static int status;
static bool done;

static void note_done(struct net_buf *buf)
{
	status = buf->status;
	done = true;
	net_buf_free(buf);
}

/* A frame of `length` bytes in pieces, with an IPv4 TCP header of 20 bytes at 34, or so it seems. */
static int send(struct net_device *device, uint32_t length, const struct net_offload *offload)
{
	struct net_buf *head = NULL, **link = &head;

	for (uint32_t at = 0; at < length; link = &(*link)->more) {
		struct net_buf *buf = net_buf_alloc(pool);

		assert_non_null(buf);
		buf->length = MIN(length - at, buf->capacity);
		for (uint32_t i = 0; i < buf->length; i++, at++)
			buf->data[i] = at == 46 ? 0x50 : (uint8_t)(at * 7);
		*link = buf;
	}
	head->offload = *offload;
	head->done = note_done;
	done = false;
	assert_int_equal(net_tx_burst(device, &head, 1), 1);
	for (unsigned i = 0; i < 100 && !done; i++)
		loop_sleep(1000000);
	assert_true(done);
	return status;
}

static struct swdev *nic(uint64_t more)
{
	struct swdev *dev = swdev_new(&swdev_net);

	dev->offered |= more;
	return dev;
}

/* "Packet Transmission": each kind is asked for as offered, with NEEDS_CSUM, gso_size and the length of the headers; swdev_net checks. */
static void segments_go_out(void **state)
{
	static const struct net_offload kinds[] = {
		{.flags = NET_CSUM_PARTIAL, .csum_start = 34, .csum_offset = 16},
		{.flags = NET_CSUM_PARTIAL, .gso = NET_GSO_TCP4, .segment = 1448, .csum_start = 34, .csum_offset = 16},
		{.flags = NET_CSUM_PARTIAL, .gso = NET_GSO_TCP6 | NET_GSO_ECN, .segment = 1, .csum_start = 34, .csum_offset = 16},
		{.flags = NET_CSUM_PARTIAL, .gso = NET_GSO_USO, .segment = 1472, .csum_start = 34, .csum_offset = 6},
		{.flags = NET_CSUM_PARTIAL, .gso = NET_GSO_UFO, .segment = 1480, .csum_start = 34, .csum_offset = 6},
	};

	(void)state;
	for (unsigned variant = 0; variant < 8; variant++) {
		struct swdev *dev = nic(NET_F_OFFLOADS_OUT | FEATURE(NET_F_GUEST_HDRLEN));
		struct net_device *device;

		dev->offered |= variant & 1 ? FEATURE(F_RING_PACKED) : 0;
		dev->offered &= variant & 2 ? ~FEATURE(F_INDIRECT_DESC) : UINT64_MAX;
		dev->legacy = variant & 4;
		device = plug(dev, &swdev_mmio);
		for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
			uint32_t length = kinds[i].gso ? 65549 : 1514;
			struct swdev_frame *frame;

			if (variant & 4 && kinds[i].gso == NET_GSO_USO)
				continue; /* its bit is beyond the legacy interface */
			assert_int_equal(send(device, length, &kinds[i]), 0);
			frame = swdev_nic_sent(dev);
			assert_non_null(frame);
			assert_int_equal(frame->length, length);
			for (uint32_t k = 60; k < length; k++)
				assert_int_equal(frame->bytes[k], (uint8_t)(k * 7));
			assert_int_equal(swdev_nic(dev)->last[1], kinds[i].gso);
			assert_int_equal(get16(swdev_nic(dev)->last + 4), kinds[i].segment);
			free(frame);
		}
		unplug(dev);
	}
}

/* What the device does not offer, or what makes no sense, does not reach it. */
static void wrong_wishes_stay(void **state)
{
	static const struct {
		struct net_offload offload;
		int status;
		uint32_t length;
	} cases[] = {
		{{.flags = NET_CSUM_PARTIAL, .gso = NET_GSO_USO, .segment = 9, .csum_start = 34, .csum_offset = 6},
	         -ENOTSUP,
	         3000},
		{{.flags = NET_CSUM_PARTIAL, .gso = NET_GSO_TCP4 | NET_GSO_ECN, .segment = 9, .csum_start = 34}, -ENOTSUP, 3000},
		{{.flags = NET_CSUM_PARTIAL, .gso = 2, .segment = 9, .csum_start = 34}, -ENOTSUP, 3000},
		{{.flags = NET_CSUM_PARTIAL, .gso = 0x21, .segment = 9, .csum_start = 34}, -ENOTSUP, 3000},
		{{.flags = NET_CSUM_GOOD}, -EINVAL, 60},
		{{.flags = NET_CSUM_PARTIAL | NET_COALESCED}, -EINVAL, 60},
		{{.gso = NET_GSO_TCP4, .segment = 9, .csum_start = 34}, -EINVAL, 60},
		{{.flags = NET_CSUM_PARTIAL, .gso = NET_GSO_TCP4, .csum_start = 34, .csum_offset = 16}, -EINVAL, 3000},
		{{.flags = NET_CSUM_PARTIAL, .csum_start = 59}, -EINVAL, 60},
		{{.flags = NET_CSUM_PARTIAL, .csum_start = 65535, .csum_offset = 65535}, -EINVAL, 60},
		{{.flags = NET_CSUM_PARTIAL, .gso = NET_GSO_TCP4, .segment = 9, .csum_start = 1980}, -EINVAL, 3000},
		{{.flags = NET_CSUM_PARTIAL, .csum_start = 34, .csum_offset = 16}, -EINVAL, 1515},
		{{.flags = NET_CSUM_PARTIAL, .gso = NET_GSO_TCP4, .segment = 9, .csum_start = 34, .csum_offset = 16},
	         -EINVAL,
	         65590},
	};
	struct swdev *dev = nic(FEATURE(NET_F_CSUM) | FEATURE(NET_F_HOST_TSO4));
	struct net_device *device = plug(dev, &swdev_direct);

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
		if (send(device, cases[i].length, &cases[i].offload) != cases[i].status)
			fail_msg("case %u: %d", i, status);
	assert_int_equal(net_count(device).tx_errors, ARRAY_SIZE(cases));
	assert_null(swdev_nic_sent(dev));
	unplug(dev);
	dev = nic(0);
	assert_int_equal(send(plug(dev, &swdev_direct), 60, &(struct net_offload){.flags = NET_CSUM_PARTIAL}), -ENOTSUP);
	unplug(dev);
}

/* ---- receiving ---- */

static bool receive(struct swdev *dev, struct net_device *device, uint32_t length, const uint8_t header[10],
                    struct net_offload *offload)
{
	uint8_t *bytes = calloc(1, length);
	struct net_buf *buf;
	uint32_t all = 0;
	bool any;

	for (uint32_t i = 0; i < length; i++)
		bytes[i] = (uint8_t)(i * 11);
	memcpy(swdev_nic(dev)->header, header, 10);
	swdev_nic_receive(dev, bytes, length);
	loop_sleep(2000000);
	any = net_rx_burst(device, &buf, 1);
	if (any) {
		*offload = buf->offload;
		for (const struct net_buf *piece = buf; piece; all += piece->length, piece = piece->more)
			assert_memory_equal(piece->data, bytes + all, piece->length);
		assert_int_equal(all, length);
		net_buf_free(buf);
	}
	free(bytes);
	return any;
}

enum { NEEDS_CSUM = 1, DATA_VALID = 2, RSC_INFO = 4 };

/* "Processing of Incoming Packets": frames of up to 64 KiB, merged or in one long buffer, and what their headers say. */
static void segments_come_in(void **state)
{
	(void)state;
	for (unsigned variant = 0; variant < 16; variant++) {
		const uint8_t tcp[10] = {NEEDS_CSUM, 1, 54, 0, 0xa8, 5, 34, 0, 16, 0},
			      udp[10] = {NEEDS_CSUM, 5, 42, 0, 100, 0, 34, 0, 6, 0};
		const uint8_t valid[10] = {DATA_VALID, 0, 0, 0, 0, 0, 9, 9, 9, 9}, plain[10] = {0};
		struct swdev *dev = nic(NET_F_OFFLOADS_IN | FEATURE(NET_F_CTRL_VQ));
		struct net_device *device;
		struct net_offload offload;

		dev->offered |= variant & 1 ? FEATURE(F_RING_PACKED) : 0;
		dev->offered &= variant & 2 ? ~FEATURE(NET_F_MRG_RXBUF) : UINT64_MAX;
		dev->offered |= variant & 4 ? FEATURE(NET_F_HASH_REPORT) : 0;
		dev->offered &= variant & 8 ? ~FEATURE(F_INDIRECT_DESC) : UINT64_MAX;
		memcpy(swdev_nic(dev)->hash, (uint8_t[]){0x78, 0x56, 0x34, 0x12, 2, 0}, 6);
		device = plug(dev, &swdev_direct);
		assert_int_equal(device->rx_offloads, 0x7f);
		for (unsigned i = 0; i < 40; i++) {
			assert_true(receive(dev, device, 65589 - i * 1311, tcp, &offload));
			assert_int_equal(offload.flags, NET_CSUM_PARTIAL);
			assert_int_equal(offload.gso, NET_GSO_TCP4);
			assert_int_equal(offload.segment, 1448);
			assert_int_equal(offload.csum_start, 34);
			assert_int_equal(offload.csum_offset, 16);
			assert_int_equal(offload.hash_type, variant & 4 ? 2 : 0);
			assert_int_equal(variant & 4 ? offload.hash : 0x12345678, 0x12345678);
		}
		assert_true(receive(dev, device, 9000, udp, &offload));
		assert_int_equal(offload.gso, NET_GSO_USO);
		assert_true(receive(dev, device, 1514, valid, &offload));
		assert_int_equal(offload.flags, NET_CSUM_GOOD);
		assert_int_equal(offload.csum_start | offload.csum_offset, 0); /* MUST NOT be used without NEEDS_CSUM */
		assert_true(receive(dev, device, 60, plain, &offload));
		assert_int_equal(offload.flags | offload.gso, 0);
		assert_int_equal(net_count(device).rx_errors, 0);
		unplug(dev);
	}
}

/* Headers that a program could not rely on. */
static void lies_in_headers(void **state)
{
	static const uint8_t cases[][10] = {
		{NEEDS_CSUM, 0, 0, 0, 0, 0, 99, 0, 0, 0},            /* csum_start and checksum are outside */
		{NEEDS_CSUM, 0, 0, 0, 0, 0, 98, 0, 1, 0},            /* half of the checksum is */
		{NEEDS_CSUM, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, /* and their sum would wrap around */
		{NEEDS_CSUM, 1, 54, 0, 0, 0, 34, 0, 16, 0},          /* gso_size 0 */
		{0, 1, 54, 0, 9, 0, 34, 0, 16, 0},                   /* segments without NEEDS_CSUM */
		{NEEDS_CSUM, 4, 54, 0, 9, 0, 34, 0, 16, 0},          /* TSO6 was not negotiated */
		{NEEDS_CSUM, 0x81, 54, 0, 9, 0, 34, 0, 16, 0},       /* nor was ECN */
		{NEEDS_CSUM, 2, 54, 0, 9, 0, 34, 0, 16, 0},          /* no such type */
		{NEEDS_CSUM, 0x80, 54, 0, 9, 0, 34, 0, 16, 0},       /* ECN of nothing */
		{RSC_INFO, 1, 54, 0, 9, 0, 34, 0, 16, 0},            /* RSC_EXT was not negotiated */
	};
	struct swdev *dev = nic(FEATURE(NET_F_GUEST_CSUM) | FEATURE(NET_F_GUEST_TSO4));
	struct net_device *device = plug(dev, &swdev_direct);
	struct net_offload offload;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		if (receive(dev, device, 100, cases[i], &offload))
			fail_msg("case %u was accepted", i);
		assert_int_equal(net_count(device).rx_errors, i + 1);
		assert_true(receive(dev, device, 100, (uint8_t[10]){0}, &offload));
	}
	unplug(dev);

	/* RSC_EXT: the fields are counts, and no place of a checksum */
	dev = nic(FEATURE(NET_F_GUEST_CSUM) | FEATURE(NET_F_GUEST_TSO4) | FEATURE(NET_F_CSUM) | FEATURE(NET_F_HOST_TSO4) |
	          FEATURE(NET_F_RSC_EXT));
	device = plug(dev, &swdev_direct);
	assert_true(receive(dev, device, 100, (uint8_t[10]){RSC_INFO, 1, 54, 0, 9, 0, 200, 0, 201, 0}, &offload));
	assert_int_equal(offload.flags, NET_COALESCED);
	assert_int_equal(offload.csum_start, 200);
	assert_int_equal(offload.csum_offset, 201);
	unplug(dev);
}

/* "Hash reporting for incoming packets": types that are not documented, and none, tell of no hash. */
static void unknown_hashes(void **state)
{
	struct swdev *dev = nic(FEATURE(NET_F_CTRL_VQ) | FEATURE(NET_F_HASH_REPORT));
	struct net_device *device = plug(dev, &swdev_direct);
	struct net_offload offload;

	(void)state;
	for (unsigned report = 0; report < 40; report++) {
		memcpy(swdev_nic(dev)->hash, (uint8_t[]){1, 2, 3, 4, (uint8_t)report, 0}, 6);
		assert_true(receive(dev, device, 60, (uint8_t[10]){0}, &offload));
		assert_int_equal(offload.hash_type, report >= 1 && report <= 9 ? 1 << (report - 1) : 0);
	}
	unplug(dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(segments_go_out), cmocka_unit_test(wrong_wishes_stay), cmocka_unit_test(segments_come_in),
		cmocka_unit_test(lies_in_headers), cmocka_unit_test(unknown_hashes),
	};

	swdev_machine(64u << 20);
	pool = net_pool_create(POOL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
