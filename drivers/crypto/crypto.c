/*
 * "Crypto Device": sessions by the controlq, data by the dataqs.
 *
 * All is pure: what a request gives depends on nothing but the request, so that those which a queue's reset finds on their way go out once
 * more. Sessions are spread over the dataqs. Requests wait for a slot, and for their session while it is made anew behind a reset of the
 * device; nothing goes out at all while the hardware is not ready.
 */
#include <errno.h>

#include <base/page.h>
#include <virtio/ids.h>

#include "crypto_impl.h"

#define CONFIG(field) offsetof(struct virtio_crypto_config, field)
#define QUEUE_MAX 128u

int crypto_error(unsigned status)
{
	switch (status) {
	case STATUS_OK:
		return 0;
	case STATUS_BADMSG:
	case STATUS_KEY_REJECTED:
		return -EBADMSG;
	case STATUS_NOTSUPP:
		return -ENOTSUP;
	case STATUS_NOSPC:
		return -ENOSPC;
	default:
		return -EIO;
	}
}

/* ---- requests ---- */

static struct session *session_of(const struct crypto_request *request)
{
	return container_of(request->session, struct session, user);
}

static void end(struct crypto_request *request, int status)
{
	request->status = status;
	request->over = true;
	if (request->done)
		request->done(request);
}

static void take_out(struct crypto *crypto, struct crypto_request **at)
{
	*at = (*at)->next;
	if (!*at)
		crypto->tail = at;
}

static void append(struct crypto *crypto, struct crypto_request *request)
{
	request->next = NULL;
	*crypto->tail = request;
	crypto->tail = &request->next;
}

static void used(struct virtio_request *used)
{
	struct slot *slot = container_of(used, struct slot, request);
	struct crypto *crypto = used->context;
	struct crypto_request *request = slot->user;
	uint32_t least = 0, digest = 0;
	int status = used->status;

	slot->next = crypto->free;
	crypto->free = slot;
	if (status == -ENODEV) { /* stop() took it back: the device never had it */
		append(crypto, request);
		return;
	}
	if (!status)
		status = used->written ? crypto_error(READ_ONCE(slot->status)) : -EIO;
	if (!status) {
		crypto_results(request, &least, &digest);
		/* "AKCIPHER Service Operation": how long the result is, only the bytes written tell */
		request->written = request->session->setup.service == CRYPTO_AKCIPHER ? used->written - 1 : least;
		if (used->written < least + digest + 1 || request->written > request->dst_bytes)
			status = -EIO;
	}
	end(request, status);
	crypto_pump(crypto);
}

static void issue(struct crypto *crypto, struct crypto_request *request)
{
	struct slot *slot = crypto->free;

	crypto->free = slot->next;
	slot->user = request;
	crypto_form(slot);
	slot->request.done = used;
	slot->request.context = crypto;
	virtio_request_submit(&crypto->data[session_of(request)->dataq % crypto->dataqs], &slot->request);
}

void crypto_pump(struct crypto *crypto)
{
	struct crypto_request **at = &crypto->waiting, *request;

	while (!crypto->stopped && crypto->device.ready && crypto->free && (request = *at)) {
		const struct session *session = session_of(request);
		int error;

		if (!session->settled) {
			at = &request->next;
			continue;
		}
		take_out(crypto, at);
		error = session->error ? session->error : crypto_check(request); /* its limits may be others than they were */
		if (error)
			end(request, error);
		else
			issue(crypto, request);
		at = &crypto->waiting; /* done() may have submitted */
	}
}

static int submit(struct crypto_request *request)
{
	struct session *session = session_of(request);
	struct crypto *crypto = session->crypto;
	int error = !crypto ? -ENODEV : session->error ? session->error : crypto_check(request);

	if (error)
		return error;
	request->over = false;
	request->written = 0;
	append(crypto, request);
	crypto_pump(crypto);
	return 0;
}

