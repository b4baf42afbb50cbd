/*
 * The shell's `crypto`: what devices can, and files through them.
 */
#include "shell.h"

#include <errno.h>
#include <string.h>

#include <base/log.h>
#include <base/page.h>
#include <class/crypto.h>
#include <class/file.h>

#define PART CRYPTO_DATA_MAX

static const struct algorithm {
	const char *name;
	uint8_t service, number, result_bytes, rsa_hash;
} algorithms[] = {
	{"aes-ecb", CRYPTO_CIPHER, CRYPTO_AES_ECB, 0, 0},
	{"aes-cbc", CRYPTO_CIPHER, CRYPTO_AES_CBC, 0, 0},
	{"aes-ctr", CRYPTO_CIPHER, CRYPTO_AES_CTR, 0, 0},
	{"aes-xts", CRYPTO_CIPHER, CRYPTO_AES_XTS, 0, 0},
	{"3des-cbc", CRYPTO_CIPHER, CRYPTO_3DES_CBC, 0, 0},
	{"sha1", CRYPTO_HASH, CRYPTO_SHA1, 20, 0},
	{"sha256", CRYPTO_HASH, CRYPTO_SHA_256, 32, 0},
	{"hmac-sha1", CRYPTO_MAC, CRYPTO_HMAC_SHA1, 20, 0},
	{"hmac-sha256", CRYPTO_MAC, CRYPTO_HMAC_SHA_256, 32, 0},
	{"aes-gcm", CRYPTO_AEAD, CRYPTO_GCM, 16, 0},
	{"rsa-sha1", CRYPTO_AKCIPHER, CRYPTO_RSA, 0, CRYPTO_RSA_SHA1},
	{"rsa-sha256", CRYPTO_AKCIPHER, CRYPTO_RSA, 0, CRYPTO_RSA_SHA256},
};
static const char *const ops[] = {"encrypt", "decrypt", "sign", "verify"};

static void list(void)
{
	for (struct crypto_device *device = crypto_find(NULL); device; device = crypto_next(device)) {
		console_line("%s%s", device->node.name, device->ready ? "" : ", not ready");
		for (unsigned i = 0; i < ARRAY_SIZE(algorithms); i++)
			if (crypto_has(device, algorithms[i].service, algorithms[i].number))
				console_line("  %s", algorithms[i].name);
	}
}

/* Where the bytes of a file are. */
struct part {
	uint8_t *memory; /* PART */
	uint32_t bytes;
};

static int load(const char *path, struct part *part)
{
	const char *rest = "";
	struct file_tree *tree = file_tree_of(path, &rest);
	struct file *file;
	int count = tree ? file_open(tree, rest, FILE_READ, 0, &file) : -ENODEV;

	if (count)
		return count;
	count = file_read(file, 0, part->memory, PART);
	file_close(file);
	part->bytes = count < 0 ? 0 : (uint32_t)count;
	return count < 0 ? count : 0;
}

static int store(const char *path, const struct part *part)
{
	const char *rest = "";
	struct file_tree *tree = file_tree_of(path, &rest);
	struct file *file;
	int count = tree ? file_open(tree, rest, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, 0644, &file) : -ENODEV;

	if (count)
		return count;
	count = file_write(file, 0, part->memory, part->bytes);
	file_close(file);
	return count < 0 ? count : (uint32_t)count < part->bytes ? -ENOSPC : 0;
}

/* The length at `at` in DER; what is behind it. */
static const uint8_t *der_length(const uint8_t *at, uint32_t *bytes)
{
	unsigned more = *at & 0x80 ? *at & 3 : 0;

	*bytes = more ? 0 : *at;
	for (at++; more; more--)
		*bytes = *bytes << 8 | *at++;
	return at;
}

/* Bytes of the modulus of an RSA key in PKCS #1, and of all that is made with it: a sequence, of a private key the version, the modulus with
 * a sign before it. */
static uint32_t modulus_bytes(const uint8_t *key, bool private_key)
{
	uint32_t bytes;
	const uint8_t *at = der_length(key + 1, &bytes) + (private_key ? 3 : 0);

	at = der_length(at + 1, &bytes);
	return bytes && !*at ? bytes - 1 : bytes;
}

