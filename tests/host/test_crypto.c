/*
 * The crypto driver: what it asks of the device in each form that "Data Virtqueue" knows, and what becomes of its sessions.
 */
#include <errno.h>

#include "check_swdev.h"

#include <base/event.h>
#include <base/page.h>
#include <class/crypto.h>
#include <virtio/virtio.h>

#include "algorithms.h"
#include "bounce.h"
#include "swdev_crypto.h"
#include "swdev_impl.h"
#include "swdev_work.h"

#define MIB (1u << 20)
#define IN memory
#define OUT (memory + MIB)
#define AAD (memory + 2 * MIB)
#define DIGEST (AAD + PAGE_SIZE)
#define MEMORY (2u * MIB + 4 * PAGE_SIZE)
static uint8_t *memory;

static const uint8_t keys[64] = "sixty-four bytes, of which most algorithms want the first only..", iv[16] = "sixteen of IV...";

/* Without REVISION_1; with it; and with the stateless mode of all services. */
static const uint64_t forms[] = {0, 1, 0x3f};
#define FOR_EACH_FORM(form, packed)                                                                                              \
	for (const uint64_t *form = forms; form < forms + 3; form++)                                                             \
		for (unsigned packed = 0; packed < 2; packed++)

static struct swdev *plug(uint64_t form, bool packed)
{
	struct swdev *dev = swdev_new(&swdev_crypto);

	dev->offered = (dev->offered & ~UINT64_C(0x3f)) | form | FEATURE(F_RING_RESET) | (packed ? FEATURE(F_RING_PACKED) : 0);
	plug_in(dev, &swdev_direct);
	return dev;
}

static void settle(void) { loop_sleep(1000000); }

static void fill(uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		bytes[i] = (uint8_t)(i * 7 + (i >> 8));
}

/* Open, run, close. */
static int once(const struct crypto_setup *setup, struct crypto_request *request)
{
	int error = crypto_open(crypto_find(NULL), setup, &request->session);

	if (error)
		return error;
	error = crypto_run(request);
	crypto_close(request->session);
	return error;
}

static struct crypto_session *open_cbc(void)
{
	const struct crypto_setup setup = {.algorithm = CRYPTO_AES_CBC, .key = keys, .key_bytes = 16};
	struct crypto_session *session = NULL;

	assert_int_equal(crypto_open(crypto_find(NULL), &setup, &session), 0);
	return session;
}

static struct crypto_request cbc(struct crypto_session *session, uint32_t bytes)
{
	return (struct crypto_request){.session = session,
	                               .iv = iv,
	                               .iv_bytes = 16,
	                               .src = IN,
	                               .src_bytes = bytes,
	                               .dst = OUT,
	                               .dst_bytes = bytes};
}

static void assert_cbc(uint32_t bytes)
{
	uint8_t *expected = malloc(bytes);

	assert_true(aes_cbc(keys, 16, iv, false, IN, expected, bytes));
	assert_memory_equal(OUT, expected, bytes);
	free(expected);
}

/* ---- the software device itself, against the standards' examples (and so the driver's way to it, below) ---- */

static void algorithms_are_right(void **state)
{
	static const uint8_t key128[] = {0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6,
	                                 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c},
			     text[] = {0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96,
	                               0xe9, 0x3d, 0x7e, 0x11, 0x73, 0x93, 0x17, 0x2a},
			     ecb[] = {0x3a, 0xd7, 0x7b, 0xb4, 0x0d, 0x7a, 0x36, 0x60,
	                              0xa8, 0x9e, 0xca, 0xf3, 0x24, 0x66, 0xef, 0x97},
			     abc[] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40},
			     jefe[] = {0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e},
			     xts[] = {0x91, 0x7c, 0xf6, 0x9e, 0xbd, 0x68, 0xb2, 0xec,
	                              0x9b, 0x9f, 0xe9, 0xa3, 0xea, 0xdd, 0xa6, 0x92},
			     gcm_tag[] = {0xab, 0x6e, 0x47, 0xd4, 0x2c, 0xec, 0x13, 0xbd}, zeros[32];
	uint8_t out[32], tag[16];

	(void)state;
	assert_true(aes_ecb(key128, 16, false, text, out, 16));
	assert_memory_equal(out, ecb, 16);
	assert_true(aes_ecb(key128, 16, true, ecb, out, 16));
	assert_memory_equal(out, text, 16);
	assert_true(aes_xts(zeros, 32, zeros, false, zeros, out, 16));
	assert_memory_equal(out, xts, 16);
	assert_true(aes_gcm(zeros, 16, zeros, false, NULL, 0, zeros, out, 16, tag));
	assert_memory_equal(tag, gcm_tag, 8);
	sha256((const uint8_t *)"abc", 3, out);
	assert_memory_equal(out, abc, 11);
	hmac_sha256((const uint8_t *)"Jefe", 4, (const uint8_t *)"what do ya want for nothing?", 28, out);
	assert_memory_equal(out, jefe, 8);
}

