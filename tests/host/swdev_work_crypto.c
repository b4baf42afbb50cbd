/*
 * Work for crypto devices, in sessions that are opened and closed for each piece of it; and lies of their own.
 */
#include <errno.h>
#include <string.h>

#include <class/crypto.h>
#include <virtio/virtio.h>

#include "algorithms.h"
#include "swdev_crypto.h"
#include "swdev_impl.h"
#include "swdev_work_impl.h"

#define OPERATIONS 3u /* each may take until the device is given up */
#define BYTES 2048u

static const uint8_t key[16] = "key of 16 bytes", iv[16] = "iv of 16 bytes!";

static int run(const char *name, struct swdev_item *item)
{
	const struct crypto_setup setups[OPERATIONS] = {
		{.service = CRYPTO_CIPHER, .algorithm = CRYPTO_AES_CBC, .key = key, .key_bytes = 16},
		{.service = CRYPTO_MAC, .algorithm = CRYPTO_HMAC_SHA_256, .key = key, .key_bytes = 16, .result_bytes = 32},
		{.service = CRYPTO_HASH, .algorithm = CRYPTO_SHA_256, .result_bytes = 32},
	};
	struct crypto_setup setup = setups[item->index];
	struct crypto_device *device = crypto_find(name);
	struct crypto_request request = {.src = item->out, .src_bytes = BYTES, .result = item->in};
	uint8_t expected[BYTES];
	int error;

	if (!device)
		return -ENODEV;
	setup.stateless = setup.service == CRYPTO_MAC && device->stateless >> CRYPTO_MAC & 1;
	if (setup.service == CRYPTO_CIPHER) {
		request.iv = iv;
		request.iv_bytes = 16;
		request.dst = item->in;
		request.dst_bytes = BYTES;
		aes_cbc(key, 16, iv, false, item->out, expected, BYTES);
	} else if (setup.service == CRYPTO_MAC) {
		hmac_sha256(key, 16, item->out, BYTES, expected);
	} else {
		sha256(item->out, BYTES, expected);
	}
	error = crypto_open(device, &setup, &request.session);
	if (error)
		return error;
	error = crypto_run(&request);
	crypto_close(request.session);
	item->work->wrong |= !error && memcmp(item->in, expected, setup.service == CRYPTO_CIPHER ? BYTES : 32) != 0;
	return error;
}

static bool begin(struct swdev_work *work)
{
	char name[16];
	bool good = true;

	strcpy(name, work->dev->vdev->name);
	if (work->dev->vdev->state != VIRTIO_RUNNING)
		return false;
	for (unsigned i = 0; i < work->amount; i++) {
		if (i < OPERATIONS && good)
			good = run(name, &work->items[i]) == 0;
		swdev_work_ended(&work->items[i], good);
	}
	return true;
}

static const struct swdev_workload crypto_load = {.type = &swdev_crypto, .begin = begin};
LINKER_ENTRY(swdev_workloads, crypto_load);

/* ---- lies ---- */

static void comes_and_goes(struct swdev *dev)
{
	dev->lies_told++;
	if (dev->status & ST_DRIVER_OK)
		swdev_crypto_ready(dev, dev->looks % 3);
}

static void absurd_status(struct swdev *dev)
{
	dev->lies_told++;
	swdev_crypto_of(dev)->lie_status = 0x77;
}

static void one_id(struct swdev *dev)
{
	dev->lies_told++;
	swdev_crypto_of(dev)->same_id = true;
}

#define CONFIG(at) .reg = REG_CONFIG, .index = at, .op = OP_SET

static const struct swdev_lie crypto_lies[] = {
	{"crypto hardware never ready", 0, .type = &swdev_crypto, CONFIG(0), .value = 0, .harmless = true},
	{"crypto hardware comes and goes", 0, .type = &swdev_crypto, .at_look = comes_and_goes, .harmless = true, .blind = true},
	{"crypto without a dataq", 0, .type = &swdev_crypto, CONFIG(4), .value = 0, .says = "max_dataqueues"},
	{"crypto of 2^32-1 dataqs", 0, .type = &swdev_crypto, CONFIG(4), .value = UINT32_MAX, .says = "max_dataqueues"},
	{"crypto of 60000 dataqs", 0, .type = &swdev_crypto, CONFIG(4), .value = 60000, .says = "is not there"},
	{"crypto services without an algorithm", 0, .type = &swdev_crypto, CONFIG(12), .value = 0, .harmless = true},
	{"crypto algorithms of all kinds", 0, .type = &swdev_crypto, CONFIG(12), .value = UINT32_MAX, .harmless = true,
         .works = true},
	{"crypto keys of no bytes", 0, .type = &swdev_crypto, CONFIG(36), .value = 0, .harmless = true},
	{"crypto requests of no bytes", 0, .type = &swdev_crypto, CONFIG(48), .value = 0, .harmless = true},
	{"crypto with an absurd status", 0, .type = &swdev_crypto, .setup = absurd_status, .harmless = true},
	{"crypto sessions of one id", 0, .type = &swdev_crypto, .setup = one_id, .harmless = true, .works = true},
	{},
};
SWDEV_LIES(crypto_lies);
