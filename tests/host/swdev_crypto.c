/*
 * "Crypto Device". Every length in a request has to add up to the buffers that it comes with, byte for byte.
 */
#include "swdev_crypto.h"

#include <stdlib.h>
#include <string.h>

#include "algorithms.h"
#include "swdev_impl.h"

enum { CIPHER, HASH, MAC, AEAD, AKCIPHER, SERVICES };
enum { OK, ERR, BADMSG, NOTSUPP, INVSESS, NOSPC, KEY_REJECTED };
enum { STATUS = 0, QUEUES = 4, SERVICES_AT = 8, MAX_KEY = 36, MAX_AUTH = 40, MAX_SIZE = 48 };
enum { ECB = 2, CBC = 3, CTR = 4, XTS = 13, SHA_256 = 4, HMAC_SHA_256 = 4, GCM = 1, RSA = 1, ECDSA = 2 };

static const struct swdev_field fields[] = {
	{.offset = 0, .width = 4, .count = 12, .feature = -1},
	{.offset = 48, .width = 8, .count = 1, .feature = -1},
	{.width = 0},
};
static const uint8_t algorithms_at[SERVICES] = {12, 20, 24, 32, 44};

static void init(struct swdev *dev)
{
	dev->state = calloc(1, sizeof(struct swdev_crypto));
	swdev_crypto_of(dev)->next_id = 0x7000000000000001;
	put32(dev->config + STATUS, 1);
	put32(dev->config + QUEUES, SWDEV_CRYPTO_DATAQS);
	put32(dev->config + SERVICES_AT, (1 << SERVICES) - 1);
	put32(dev->config + 12, 1 << ECB | 1 << CBC | 1 << CTR | 1 << XTS);
	put32(dev->config + 20, 1 << SHA_256);
	put32(dev->config + 24, 1 << HMAC_SHA_256);
	put32(dev->config + 32, 1 << GCM);
	put32(dev->config + 44, 1 << RSA | 1 << ECDSA);
	put32(dev->config + MAX_KEY, 64);
	put32(dev->config + MAX_AUTH, 80);
	put64(dev->config + MAX_SIZE, SWDEV_CRYPTO_MAX_SIZE);
}

static void release(struct swdev *dev) { free(dev->state); }

static void reset(struct swdev *dev) { memset(swdev_crypto_of(dev)->sessions, 0, sizeof(swdev_crypto_of(dev)->sessions)); }

void swdev_crypto_ready(struct swdev *dev, bool ready)
{
	put32(dev->config + STATUS, ready);
	swdev_config_changed(dev);
}

static struct swdev_crypto_session *find(struct swdev *dev, uint64_t id)
{
	for (unsigned i = 0; i < SWDEV_CRYPTO_SESSIONS && id; i++)
		if (swdev_crypto_of(dev)->sessions[i].id == id)
			return &swdev_crypto_of(dev)->sessions[i];
	return NULL;
}

static bool offered(struct swdev *dev, uint32_t service, uint32_t algo)
{
	return service < SERVICES && algo < 32 && get32(dev->config + SERVICES_AT) >> service & 1 &&
	       get32(dev->config + algorithms_at[service]) >> algo & 1;
}

/* What a driver may not ask for, by what the configuration says. */
static bool allowed(struct swdev *dev, const struct swdev_crypto_params *p)
{
	bool both = p->op_type == 2;

	if (!offered(dev, p->service, p->algo) || (both && !offered(dev, p->mode == 2 ? MAC : HASH, p->hash))) {
		swdev_violation(dev, "service %u, algorithm %u, hash %u, which is not offered", p->service, p->algo, p->hash);
		return false;
	}
	if (((p->service == CIPHER || p->service == AEAD) && p->key_len > get32(dev->config + MAX_KEY)) ||
	    (p->service == MAC && p->key_len > get32(dev->config + MAX_AUTH)) ||
	    (both && p->auth_len > get32(dev->config + MAX_AUTH)) || p->key_len + p->auth_len > sizeof(p->keys)) {
		swdev_violation(dev, "keys of %u and %u bytes", p->key_len, p->auth_len);
		return false;
	}
	if ((p->service == CIPHER &&
	     (p->op_type < 1 || p->op_type > 2 || (both && (p->order < 1 || p->order > 2 || p->mode < 1 || p->mode > 2)))) ||
	    ((p->service == CIPHER || p->service == AEAD) && (p->way < 1 || p->way > 2)) ||
	    (p->service == AKCIPHER && (p->key_type < 1 || p->key_type > 2))) {
		swdev_violation(dev, "a session that cannot be");
		return false;
	}
	return true;
}