/* ---- services ---- */

static void check_cipher(uint8_t algorithm, uint32_t key_bytes, bool stateless)
{
	struct crypto_setup setup = {.algorithm = algorithm, .key = keys, .key_bytes = key_bytes, .stateless = stateless};
	struct crypto_request request = cbc(NULL, 4096);
	uint8_t expected[4096];

	if (algorithm == CRYPTO_AES_ECB) {
		request.iv_bytes = 0;
		aes_ecb(keys, key_bytes, false, IN, expected, 4096);
	} else if (algorithm == CRYPTO_AES_CBC) {
		aes_cbc(keys, key_bytes, iv, false, IN, expected, 4096);
	} else if (algorithm == CRYPTO_AES_CTR) {
		aes_ctr(keys, key_bytes, iv, IN, expected, 4096);
	} else {
		aes_xts(keys, key_bytes, iv, false, IN, expected, 4096);
	}
	assert_int_equal(once(&setup, &request), 0);
	assert_int_equal(request.written, 4096);
	assert_memory_equal(OUT, expected, 4096);
	setup.decrypt = true;
	request.src = OUT;
	request.dst = AAD;
	assert_int_equal(once(&setup, &request), 0);
	assert_memory_equal(AAD, IN, 4096);
}

static void ciphers(void **state)
{
	(void)state;
	FOR_EACH_FORM(form, packed)
	{
		struct swdev *dev = plug(*form, packed);

		for (unsigned stateless = 0; stateless <= (*form == 0x3f); stateless++) {
			check_cipher(CRYPTO_AES_ECB, 16, stateless);
			check_cipher(CRYPTO_AES_CBC, 24, stateless);
			check_cipher(CRYPTO_AES_CBC, 32, stateless);
			check_cipher(CRYPTO_AES_CTR, 16, stateless);
			check_cipher(CRYPTO_AES_XTS, 64, stateless);
		}
		assert_int_equal(swdev_crypto_of(dev)->created, 10);
		assert_int_equal(swdev_crypto_of(dev)->destroyed, 10);
		assert_int_equal(swdev_crypto_of(dev)->stateless, *form == 0x3f ? 10 : 0);
		pull_out(dev);
	}
}

static void digests(void **state)
{
	(void)state;
	FOR_EACH_FORM(form, packed)
	{
		struct swdev *dev = plug(*form, packed);

		for (unsigned stateless = 0; stateless <= (*form == 0x3f); stateless++) {
			const struct crypto_setup hash = {.service = CRYPTO_HASH,
			                                  .algorithm = CRYPTO_SHA_256,
			                                  .result_bytes = 32,
			                                  .stateless = stateless},
						  mac = {.service = CRYPTO_MAC,
			                                 .algorithm = CRYPTO_HMAC_SHA_256,
			                                 .key = keys,
			                                 .key_bytes = 40,
			                                 .result_bytes = 32,
			                                 .stateless = stateless};
			struct crypto_request request = {.src = IN, .src_bytes = 1000, .result = DIGEST};
			uint8_t expected[32];

			sha256(IN, 1000, expected);
			assert_int_equal(once(&hash, &request), 0);
			assert_memory_equal(DIGEST, expected, 32);
			hmac_sha256(keys, 40, IN, 1000, expected);
			assert_int_equal(once(&mac, &request), 0);
			assert_memory_equal(DIGEST, expected, 32);
			request.src_bytes = 0;
			sha256(NULL, 0, expected);
			assert_int_equal(once(&hash, &request), 0);
			assert_memory_equal(DIGEST, expected, 32);
		}
		pull_out(dev);
	}
}