static int run(struct crypto_request *request)
{
	struct session *session = session_of(request);
	int error;

	request->done = NULL;
	error = submit(request);
	if (error || loop_wait(&request->over, VIRTIO_ANSWER_NS))
		return error ? error : request->status;
	for (struct crypto_request **at = &session->crypto->waiting; *at; at = &(*at)->next) {
		if (*at == request) {
			take_out(session->crypto, at);
			return -EIO;
		}
	}
	virtio_device_broken(session->crypto->vdev, "no answer");
	return loop_wait(&request->over, VIRTIO_TAKE_DOWN_NS) ? request->status : -EIO;
}

/* ---- configuration ---- */

/* Where the bits of a service's algorithms are, and those that are defined: SHOULD ignore others. */
static const struct {
	uint16_t low, high; /* 0: no such field */
	uint64_t defined;
} fields[CRYPTO_SERVICES] = {
	[CRYPTO_CIPHER] = {CONFIG(cipher_algo_l), CONFIG(cipher_algo_h), 0x7ffe},
	[CRYPTO_HASH] = {CONFIG(hash_algo), 0, 0x1ffe},
	[CRYPTO_MAC] = {CONFIG(mac_algo_l), CONFIG(mac_algo_h), 0x6606001e00007e},
	[CRYPTO_AEAD] = {CONFIG(aead_algo), 0, 0xe},
	[CRYPTO_AKCIPHER] = {CONFIG(akcipher_algo), 0, 6},
};

/* "Device configuration layout": MUST read the algorithms by crypto_services, the number of queues, the limits; anew behind a reset. */
static int configure(struct crypto *crypto)
{
	struct virtio_device *vdev = crypto->vdev;
	struct crypto_device *device = &crypto->device;
	uint32_t services = virtio_config_u32(vdev, CONFIG(crypto_services), 0);
	uint32_t queues = virtio_config_u32(vdev, CONFIG(max_dataqueues), 0);

	if (!queues || queues >= UINT16_MAX)
		return virtio_refuse(vdev, -EINVAL, "max_dataqueues is %u", queues);
	crypto->max_dataqueues = (uint16_t)queues;
	crypto->dataqs = (uint16_t)MIN(queues, DATAQS_MAX);
	for (unsigned i = 0; i < CRYPTO_SERVICES; i++) {
		uint64_t algorithms = 0;

		if (services >> i & 1) {
			algorithms = virtio_config_u32(vdev, fields[i].low, 0);
			if (fields[i].high)
				algorithms |= (uint64_t)virtio_config_u32(vdev, fields[i].high, 0) << 32;
		}
		device->algorithms[i] = algorithms & fields[i].defined;
	}
	device->cipher_key_max = virtio_config_u32(vdev, CONFIG(max_cipher_key_len), 0);
	device->auth_key_max = virtio_config_u32(vdev, CONFIG(max_auth_key_len), 0);
	device->content_max = virtio_config_u64(vdev, CONFIG(max_size), 0);
	device->stateless = vdev->features >> VIRTIO_CRYPTO_F_CIPHER_STATELESS_MODE & ((1 << CRYPTO_SERVICES) - 1);
	return 0;
}

/* "Device configuration layout": MUST read the status, and MUST NOT transmit any requests while HW_READY is not set. */
static void config_changed(struct virtio_device *vdev)
{
	struct crypto *crypto = vdev->driver_data;
	bool ready = virtio_config_u32(vdev, CONFIG(status), 0) & S_HW_READY;

	crypto->device.ready = ready;
	virtio_requestq_hold(&crypto->control, !ready);
	for (unsigned i = 0; i < DATAQS_MAX; i++)
		virtio_requestq_hold(&crypto->data[i], !ready);
	crypto_pump(crypto);
}

/* ---- life ---- */

static const struct crypto_ops ops = {.open = crypto_session_open, .close = crypto_session_close, .submit = submit, .run = run};

static int probe(struct virtio_device *vdev)
{
	struct crypto *crypto = page_alloc(sizeof(*crypto), PAGE_SIZE);

	if (!crypto)
		return -ENOMEM;
	virtio_requestq_init(&crypto->control);
	crypto->control.again = true; /* at worst the device keeps a session that nobody knows of */
	for (unsigned i = 0; i < DATAQS_MAX; i++) {
		virtio_requestq_init(&crypto->data[i]);
		crypto->data[i].again = true;
	}
	for (unsigned i = 0; i < SLOTS; i++) {
		crypto->slots[i].next = crypto->free;
		crypto->free = &crypto->slots[i];
	}
	crypto->tail = &crypto->waiting;
	crypto->stopped = true;
	crypto->vdev = vdev;
	crypto->device.ops = &ops;
	vdev->driver_data = crypto;
	vdev->node = &crypto->device.node;
	return 0;
}