/* ---- the controlq ---- */

static void parse_session(const uint8_t *flf, struct swdev_crypto_params *p)
{
	const uint8_t *cipher = flf;

	p->algo = get32(flf);
	switch (p->service) {
	case CIPHER:
		p->op_type = get32(flf + 48);
		if (p->op_type == 2) {
			p->order = get32(flf);
			p->mode = get32(flf + 4);
			cipher = flf + 8;
			p->hash = get32(flf + 24);
			p->digest_len = get32(flf + 28);
			p->auth_len = p->mode == 2 ? get32(flf + 32) : 0;
			p->aad_len = get32(flf + 40);
		}
		p->algo = get32(cipher);
		p->key_len = get32(cipher + 4);
		p->way = get32(cipher + 8);
		break;
	case MAC:
		p->key_len = get32(flf + 8);
		[[fallthrough]];
	case HASH:
		p->digest_len = get32(flf + 4);
		break;
	case AEAD:
		p->key_len = get32(flf + 4);
		p->digest_len = get32(flf + 8);
		p->aad_len = get32(flf + 12);
		p->way = get32(flf + 16);
		break;
	default:
		p->key_type = get32(flf + 4);
		p->key_len = get32(flf + 8);
		p->para[0] = get32(flf + 12);
		p->para[1] = get32(flf + 16);
	}
}

static uint8_t create(struct swdev *dev, const struct swdev_chain *chain, unsigned service, uint32_t algo, uint64_t *id)
{
	static const uint8_t sizes[SERVICES] = {56, 8, 16, 24, 56};
	struct swdev_crypto *crypto = swdev_crypto_of(dev);
	unsigned flf_len = swdev_has(dev, CRYPTO_F_REVISION_1) ? sizes[service] : 56;
	struct swdev_crypto_params p = {.service = service};
	uint8_t flf[56] = {0};

	swdev_chain_read(chain, 16, flf, flf_len);
	parse_session(flf, &p);
	if (!allowed(dev, &p))
		return NOTSUPP;
	if (p.algo != algo || chain->readable_bytes != 16 + flf_len + p.key_len + p.auth_len || chain->writable_bytes != 16)
		swdev_violation(dev, "a session of algorithm %u, %u: %u bytes, %u for the answer", algo, p.algo,
		                (unsigned)chain->readable_bytes, (unsigned)chain->writable_bytes);
	swdev_chain_read(chain, 16 + flf_len, p.keys, p.key_len + p.auth_len);
	for (unsigned i = 0; i < SWDEV_CRYPTO_SESSIONS; i++) {
		if (crypto->sessions[i].id)
			continue;
		*id = crypto->same_id ? 1 : crypto->next_id++;
		crypto->sessions[i].id = *id;
		crypto->sessions[i].params = p;
		crypto->created++;
		return OK;
	}
	return swdev_has(dev, CRYPTO_F_REVISION_1) ? NOSPC : ERR;
}

static uint8_t destroy(struct swdev *dev, const struct swdev_chain *chain, unsigned service)
{
	struct swdev_crypto_session *session;
	uint8_t id[8] = {0};

	swdev_chain_read(chain, 16, id, 8);
	session = find(dev, get64(id));
	if (chain->readable_bytes != 16 + (swdev_has(dev, CRYPTO_F_REVISION_1) ? 8 : 56) || chain->writable_bytes != 1)
		swdev_violation(dev, "%u bytes to destroy a session", (unsigned)chain->readable_bytes);
	if (!session || session->params.service != service) {
		swdev_violation(dev, "there is no session %#llx to destroy", (unsigned long long)get64(id));
		return ERR;
	}
	session->id = 0;
	swdev_crypto_of(dev)->destroyed++;
	return OK;
}