static void sealed(void **state)
{
	(void)state;
	FOR_EACH_FORM(form, packed)
	{
		struct swdev *dev = plug(*form, packed);

		for (unsigned stateless = 0; stateless <= (*form == 0x3f); stateless++) {
			struct crypto_setup setup = {.service = CRYPTO_AEAD,
			                             .algorithm = CRYPTO_GCM,
			                             .key = keys,
			                             .key_bytes = 16,
			                             .result_bytes = 16,
			                             .aad_bytes = 100,
			                             .stateless = stateless};
			struct crypto_request request = cbc(NULL, 500);
			uint8_t expected[500], tag[16];

			request.iv_bytes = 12;
			request.aad = AAD;
			request.dst_bytes = 515;
			assert_int_equal(once(&setup, &request), -EINVAL); /* no room for the tag */
			request.dst_bytes = 516;
			fill(AAD, 100);
			aes_gcm(keys, 16, iv, false, AAD, 100, IN, expected, 500, tag);
			assert_int_equal(once(&setup, &request), 0);
			assert_int_equal(request.written, 516);
			assert_memory_equal(OUT, expected, 500);
			assert_memory_equal(OUT + 500, tag, 16);

			setup.decrypt = true;
			request.src = OUT;
			request.src_bytes = 516;
			request.dst = DIGEST;
			request.dst_bytes = 500;
			assert_int_equal(once(&setup, &request), 0);
			assert_memory_equal(DIGEST, IN, 500);
			AAD[99]++;
			assert_int_equal(once(&setup, &request), -EBADMSG);
		}
		pull_out(dev);
	}
}

static void check_chain(struct swdev *dev, unsigned order, bool mac, bool stateless)
{
	const struct crypto_setup setup = {.algorithm = CRYPTO_AES_CBC,
	                                   .key = keys,
	                                   .key_bytes = 16,
	                                   .chain = order,
	                                   .hash_service = mac ? CRYPTO_MAC : CRYPTO_HASH,
	                                   .hash = mac ? CRYPTO_HMAC_SHA_256 : CRYPTO_SHA_256,
	                                   .auth_key = keys + 16,
	                                   .auth_key_bytes = mac ? 20 : 0,
	                                   .result_bytes = 32,
	                                   .aad_bytes = 13,
	                                   .stateless = stateless};
	struct crypto_request request = cbc(NULL, 1024);
	uint8_t expected[1024], all[13 + 900], digest[32];

	(void)dev;
	request.aad = AAD;
	request.result = DIGEST;
	request.cipher_start = 16;
	request.cipher_bytes = 512;
	request.hash_start = 100;
	request.hash_bytes = 900;
	memcpy(expected, IN, 1024);
	aes_cbc(keys, 16, iv, false, IN + 16, expected + 16, 512);
	memcpy(all, AAD, 13);
	memcpy(all + 13, (order == CRYPTO_CIPHER_THEN_HASH ? expected : IN) + 100, 900);
	if (mac)
		hmac_sha256(keys + 16, 20, all, sizeof(all), digest);
	else
		sha256(all, sizeof(all), digest);
	assert_int_equal(once(&setup, &request), 0);
	assert_memory_equal(OUT, expected, 1024);
	assert_memory_equal(DIGEST, digest, 32);
}

static void chains(void **state)
{
	(void)state;
	FOR_EACH_FORM(form, packed)
	{
		struct swdev *dev = plug(*form, packed);

		fill(AAD, 13);
		for (unsigned i = 0; i < (*form == 0x3f ? 8 : 4); i++)
			check_chain(dev, i & 1 ? CRYPTO_HASH_THEN_CIPHER : CRYPTO_CIPHER_THEN_HASH, i & 2, i & 4);
		pull_out(dev);
	}
}

