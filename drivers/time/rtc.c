/*
 * "RTC Device": each question is one request on the requestq, whose answer counts only when its status says OK. Alarms that expire are reported
 * on the alarmq, for clocks whose alarm the program has set since; what an earlier driver set is not its business.
 */
#include <errno.h>

#include <base/endian.h>
#include <base/page.h>
#include <class/rtc.h>
#include <virtio/call.h>
#include <virtio/ids.h>

enum { VIRTIO_RTC_F_ALARM = 0 };
enum {
	REQ_READ = 0x0001,
	REQ_READ_CROSS = 0x0002,
	REQ_CFG = 0x1000,
	REQ_CLOCK_CAP = 0x1001,
	REQ_READ_ALARM = 0x1003,
	REQ_SET_ALARM = 0x1004,
	REQ_SET_ALARM_ENABLED = 0x1005,
	NOTIF_ALARM = 0x2000,
};
enum { S_OK = 0, S_EOPNOTSUPP = 2, S_ENODEV = 3, S_EINVAL = 4 };
enum { FLAG_ALARM_CAP = 1, FLAG_ALARM_ENABLED = 1 };

/* The requests and answers of "Device Operation", laid over each other where only a field of them is used. Reserved fields are 0. */
struct virtio_rtc_req {
	le16 msg_type;
	uint8_t reserved[6];
	le16 clock_id;
	uint8_t hw_counter_or_flags, reserved2[5];
};
_Static_assert(sizeof(struct virtio_rtc_req) == 16, "virtio_rtc_req_read_cross, virtio_rtc_req_set_alarm_enabled");

struct virtio_rtc_req_set_alarm {
	le16 msg_type;
	uint8_t reserved[6];
	le64 alarm_time;
	le16 clock_id;
	uint8_t flags, reserved2[5];
};
_Static_assert(sizeof(struct virtio_rtc_req_set_alarm) == 24, "virtio_rtc_req_set_alarm");

struct virtio_rtc_resp {
	uint8_t status, reserved[7];
	union {
		le16 num_clocks;
		struct {
			uint8_t type, leap_second_smearing, flags;
		} cap;
		le64 words[2]; /* clock_reading and counter_cycles, or alarm_time and flags */
	};
};
_Static_assert(sizeof(struct virtio_rtc_resp) == 24, "virtio_rtc_resp_read_cross, virtio_rtc_resp_read_alarm");
enum { RESP_HEAD = 8, RESP_ONE = 16, RESP_TWO = 24 };

struct virtio_rtc_notif_alarm {
	le16 msg_type;
	uint8_t reserved[6];
	le16 clock_id;
	uint8_t reserved2[6];
};
_Static_assert(sizeof(struct virtio_rtc_notif_alarm) == 16, "virtio_rtc_notif_alarm");

#define ALARM_BUFFERS 16u
#define ALARMS_MAX 64u /* clocks whose alarms are reported */

struct rtc {
	struct rtc_device device;
	struct virtio_device *vdev;
	struct virtio_requestq requests;
	struct virtio_eventq alarms;
	uint64_t armed; /* a bit for each clock */
};

/* "Device Operation": other fields count only with status OK */
static int ask(struct rtc_device *device, const void *request, uint32_t request_bytes, struct virtio_rtc_resp *answer,
               uint32_t bytes)
{
	struct rtc *rtc = container_of(device, struct rtc, device);
	int error = virtio_ask(&rtc->requests, request, request_bytes, answer, bytes);

	if (error)
		return error;
	switch (answer->status) {
	case S_OK:
		return 0;
	case S_EOPNOTSUPP:
		return -ENOTSUP;
	case S_ENODEV:
	case S_EINVAL:
		return -EINVAL;
	default:
		return -EIO;
	}
}

static int ask_of_clock(struct rtc_device *device, unsigned type, unsigned clock, unsigned more, struct virtio_rtc_resp *answer,
                        uint32_t bytes)
{
	struct virtio_rtc_req request = {.msg_type = cpu_to_le16((uint16_t)type),
	                                 .clock_id = cpu_to_le16((uint16_t)clock),
	                                 .hw_counter_or_flags = (uint8_t)more};

	return clock > UINT16_MAX ? -EINVAL : ask(device, &request, sizeof(request), answer, bytes);
}

static int count(struct rtc_device *device, unsigned *clocks)
{
	struct virtio_rtc_req request = {.msg_type = cpu_to_le16(REQ_CFG)};
	struct virtio_rtc_resp answer;
	int error = ask(device, &request, 8, &answer, RESP_ONE);

	if (!error)
		*clocks = le16_to_cpu(answer.num_clocks);
	return error;
}

static bool has_alarms(struct rtc_device *device)
{
	return virtio_has(container_of(device, struct rtc, device)->vdev, VIRTIO_RTC_F_ALARM);
}

static int describe(struct rtc_device *device, unsigned clock, struct rtc_clock *what)
{
	struct virtio_rtc_resp answer;
	bool alarms = has_alarms(device); /* behind the answer the device may be gone */
	int error = ask_of_clock(device, REQ_CLOCK_CAP, clock, 0, &answer, RESP_ONE);

	if (!error)
		*what = (struct rtc_clock){.type = answer.cap.type,
		                           .smearing = answer.cap.leap_second_smearing,
		                           .alarm = alarms && answer.cap.flags & FLAG_ALARM_CAP};
	return error;
}

static int read(struct rtc_device *device, unsigned clock, uint64_t *ns)
{
	struct virtio_rtc_resp answer;
	int error = ask_of_clock(device, REQ_READ, clock, 0, &answer, RESP_ONE);

	if (!error)
		*ns = le64_to_cpu(answer.words[0]);
	return error;
}