static uint32_t control(struct swdev *dev, const struct swdev_chain *chain)
{
	struct swdev_crypto *crypto = swdev_crypto_of(dev);
	uint8_t header[16] = {0}, answer[16] = {0}, status;
	uint64_t id = 0;
	unsigned service, op;

	swdev_chain_read(chain, 0, header, 16);
	service = get32(header) >> 8;
	op = get32(header) & 0xff;
	if (get32(header + 8) || get32(header + 12))
		swdev_violation(dev, "reserved fields that are not zero");
	if (service >= SERVICES || op != (service == AKCIPHER ? 4 : 2) + (op & 1)) {
		swdev_violation(dev, "opcode %#x", get32(header));
		return 0;
	}
	if (op & 1) {
		status = crypto->lie_status ? crypto->lie_status : destroy(dev, chain, service);
		return (uint32_t)swdev_chain_write(chain, 0, &status, 1);
	}
	status = create(dev, chain, service, get32(header + 4), &id);
	put64(answer, id);
	put32(answer + 8, crypto->lie_status ? crypto->lie_status : status);
	return (uint32_t)swdev_chain_write(chain, 0, answer, 16);
}

/* ---- the dataqs ---- */

struct job {
	uint32_t iv_len, src_len, dst_len, digest_len, aad_len, tag_len, signed_len, cipher_start, cipher_len, hash_start,
		hash_len;
	uint32_t op_type, op;
	uint8_t iv[16], *in; /* source, additional data */
	const uint8_t *aad;
	uint8_t *out; /* destination, digest */
	uint32_t out_len;
};

static void parse_chain(const uint8_t *at, struct job *job)
{
	job->iv_len = get32(at);
	job->src_len = get32(at + 4);
	job->dst_len = get32(at + 8);
	job->cipher_start = get32(at + 12);
	job->cipher_len = get32(at + 16);
	job->hash_start = get32(at + 20);
	job->hash_len = get32(at + 24);
	job->aad_len = get32(at + 28);
	job->digest_len = get32(at + 32);
}

static void parse_narrow(const uint8_t *flf, unsigned service, struct job *job)
{
	switch (service) {
	case CIPHER:
		job->op_type = get32(flf + 40);
		if (job->op_type == 2) {
			parse_chain(flf, job);
		} else {
			job->iv_len = get32(flf);
			job->src_len = get32(flf + 4);
			job->dst_len = get32(flf + 8);
		}
		break;
	case AEAD:
		job->iv_len = get32(flf);
		job->aad_len = get32(flf + 4);
		job->src_len = get32(flf + 8);
		job->dst_len = get32(flf + 12);
		job->tag_len = get32(flf + 16);
		break;
	default: /* HASH, MAC, AKCIPHER */
		job->src_len = get32(flf);
		*(service == AKCIPHER ? &job->dst_len : &job->digest_len) = get32(flf + 4);
	}
}

static void parse_wide(const uint8_t *flf, struct swdev_crypto_params *p, struct job *job)
{
	const uint8_t *cipher = flf;

	p->algo = get32(flf);
	switch (p->service) {
	case CIPHER:
		job->op_type = p->op_type = get32(flf + 72);
		if (p->op_type == 2) {
			p->order = get32(flf);
			p->aad_len = get32(flf + 4);
			cipher = flf + 8;
			p->hash = get32(flf + 20);
			p->auth_len = get32(flf + 24);
			p->mode = get32(flf + 28);
			parse_chain(flf + 32, job);
		} else {
			job->iv_len = get32(flf + 12);
			job->src_len = get32(flf + 16);
			job->dst_len = get32(flf + 20);
		}
		p->algo = get32(cipher);
		p->key_len = get32(cipher + 4);
		p->way = get32(cipher + 8);
		break;
	case HASH:
		job->src_len = get32(flf + 4);
		job->digest_len = get32(flf + 8);
		break;
	case MAC:
		p->key_len = get32(flf + 4);
		job->src_len = get32(flf + 8);
		job->digest_len = get32(flf + 12);
		break;
	case AEAD:
		p->key_len = get32(flf + 4);
		p->way = get32(flf + 8);
		job->iv_len = get32(flf + 12);
		job->tag_len = p->digest_len = get32(flf + 16);
		job->aad_len = p->aad_len = get32(flf + 20);
		job->src_len = get32(flf + 24);
		job->dst_len = get32(flf + 28);
		break;
	default:
		p->key_type = get32(flf + 4);
		p->key_len = get32(flf + 8);
		p->para[0] = get32(flf + 12);
		p->para[1] = get32(flf + 16);
		job->src_len = get32(flf + 20);
		job->dst_len = get32(flf + 24);
	}
	if (p->service == CIPHER || p->service == HASH || p->service == MAC)
		p->digest_len = job->digest_len;
}