static void asymmetric(void **state)
{
	(void)state;
	FOR_EACH_FORM(form, packed)
	{
		struct swdev *dev = plug(*form, packed);

		for (unsigned stateless = 0; stateless <= (*form == 0x3f); stateless++) {
			struct crypto_setup setup = {.service = CRYPTO_AKCIPHER,
			                             .algorithm = CRYPTO_RSA,
			                             .key = keys,
			                             .key_bytes = 60,
			                             .private_key = true,
			                             .padding = CRYPTO_RSA_PKCS1,
			                             .rsa_hash = CRYPTO_RSA_SHA256,
			                             .stateless = stateless};
			struct crypto_request request = {.op = CRYPTO_SIGN,
			                                 .src = IN,
			                                 .src_bytes = 20,
			                                 .dst = OUT,
			                                 .dst_bytes = 33};

			setup.algorithm = CRYPTO_ECDSA;
			setup.curve = CRYPTO_P256;
			assert_int_equal(once(&setup, &request), 0);
			assert_int_equal(request.written, 32); /* less than there is room for */
			setup.algorithm = CRYPTO_RSA;
			assert_int_equal(once(&setup, &request), -EIO); /* is none for RSA: it was cut off */
			request.dst_bytes = 32;
			assert_int_equal(once(&setup, &request), 0);
			assert_int_equal(request.written, 32);
			setup.private_key = false;
			request = (struct crypto_request){.op = CRYPTO_VERIFY,
			                                  .src = OUT,
			                                  .src_bytes = 32,
			                                  .aad = IN,
			                                  .signed_bytes = 20};
			assert_int_equal(once(&setup, &request), 0);
			OUT[3]++;
			assert_int_equal(once(&setup, &request), -EBADMSG);
			request = (struct crypto_request){.op = CRYPTO_ENCRYPT,
			                                  .src = IN,
			                                  .src_bytes = 33,
			                                  .dst = OUT,
			                                  .dst_bytes = 33};
			assert_int_equal(once(&setup, &request), 0);
			assert_int_equal(request.written, 33);
			assert_memory_not_equal(OUT, IN, 33);
			setup.private_key = true;
			request = (struct crypto_request){.op = CRYPTO_DECRYPT,
			                                  .src = OUT,
			                                  .src_bytes = 33,
			                                  .dst = AAD,
			                                  .dst_bytes = 64};
			assert_int_equal(once(&setup, &request), 0);
			assert_memory_equal(AAD, IN, 33);
			request.op = CRYPTO_ENCRYPT; /* with a private key: the device will not */
			assert_int_equal(once(&setup, &request), -EIO);
		}
		pull_out(dev);
	}
}

/* ---- limits ---- */

/* What the configuration does not allow does not reach the device, which would call it a violation. */
static void setups_not_offered(void **state)
{
	struct swdev *dev = swdev_new(&swdev_crypto);
	const struct crypto_setup good = {.algorithm = CRYPTO_AES_CBC, .key = keys, .key_bytes = 16};
	struct crypto_setup bad[12];
	static const int errors[12] = {-ENOTSUP, -ENOTSUP, -ENOTSUP, -ENOTSUP, -EINVAL,  -EINVAL,
	                               -EINVAL,  -EINVAL,  -EINVAL,  -EINVAL,  -ENOTSUP, -EINVAL};
	struct crypto_session *session = NULL;

	(void)state;
	host_console_capture(true);
	put32(dev->config + 8, 0x1f & ~(1u << CRYPTO_AEAD)); /* its algorithms are none without the service */
	put32(dev->config + 12, get32(dev->config + 12) | 1u << 31 | 1);
	put32(dev->config + 36, 32);
	put32(dev->config + 40, 20);
	dev->offered &= ~FEATURE(CRYPTO_F_STATELESS);
	assert_int_equal(swdev_plug(dev, &swdev_direct), 0);
	assert_true(crypto_find(NULL)->algorithms[CRYPTO_CIPHER] ==
	            (1 << CRYPTO_AES_ECB | 1 << CRYPTO_AES_CBC | 1 << CRYPTO_AES_CTR | 1 << CRYPTO_AES_XTS));
	for (unsigned i = 0; i < 12; i++)
		bad[i] = good;
	bad[0].algorithm = CRYPTO_3DES_CBC;
	bad[1].algorithm = 31;
	bad[2].service = CRYPTO_AEAD, bad[2].algorithm = CRYPTO_GCM;
	bad[3].stateless = true;
	bad[4].key_bytes = 33;
	bad[5].auth_key_bytes = 1;
	bad[6].aad_bytes = 1;
	bad[7].result_bytes = 1;
	bad[8].service = CRYPTO_MAC, bad[8].algorithm = CRYPTO_HMAC_SHA_256, bad[8].key_bytes = 21;
	bad[9].service = CRYPTO_HASH, bad[9].algorithm = CRYPTO_SHA_256; /* with a key */
	bad[10].chain = CRYPTO_HASH_THEN_CIPHER, bad[10].hash_service = CRYPTO_HASH, bad[10].hash = CRYPTO_SHA1;
	bad[11].chain = CRYPTO_HASH_THEN_CIPHER, bad[11].hash_service = CRYPTO_MAC, bad[11].hash = CRYPTO_HMAC_SHA_256,
	bad[11].auth_key_bytes = 21;
	for (unsigned i = 0; i < 12; i++)
		assert_int_equal(crypto_open(crypto_find(NULL), &bad[i], &session), errors[i]);
	assert_int_equal(swdev_crypto_of(dev)->created, 0);
	pull_out(dev);
}