enum { KEY, IN, OUT, IV, PARTS };

static int run(const char *name, enum crypto_op op, const struct algorithm *algorithm, struct part *parts)
{
	struct crypto_device *device = crypto_find(name);
	bool cipher = algorithm->service == CRYPTO_CIPHER || algorithm->service == CRYPTO_AEAD;
	const struct crypto_setup setup = {.service = algorithm->service,
	                                   .algorithm = algorithm->number,
	                                   .decrypt = cipher && op == CRYPTO_DECRYPT,
	                                   .key = parts[KEY].memory,
	                                   .key_bytes = algorithm->service == CRYPTO_HASH ? 0 : parts[KEY].bytes,
	                                   .result_bytes = algorithm->result_bytes,
	                                   .private_key = op == CRYPTO_DECRYPT || op == CRYPTO_SIGN,
	                                   .padding = CRYPTO_RSA_PKCS1,
	                                   .rsa_hash = algorithm->rsa_hash};
	struct crypto_request request = {.op = op,
	                                 .iv = parts[IV].memory,
	                                 .iv_bytes = parts[IV].bytes,
	                                 .src = parts[IN].memory,
	                                 .src_bytes = parts[IN].bytes,
	                                 .aad = parts[OUT].memory,
	                                 .dst = parts[OUT].memory,
	                                 .result = parts[OUT].memory};
	int error = device ? crypto_open(device, &setup, &request.session) : -ENODEV;

	if (error)
		return error;
	if (cipher)
		request.dst_bytes = setup.decrypt ? request.src_bytes - MIN(algorithm->result_bytes, request.src_bytes)
		                                  : request.src_bytes + algorithm->result_bytes;
	else if (algorithm->service == CRYPTO_AKCIPHER && op == CRYPTO_VERIFY)
		request.signed_bytes = parts[OUT].bytes;
	else if (algorithm->service == CRYPTO_AKCIPHER)
		request.dst_bytes = modulus_bytes(setup.key, setup.private_key);
	error = crypto_run(&request);
	crypto_close(request.session);
	parts[OUT].bytes = request.dst_bytes ? request.written : algorithm->result_bytes;
	return error;
}

static int with_files(char **words, enum crypto_op op, const struct algorithm *algorithm, struct part *parts)
{
	int error = 0;

	for (unsigned i = KEY; i < PARTS && !error && words[4 + i]; i++)
		if (i != OUT || op == CRYPTO_VERIFY)
			error = load(words[4 + i], &parts[i]);
	error = error ? error : run(words[1], op, algorithm, parts);
	return error || op == CRYPTO_VERIFY ? error : store(words[4 + OUT], &parts[OUT]);
}

static void shell_crypto(unsigned count, char **words)
{
	const struct algorithm *algorithm = NULL;
	struct part parts[PARTS] = {};
	unsigned op = 0;
	uint8_t *memory;
	int error;

	if (count == 1) {
		list();
		return;
	}
	while (op < ARRAY_SIZE(ops) && count > 2 && strcmp(words[2], ops[op]) != 0)
		op++;
	for (unsigned i = 0; i < ARRAY_SIZE(algorithms) && count >= 7; i++)
		if (!strcmp(words[3], algorithms[i].name))
			algorithm = &algorithms[i];
	if (op == ARRAY_SIZE(ops) || !algorithm) {
		shell_usage(words);
		return;
	}
	memory = page_alloc(PARTS * PART, PAGE_SIZE);
	for (unsigned i = 0; i < PARTS; i++)
		parts[i].memory = memory + (size_t)i * PART;
	error = memory ? with_files(words, op, algorithm, parts) : -ENOMEM;
	page_free(memory, PARTS * PART);
	if (error)
		shell_error(words[1], words[2], error);
	else
		console_line("%s: done", words[1]);
}

SHELL_COMMAND(crypto, "crypto [NAME encrypt|decrypt|sign|verify ALGORITHM KEY IN OUT [IV]]", "files, /TREE/..., through a device",
              shell_crypto, 0, 7);