static bool cipher(const struct swdev_crypto_params *p, const struct job *job, const uint8_t *from, uint8_t *to, uint32_t bytes)
{
	bool back = p->way == 2;

	if (job->iv_len != (p->algo == ECB ? 0 : 16))
		return false;
	switch (p->algo) {
	case ECB:
		return aes_ecb(p->keys, p->key_len, back, from, to, bytes);
	case CBC:
		return aes_cbc(p->keys, p->key_len, job->iv, back, from, to, bytes);
	case CTR:
		return aes_ctr(p->keys, p->key_len, job->iv, from, to, bytes);
	default:
		return aes_xts(p->keys, p->key_len, job->iv, back, from, to, bytes);
	}
}

/* Of the part of the source, or behind the cipher of what it became; the additional data comes before it. */
static bool chained(const struct swdev_crypto_params *p, struct job *job)
{
	uint8_t *digest = job->out + job->dst_len, *all = calloc(1, job->aad_len + job->hash_len + 1ul);
	bool good;

	memcpy(job->out, job->in, job->src_len);
	good = cipher(p, job, job->in + job->cipher_start, job->out + job->cipher_start, job->cipher_len) &&
	       job->digest_len == 32;
	memcpy(all, job->aad, job->aad_len);
	memcpy(all + job->aad_len, (p->order == 2 ? job->out : job->in) + job->hash_start, job->hash_len);
	if (good && p->mode == 2)
		hmac_sha256(p->keys + p->key_len, p->auth_len, all, job->aad_len + job->hash_len, digest);
	else if (good)
		sha256(all, job->aad_len + job->hash_len, digest);
	free(all);
	return good;
}

static uint8_t seal(const struct swdev_crypto_params *p, struct job *job)
{
	bool open = p->way == 2;
	uint32_t bytes = job->src_len - (open ? 16 : 0);
	uint8_t tag[16];

	if (job->tag_len != 16 || job->iv_len != 12 || (open && job->src_len < 16) || job->dst_len < bytes + (open ? 0 : 16) ||
	    !aes_gcm(p->keys, p->key_len, job->iv, open, job->aad, job->aad_len, job->in, job->out, bytes, tag))
		return ERR;
	if (open)
		return memcmp(tag, job->in + bytes, 16) ? BADMSG : OK;
	memcpy(job->out + bytes, tag, 16);
	return OK;
}

/* Not RSA: a signature is the MAC of what is signed and of the parameters, a secret is exclusive-ored. */
static uint8_t asymmetric(const struct swdev_crypto_params *p, struct job *job)
{
	uint8_t mac[32], bytes[80] = {0};
	const uint8_t *text = job->op == 3 ? job->aad : job->in;
	uint32_t length = job->op == 3 ? job->signed_len : job->src_len;

	if ((job->op == 1 || job->op == 2) != (p->key_type == 2) || length > 64)
		return ERR;
	memcpy(bytes, text, length);
	bytes[64] = (uint8_t)p->para[0];
	bytes[65] = (uint8_t)p->para[1];
	hmac_sha256(p->keys, p->key_len, bytes, 66, mac);
	if (job->op == 3)
		return job->src_len == 32 && !memcmp(mac, job->in, 32) ? OK : KEY_REJECTED;
	if (job->dst_len < (job->op == 2 ? 32 : length))
		return ERR;
	job->out_len = job->op == 2 ? 32 : length;
	for (uint32_t i = 0; i < job->out_len; i++)
		job->out[i] = job->op == 2 ? mac[i] : text[i] ^ p->keys[i % p->key_len];
	return OK;
}