static void requests_that_cannot_be(void **state)
{
	struct swdev *dev = plug(0x3f, false);
	struct crypto_session *session = open_cbc();
	struct crypto_request bad[8];
	static const int errors[8] = {-EINVAL, -EINVAL, -EINVAL, -EINVAL, -EMSGSIZE, -EMSGSIZE, -EMSGSIZE, -EINVAL};

	(void)state;
	for (unsigned i = 0; i < 8; i++)
		bad[i] = cbc(session, 64);
	bad[0].dst_bytes = 63;
	bad[1].iv_bytes = 17;
	bad[2].dst = IN + 63;
	bad[3].signed_bytes = 1;
	bad[4].dst_bytes = MIB + 1;
	bad[5].src_bytes = bad[5].dst_bytes = MIB + 16;
	bad[5].dst = OUT + 16;
	crypto_find(NULL)->content_max = 16 + 64 + 64; /* as if the device had said so */
	bad[6].src_bytes = bad[6].dst_bytes = 80;
	bad[7].src_bytes = UINT32_MAX;
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(crypto_run(&bad[i]), errors[i]);
	assert_int_equal(swdev_crypto_of(dev)->by_session, 0);
	bad[0] = cbc(session, 64);
	assert_int_equal(crypto_run(&bad[0]), 0);
	crypto_close(session);
	pull_out(dev);
}

/* Also through a DMA backend that poisons what the device has. */
static void large(void **state)
{
	(void)state;
	for (unsigned bounced = 0; bounced < 2; bounced++) {
		struct swdev *dev = swdev_new(&swdev_crypto);
		struct crypto_session *session;
		struct crypto_request request;

		host_console_capture(true);
		if (bounced)
			bounce_open(dev);
		assert_int_equal(swdev_plug(dev, &swdev_direct), 0);
		session = open_cbc();
		request = cbc(session, MIB);
		assert_int_equal(crypto_run(&request), 0);
		assert_cbc(MIB);
		crypto_close(session);
		pull_out(dev);
		if (bounced)
			bounce_close();
	}
}

static void refused(void **state)
{
	static const uint32_t queues[] = {0, UINT16_MAX, UINT32_MAX};

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct swdev *dev = swdev_new(&swdev_crypto);

		host_console_capture(true);
		put32(dev->config + 4, queues[i]);
		assert_int_not_equal(swdev_plug(dev, &swdev_direct), 0);
		assert_null(crypto_find(NULL));
		assert_int_equal(count_in(host_console_text(), "max_dataqueues is"), 2); /* the log line, the record */
		pull_out(dev);
	}
}

/* ---- life ---- */

#define REQUESTS 200u
static struct crypto_request requests[REQUESTS];
static unsigned done[REQUESTS], ended;

static void request_done(struct crypto_request *request)
{
	done[request - requests]++;
	ended++;
}

/* Each with 512 bytes of its own. */
static void submit_all(struct crypto_session *session)
{
	ended = 0;
	memset(done, 0, sizeof(done));
	memset(OUT, 0, REQUESTS * 512);
	for (unsigned i = 0; i < REQUESTS; i++) {
		requests[i] = cbc(session, 512);
		requests[i].src = IN + i * 512;
		requests[i].dst = OUT + i * 512;
		requests[i].done = request_done;
		assert_int_equal(crypto_submit(&requests[i]), 0);
	}
}