/* "Device Initialization": all virtqueues; of very many dataqs, the first ones */
static int create_queues(struct crypto *crypto)
{
	uint16_t count = (uint16_t)(crypto->max_dataqueues + 1);
	size_t bytes = count * sizeof(struct virtq_spec);
	struct virtq_spec *specs = page_alloc(bytes, PAGE_SIZE);
	int error;

	if (!specs)
		return -ENOMEM;
	for (unsigned i = 0; i < crypto->dataqs; i++) {
		specs[i] = virtio_requestq_spec(&crypto->data[i], "dataq", BUFFERS_MAX);
		specs[i].max_size = QUEUE_MAX;
	}
	specs[count - 1] = virtio_requestq_spec(&crypto->control, "controlq", ARRAY_SIZE(((struct session *)NULL)->bufs));
	specs[count - 1].max_size = QUEUE_MAX;
	error = virtio_service_start(crypto->vdev, count, specs);
	page_free(specs, bytes);
	return error;
}

static int start(struct virtio_device *vdev)
{
	struct crypto *crypto = vdev->driver_data;
	int error = configure(crypto);

	config_changed(vdev);
	if (!error)
		error = create_queues(crypto);
	if (error)
		return error;
	crypto->stopped = false;
	crypto_sessions_create(crypto);
	config_changed(vdev); /* it may have become ready before it could tell */
	return 0;
}

static void stop(struct virtio_device *vdev)
{
	struct crypto *crypto = vdev->driver_data;

	crypto->stopped = true;
	crypto_sessions_lose(crypto);
	virtio_service_stop(vdev);
	/* What waits there is about sessions that are gone. */
	virtio_requestq_end(&crypto->control);
	for (unsigned i = 0; i < DATAQS_MAX; i++)
		virtio_requestq_end(&crypto->data[i]);
}

static void remove(struct virtio_device *vdev)
{
	struct crypto *crypto = vdev->driver_data;

	for (struct session *session = crypto->sessions; session; session = session->next) {
		session->crypto = NULL;
		session->user.device = NULL;
	}
	while (crypto->waiting) {
		struct crypto_request *request = crypto->waiting;

		take_out(crypto, &crypto->waiting);
		end(request, -ENODEV);
	}
	page_free(crypto, sizeof(*crypto));
}

#define NEEDS_REVISION_1(service)                                                                                                \
	{                                                                                                                        \
		VIRTIO_CRYPTO_F_CIPHER_STATELESS_MODE + (service), BIT64(VIRTIO_CRYPTO_F_REVISION_1)                             \
	}

/* "Feature bit requirements" */
static const struct virtio_feature_rule rules[] = {NEEDS_REVISION_1(CRYPTO_CIPHER),   NEEDS_REVISION_1(CRYPTO_HASH),
                                                   NEEDS_REVISION_1(CRYPTO_MAC),      NEEDS_REVISION_1(CRYPTO_AEAD),
                                                   NEEDS_REVISION_1(CRYPTO_AKCIPHER), {}};

static const struct virtio_driver crypto_driver = {
	.name = "virtio-crypto",
	.instance = "crypto",
	.type = VIRTIO_ID_CRYPTO,
	.devices = &crypto_devices,
	.features = BIT64(VIRTIO_CRYPTO_F_CIPHER_STATELESS_MODE + CRYPTO_SERVICES) - 1, /* all of "Feature bits" */
	.rules = rules,
	.config_size = sizeof(struct virtio_crypto_config),
	.probe = probe,
	.start = start,
	.stop = stop,
	.remove = remove,
	.queue_drain = virtio_service_drain,
	.queue_refill = virtio_service_refill,
	.config_changed = config_changed,
};
VIRTIO_DRIVER(crypto_driver);