static uint8_t compute(const struct swdev_crypto_params *p, struct job *job)
{
	switch (p->service) {
	case CIPHER:
		if (job->op_type == 2)
			return chained(p, job) ? OK : ERR;
		return cipher(p, job, job->in, job->out, job->src_len) ? OK : ERR;
	case HASH:
		sha256(job->in, job->src_len, job->out);
		return OK;
	case MAC:
		hmac_sha256(p->keys, p->key_len, job->in, job->src_len, job->out);
		return OK;
	case AEAD:
		return seal(p, job);
	default:
		return asymmetric(p, job);
	}
}

/* Whose parameters: the session's, or the request's own. NULL: nobody's, and *status says why. */
static struct swdev_crypto_params *parameters(struct swdev *dev, const uint8_t *header, const uint8_t *para, uint32_t para_len,
                                              struct swdev_crypto_params *own, uint8_t *status)
{
	struct swdev_crypto *crypto = swdev_crypto_of(dev);
	struct swdev_crypto_session *session = find(dev, get64(header + 8));
	bool wide = swdev_has(dev, CRYPTO_F_STATELESS + own->service);

	if (wide && !(get32(header + 16) & 1)) {
		crypto->stateless++;
		*status = NOTSUPP;
		if (get64(header + 8) || get32(header + 16))
			swdev_violation(dev, "session %#llx, flag %#x in the stateless mode",
			                (unsigned long long)get64(header + 8), get32(header + 16));
		return allowed(dev, own) ? own : NULL;
	}
	crypto->by_session++;
	*status = INVSESS;
	if (get32(header + 16) != 1)
		swdev_violation(dev, "flag %#x", get32(header + 16));
	for (uint32_t i = 0; wide && i < para_len; i++)
		if (para[i])
			swdev_violation(dev, "parameters of a session in a request of it");
	if (!session || session->params.service != own->service) {
		swdev_violation(dev, "there is no session %#llx", (unsigned long long)get64(header + 8));
		return NULL;
	}
	return &session->params;
}

/* Bytes of .sess_para in the parameters of a wide request. */
static uint32_t para_bytes(unsigned service, uint32_t op_type)
{
	static const uint8_t bytes[SERVICES] = {12, 4, 8, 12, 20};

	return service == CIPHER && op_type == 2 ? 32 : bytes[service];
}

/* The lengths against each other, the session and the buffers. */
static bool adds_up(struct swdev *dev, const struct swdev_chain *chain, const struct swdev_crypto_params *p,
                    const struct job *job, uint64_t front)
{
	uint64_t content = (uint64_t)job->iv_len + job->src_len + job->aad_len + job->signed_len,
		 results = (uint64_t)job->dst_len + job->digest_len;

	if (chain->readable_bytes != front + content || chain->writable_bytes != results + 1) {
		swdev_violation(dev, "service %u: %u bytes and %u where %u and %u belong", p->service,
		                (unsigned)chain->readable_bytes, (unsigned)chain->writable_bytes, (unsigned)(front + content),
		                (unsigned)results + 1);
		return false;
	}
	if (content + results > get64(dev->config + MAX_SIZE))
		swdev_violation(dev, "%u bytes of content", (unsigned)(content + results));
	if (job->iv_len > 16 || job->aad_len != p->aad_len || (p->service != AEAD && job->digest_len != p->digest_len) ||
	    (p->service == AEAD && job->tag_len != p->digest_len) ||
	    (p->service == CIPHER && (job->op_type != p->op_type || job->dst_len < job->src_len)) ||
	    ((p->service == CIPHER || p->service == AEAD) && job->op != p->way - 1) ||
	    ((p->service == HASH || p->service == MAC) && job->digest_len != 32) ||
	    job->cipher_start + (uint64_t)job->cipher_len > job->src_len ||
	    job->hash_start + (uint64_t)job->hash_len > job->src_len) {
		swdev_violation(dev, "service %u: lengths that its session does not have", p->service);
		return false;
	}
	return true;
}