/* How many succeeded; those have what they should. */
static unsigned check_all(int otherwise)
{
	unsigned good = 0;

	assert_int_equal(ended, REQUESTS);
	for (unsigned i = 0; i < REQUESTS; i++) {
		uint8_t expected[512];

		assert_int_equal(done[i], 1);
		good += !requests[i].status;
		if (requests[i].status) {
			assert_int_equal(requests[i].status, otherwise);
			continue;
		}
		aes_cbc(keys, 16, iv, false, IN + i * 512, expected, 512);
		assert_memory_equal(OUT + i * 512, expected, 512);
	}
	return good;
}

static void sessions_and_queues(void **state)
{
	struct swdev *dev = plug(1, false);
	struct crypto_session *sessions[SWDEV_CRYPTO_SESSIONS], *more = NULL;
	const struct crypto_setup setup = {.algorithm = CRYPTO_AES_CBC, .key = keys, .key_bytes = 16};

	(void)state;
	assert_int_equal(dev->vdev->queue_count, SWDEV_CRYPTO_DATAQS + 1);
	for (unsigned i = 0; i < SWDEV_CRYPTO_SESSIONS; i++)
		sessions[i] = open_cbc();
	assert_int_equal(crypto_open(crypto_find(NULL), &setup, &more), -ENOSPC);
	for (unsigned i = 0; i < 2; i++) {
		submit_all(sessions[i]);
		settle();
		assert_int_equal(check_all(0), REQUESTS);
	}
	assert_int_equal(swdev_crypto_of(dev)->served[0], REQUESTS);
	assert_int_equal(swdev_crypto_of(dev)->served[1], REQUESTS);
	for (unsigned i = 0; i < SWDEV_CRYPTO_SESSIONS; i++)
		crypto_close(sessions[i]);
	assert_int_equal(swdev_crypto_sessions(dev), 0);
	crypto_close(open_cbc());
	pull_out(dev);
}

/* More dataqs than the driver uses: the others are left out, and the controlq is behind them all. */
static void very_many_queues(void **state)
{
	struct swdev_type type = swdev_crypto;
	struct swdev *dev;

	(void)state;
	type.queues = 101;
	dev = swdev_new(&type);
	put32(dev->config + 4, 100);
	assert_int_equal(swdev_plug(dev, &swdev_direct), 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(dev->vdev->queue_count, 101);
		assert_non_null(dev->vdev->queues[63]);
		assert_null(dev->vdev->queues[64]);
		assert_non_null(dev->vdev->queues[100]);
		crypto_close(open_cbc());
		assert_int_equal(swdev_crypto_sessions(dev), 0);
		swdev_needs_reset(dev);
		settle();
	}
	pull_out(dev);
}

static void hardware_not_ready(void **state)
{
	struct swdev *dev = swdev_new(&swdev_crypto);
	struct crypto_session *session = NULL;
	const struct crypto_setup setup = {.algorithm = CRYPTO_AES_CBC, .key = keys, .key_bytes = 16};

	(void)state;
	host_console_capture(true);
	put32(dev->config, 0);
	assert_int_equal(swdev_plug(dev, &swdev_direct), 0);
	assert_false(crypto_find(NULL)->ready);
	assert_int_equal(crypto_open(crypto_find(NULL), &setup, &session), -EIO); /* it never was */
	assert_int_equal(dev->queues[SWDEV_CRYPTO_DATAQS].buffers_taken, 0);
	swdev_crypto_ready(dev, true);
	settle();
	assert_true(crypto_find(NULL)->ready);
	session = open_cbc();

	swdev_crypto_ready(dev, false);
	settle();
	requests[0] = cbc(session, 128);
	assert_int_equal(crypto_run(&requests[0]), -EIO);
	assert_int_equal(dev->resets, 1); /* it did nothing wrong */
	submit_all(session);
	settle();
	assert_int_equal(ended, 0);
	assert_int_equal(swdev_crypto_of(dev)->by_session, 0);
	swdev_needs_reset(dev); /* which makes nothing ready */
	settle();
	assert_int_equal(swdev_crypto_sessions(dev), 0);
	swdev_crypto_ready(dev, true);
	settle();
	assert_int_equal(check_all(0), REQUESTS);
	crypto_close(session);
	pull_out(dev);
}