/* "Read Requests": hw_counter is one of those that are defined */
static int read_cross(struct rtc_device *device, unsigned clock, enum rtc_counter counter, uint64_t *ns, uint64_t *cycles)
{
	struct virtio_rtc_resp answer;
	int error = counter > RTC_COUNTER_X86_TSC ? -EINVAL
	                                          : ask_of_clock(device, REQ_READ_CROSS, clock, counter, &answer, RESP_TWO);

	if (!error) {
		*ns = le64_to_cpu(answer.words[0]);
		*cycles = le64_to_cpu(answer.words[1]);
	}
	return error;
}

/* ---- alarms ---- */

static void arm(struct rtc_device *device, unsigned clock, bool enabled)
{
	struct rtc *rtc = container_of(device, struct rtc, device);

	if (clock < ALARMS_MAX)
		rtc->armed = enabled ? rtc->armed | BIT64(clock) : rtc->armed & ~BIT64(clock);
}

static int set_alarm(struct rtc_device *device, unsigned clock, uint64_t ns, bool enabled)
{
	struct virtio_rtc_req_set_alarm request = {.msg_type = cpu_to_le16(REQ_SET_ALARM),
	                                           .alarm_time = cpu_to_le64(ns),
	                                           .clock_id = cpu_to_le16((uint16_t)clock),
	                                           .flags = enabled ? FLAG_ALARM_ENABLED : 0};
	struct virtio_rtc_resp answer;

	if (!has_alarms(device) || clock >= ALARMS_MAX)
		return -ENOTSUP;
	arm(device, clock, enabled); /* first: it may expire before the answer is here */
	return ask(device, &request, sizeof(request), &answer, RESP_HEAD);
}

static int enable_alarm(struct rtc_device *device, unsigned clock, bool enabled)
{
	struct virtio_rtc_resp answer;

	if (!has_alarms(device) || clock >= ALARMS_MAX)
		return -ENOTSUP;
	arm(device, clock, enabled);
	return ask_of_clock(device, REQ_SET_ALARM_ENABLED, clock, enabled ? FLAG_ALARM_ENABLED : 0, &answer, RESP_HEAD);
}

static int get_alarm(struct rtc_device *device, unsigned clock, uint64_t *ns, bool *enabled)
{
	struct virtio_rtc_resp answer;
	int error = has_alarms(device) ? ask_of_clock(device, REQ_READ_ALARM, clock, 0, &answer, RESP_TWO) : -ENOTSUP;

	if (!error) {
		*ns = le64_to_cpu(answer.words[0]);
		*enabled = le64_to_cpu(answer.words[1]) & FLAG_ALARM_ENABLED;
	}
	return error;
}

static void expired(struct virtio_eventq *queue, void *event, uint32_t written)
{
	struct rtc *rtc = container_of(queue, struct rtc, alarms);
	const struct virtio_rtc_notif_alarm *alarm = event;
	uint16_t clock = le16_to_cpu(READ_ONCE(alarm->clock_id));

	if (written < sizeof(*alarm) || le16_to_cpu(READ_ONCE(alarm->msg_type)) != NOTIF_ALARM || clock >= ALARMS_MAX)
		return;
	if (rtc->armed & BIT64(clock) && rtc->device.expired)
		rtc->device.expired(&rtc->device, clock);
}

/* ---- life ---- */

static const struct rtc_ops ops = {.count = count,
                                   .describe = describe,
                                   .read = read,
                                   .read_cross = read_cross,
                                   .set_alarm = set_alarm,
                                   .enable_alarm = enable_alarm,
                                   .get_alarm = get_alarm};

static int probe(struct virtio_device *vdev)
{
	struct rtc *rtc = page_alloc(sizeof(*rtc), PAGE_SIZE);

	if (!rtc)
		return -ENOMEM;
	if (virtio_eventq_init(&rtc->alarms, sizeof(struct virtio_rtc_notif_alarm), ALARM_BUFFERS, expired)) {
		page_free(rtc, sizeof(*rtc));
		return -ENOMEM;
	}
	virtio_requestq_init(&rtc->requests);
	rtc->requests.again = true; /* a reading is a reading, and an alarm is set to what it was set to */
	rtc->vdev = vdev;
	rtc->device.ops = &ops;
	vdev->driver_data = rtc;
	vdev->node = &rtc->device.node;
	return 0;
}

static int start(struct virtio_device *vdev)
{
	struct rtc *rtc = vdev->driver_data;
	const struct virtq_spec specs[] = {virtio_requestq_spec(&rtc->requests, "requestq", 2),
	                                   virtio_eventq_spec(&rtc->alarms, "alarmq")};

	return virtio_service_start(vdev, virtio_has(vdev, VIRTIO_RTC_F_ALARM) ? 2 : 1, specs);
}

static void remove(struct virtio_device *vdev)
{
	struct rtc *rtc = vdev->driver_data;

	virtio_requestq_end(&rtc->requests);
	virtio_eventq_free(&rtc->alarms);
	page_free(rtc, sizeof(*rtc));
}

static const struct virtio_driver rtc_driver = {
	.name = "virtio-rtc",
	.instance = "rtc",
	.type = VIRTIO_ID_TIMER,
	.devices = &rtc_devices,
	.features = BIT64(VIRTIO_RTC_F_ALARM),
	.probe = probe,
	.start = start,
	.stop = virtio_service_stop,
	.remove = remove,
	.queue_drain = virtio_service_drain,
	.queue_refill = virtio_service_refill,
};
VIRTIO_DRIVER(rtc_driver);