static uint8_t data(struct swdev *dev, const struct swdev_chain *chain, struct job *job)
{
	static const uint8_t narrow[SERVICES] = {48, 8, 8, 24, 8}, wide[SERVICES] = {76, 16, 16, 32, 28};
	uint8_t header[24] = {0}, flf[76] = {0}, status;
	struct swdev_crypto_params own = {}, *p;
	uint64_t front;
	uint32_t flf_len, keys;
	bool is_wide, aad_first;

	swdev_chain_read(chain, 0, header, 24);
	own.service = get32(header) >> 8;
	job->op = get32(header) & 0xff;
	if (own.service >= SERVICES || job->op > (own.service == AKCIPHER ? 3 : own.service == CIPHER || own.service == AEAD) ||
	    get32(header + 20)) {
		swdev_violation(dev, "opcode %#x, padding %#x", get32(header), get32(header + 20));
		return NOTSUPP;
	}
	is_wide = swdev_has(dev, CRYPTO_F_STATELESS + own.service);
	flf_len = is_wide ? wide[own.service] : swdev_has(dev, CRYPTO_F_REVISION_1) ? narrow[own.service] : 48;
	swdev_chain_read(chain, 24, flf, flf_len);
	if (is_wide)
		parse_wide(flf, &own, job);
	else
		parse_narrow(flf, own.service, job);
	if (own.service == AKCIPHER && job->op == 3) {
		job->signed_len = job->dst_len;
		job->dst_len = 0;
	}
	keys = own.key_len + own.auth_len;
	p = parameters(dev, header, flf, para_bytes(own.service, own.op_type), &own, &status);
	if (!p)
		return status;
	if (p->algo != get32(header + 4))
		swdev_violation(dev, "algorithm %u in a request of algorithm %u", get32(header + 4), p->algo);
	front = 24ul + flf_len + keys;
	if (!adds_up(dev, chain, p, job, front))
		return ERR;
	swdev_chain_read(chain, 24 + flf_len, own.keys, keys);
	swdev_chain_read(chain, front, job->iv, job->iv_len);
	front += job->iv_len;
	aad_first = is_wide && own.service == CIPHER;
	job->in = malloc(job->src_len + job->aad_len + job->signed_len + 1ul);
	job->aad = job->in + (aad_first ? 0 : job->src_len);
	swdev_chain_read(chain, front, job->in, job->src_len + job->aad_len + job->signed_len);
	job->out_len = job->dst_len + job->digest_len;
	job->out = calloc(1, job->out_len + 64ul);
	if (aad_first) { /* compute() has it as it is elsewhere */
		struct job turned = *job;

		turned.in = job->in + job->aad_len;
		return compute(p, &turned);
	}
	return compute(p, job);
}

static bool answer(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	struct swdev *dev = queue->dev;
	struct swdev_crypto *crypto = swdev_crypto_of(dev);
	struct job job = {};
	uint8_t status;

	if (!chain->writable_bytes) {
		swdev_violation(dev, "no room for a status");
		return true;
	}
	if (queue->index == get32(dev->config + QUEUES)) {
		*written = control(dev, chain);
		return true;
	}
	crypto->served[queue->index]++;
	status = data(dev, chain, &job);
	status = crypto->lie_status ? crypto->lie_status : status;
	*written = 1;
	if (status == OK)
		*written += (uint32_t)swdev_chain_write(chain, 0, job.out, job.out_len);
	swdev_chain_write(chain, chain->writable_bytes - 1, &status, 1);
	free(job.in);
	free(job.out);
	return true;
}

static bool serve(struct swdev_queue *queue, struct swdev_chain *chain, uint32_t *written)
{
	if (!(get32(queue->dev->config + STATUS) & 1))
		swdev_violation(queue->dev, "a request while the hardware is not ready");
	return !swdev_crypto_of(queue->dev)->holds && answer(queue, chain, written);
}

static void produce(struct swdev *dev)
{
	for (unsigned i = 0; i < dev->queue_count && !swdev_crypto_of(dev)->holds; i++) {
		struct swdev_chain *chain;
		uint32_t written = 0;

		while ((chain = swdev_take_held(&dev->queues[i]))) {
			answer(&dev->queues[i], chain, &written);
			swdev_complete(chain, written);
		}
	}
}

/* "Feature bit requirements" */
static const struct swdev_rule rules[] = {{1, 1}, {2, 1}, {3, 1}, {4, 1}, {5, 1}, {}};

const struct swdev_type swdev_crypto = {
	.id = 20,
	.name = "crypto",
	.queues = SWDEV_CRYPTO_DATAQS + 1,
	.features = 0x3f,
	.fields = fields,
	.rules = rules,
	.config_size = 56,
	.init = init,
	.free = release,
	.reset = reset,
	.serve = serve,
	.produce = produce,
};