/* A reset of the device: its sessions are made anew, what it had ends with -EIO, what waited goes out. */
static void recovery(void **state)
{
	(void)state;
	FOR_EACH_FORM(form, packed)
	{
		struct swdev *dev = plug(*form, packed);
		struct crypto_session *session = open_cbc(), *other = open_cbc();
		struct crypto_request request = cbc(other, 128);
		unsigned good;

		swdev_crypto_of(dev)->holds = true;
		submit_all(session);
		settle();
		assert_int_equal(ended, 0);
		swdev_crypto_of(dev)->holds = false;
		swdev_needs_reset(dev);
		settle();
		assert_int_equal(count_in(host_console_text(), "works again"), 1);
		good = check_all(-EIO);
		assert_true(good && good < REQUESTS);
		assert_int_equal(swdev_crypto_sessions(dev), 2);
		assert_int_equal(crypto_run(&request), 0);
		crypto_close(session);
		crypto_close(other);
		assert_int_equal(swdev_crypto_of(dev)->created, 4);
		assert_int_equal(swdev_crypto_of(dev)->destroyed, 2);
		pull_out(dev);
	}
}

/* Without a session nothing is to be made anew: what waits goes out with the start. */
static void recovery_stateless(void **state)
{
	struct swdev *dev = plug(0x3f, false);
	const struct crypto_setup setup = {.algorithm = CRYPTO_AES_CBC, .key = keys, .key_bytes = 16, .stateless = true};
	struct crypto_session *session = NULL;

	(void)state;
	assert_int_equal(crypto_open(crypto_find(NULL), &setup, &session), 0);
	swdev_crypto_ready(dev, false);
	settle();
	submit_all(session);
	swdev_needs_reset(dev);
	settle();
	assert_int_equal(ended, 0);
	swdev_crypto_ready(dev, true);
	settle();
	assert_int_equal(check_all(0), REQUESTS);
	swdev_crypto_of(dev)->holds = true;
	submit_all(session);
	settle();
	swdev_crypto_of(dev)->holds = false;
	swdev_needs_reset(dev);
	settle();
	assert_true(check_all(-EIO) > 0);
	crypto_close(session);
	assert_int_equal(swdev_crypto_of(dev)->created, 0);
	pull_out(dev);
}

/* A device that does not take a session again. */
static void session_lost(void **state)
{
	struct swdev *dev = plug(1, false);
	struct crypto_session *session = open_cbc();
	struct crypto_request request = cbc(session, 128);

	(void)state;
	swdev_crypto_of(dev)->holds = true;
	swdev_needs_reset(dev);
	settle();
	submit_all(session); /* they wait for it */
	settle();
	assert_int_equal(ended, 0);
	swdev_crypto_of(dev)->lie_status = 5; /* NOSPC */
	swdev_crypto_of(dev)->holds = false;
	settle();
	assert_int_equal(check_all(-ENOSPC), 0);
	assert_int_equal(crypto_run(&request), -ENOSPC);
	swdev_crypto_of(dev)->lie_status = 0;

	/* Nor is it sent where the device has become one that cannot, nor a request. */
	put32(dev->config + 36, 15);
	swdev_needs_reset(dev);
	settle();
	assert_int_equal(crypto_run(&request), -EINVAL);
	put32(dev->config + 36, 16);
	swdev_needs_reset(dev);
	swdev_crypto_ready(dev, false);
	settle();
	submit_all(session); /* they wait, and then are too long */
	put64(dev->config + 48, 16 + 512 + 511);
	swdev_needs_reset(dev);
	settle();
	swdev_crypto_ready(dev, true);
	settle();
	assert_int_equal(check_all(-EMSGSIZE), 0);
	assert_int_equal(crypto_run(&request), 0);
	crypto_close(session);
	pull_out(dev);
}

static void queue_resets(void **state)
{
	(void)state;
	FOR_EACH_FORM(form, packed)
	{
		struct swdev *dev = plug(*form, packed);
		struct crypto_session *session = open_cbc();

		submit_all(session);
		for (unsigned i = 0; i < 6; i++) {
			swdev_crypto_of(dev)->holds = i % 2 == 0; /* in flight, and not */
			loop_turn(false, 0);
			assert_int_equal(virtio_queue_reset(dev->vdev, i % 3), 0);
		}
		swdev_crypto_of(dev)->holds = false;
		settle();
		assert_int_equal(check_all(0), REQUESTS); /* each once, and none lost */
		crypto_close(session);
		assert_int_equal(swdev_crypto_sessions(dev), 0);
		pull_out(dev);
	}
}

static void removal(void **state)
{
	(void)state;
	for (unsigned packed = 0; packed < 2; packed++) {
		uint64_t free_pages = page_count_free();
		struct swdev *dev = plug(1, packed);
		struct crypto_session *session = open_cbc();
		struct crypto_request request = cbc(session, 128);

		swdev_crypto_of(dev)->holds = true;
		submit_all(session);
		settle();
		assert_int_equal(ended, 0);
		pull_out(dev);
		assert_int_equal(ended, REQUESTS);
		for (unsigned i = 0; i < REQUESTS; i++)
			assert_true(done[i] == 1 && (requests[i].status == -EIO || requests[i].status == -ENODEV));
		assert_null(session->device);
		assert_int_equal(crypto_run(&request), -ENODEV);
		crypto_close(session);
		assert_int_equal(page_count_free(), free_pages);
	}
}

/* It takes everything and answers nothing: a reset, and all ends. */
static void never_answers(void **state)
{
	struct swdev *dev = plug(0x3f, false);
	const struct crypto_setup setup = {.algorithm = CRYPTO_AES_CBC, .key = keys, .key_bytes = 16};
	struct crypto_session *session = open_cbc(), *other = NULL;
	struct crypto_request request = cbc(session, 128);

	(void)state;
	swdev_crypto_of(dev)->holds = true;
	assert_int_equal(crypto_run(&request), -EIO);
	assert_int_equal(count_in(host_console_text(), "no answer"), 1);
	assert_int_equal(crypto_run(&request), -EIO); /* its session does not come back */
	assert_int_equal(crypto_open(crypto_find(NULL), &setup, &other), -EIO);
	swdev_crypto_of(dev)->holds = false;
	settle();
	assert_int_equal(crypto_run(&request), 0);
	crypto_close(session);
	assert_int_equal(swdev_crypto_sessions(dev), 0);
	pull_out(dev);
}

/* Answers that say what there is no word for, or say too little. */
static void absurd_answers(void **state)
{
	struct swdev *dev = plug(1, false);
	const struct crypto_setup setup = {.algorithm = CRYPTO_AES_CBC, .key = keys, .key_bytes = 16};
	static const int errors[] = {-EIO, -EBADMSG, -ENOTSUP, -EIO, -ENOSPC, -EBADMSG, -EIO};
	struct crypto_session *session = open_cbc(), *other = NULL;

	(void)state;
	for (unsigned status = 1; status < 8; status++) {
		struct crypto_request request = cbc(session, 128);

		swdev_crypto_of(dev)->lie_status = (uint8_t)status;
		assert_int_equal(crypto_run(&request), errors[status - 1]);
		assert_int_equal(crypto_open(crypto_find(NULL), &setup, &other), errors[status - 1]);
	}
	crypto_close(session);
	pull_out(dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(algorithms_are_right),
		cmocka_unit_test(ciphers),
		cmocka_unit_test(digests),
		cmocka_unit_test(sealed),
		cmocka_unit_test(chains),
		cmocka_unit_test(asymmetric),
		cmocka_unit_test(setups_not_offered),
		cmocka_unit_test(requests_that_cannot_be),
		cmocka_unit_test(large),
		cmocka_unit_test(refused),
		cmocka_unit_test(sessions_and_queues),
		cmocka_unit_test(very_many_queues),
		cmocka_unit_test(hardware_not_ready),
		cmocka_unit_test(recovery),
		cmocka_unit_test(recovery_stateless),
		cmocka_unit_test(session_lost),
		cmocka_unit_test(queue_resets),
		cmocka_unit_test(removal),
		cmocka_unit_test(never_answers),
		cmocka_unit_test(absurd_answers),
	};

	swdev_machine(64u << 20);
	memory = page_alloc(MEMORY, PAGE_SIZE);
	fill(IN, MIB);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
