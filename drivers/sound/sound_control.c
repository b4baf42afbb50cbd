/*
 * "Sound Device": control elements. A request goes out only where the element has the access right for it.
 */
#include <errno.h>
#include <string.h>

#include "sound_impl.h"

/* "Control Elements". "Structure Specifications": without padding, so its union is at 68, and all of it has 92 bytes; a compiler left to itself
 * makes that 72 and 96. The request says which size is meant. */
struct [[gnu::packed]] virtio_snd_ctl_info {
	le32 hda_fn_nid, role, type, access, count, index;
	char name[44];
	union {
		struct {
			le32 min, max, step;
		} integer;
		struct [[gnu::packed]] {
			le64 min, max, step;
		} integer64;
		le32 items;
	} value;
};
_Static_assert(sizeof(struct virtio_snd_ctl_info) == CTL_INFO_BYTES, "virtio_snd_ctl_info");

#define VALUE_BYTES 512u /* struct virtio_snd_ctl_value */
#define ITEMS_MAX 256u

void sound_take_control(struct sound *sound, unsigned number, const void *bytes)
{
	static const uint8_t sizes[SOUND_CONTROL_TYPES] = {4, 4, 8, 4, 1, 176};
	const struct virtio_snd_ctl_info *info = bytes;
	struct sound_control *control = &sound->controls[number];

	*control = (struct sound_control){.group = le32_to_cpu(info->hda_fn_nid),
	                                  .role = le32_to_cpu(info->role),
	                                  .type = le32_to_cpu(info->type),
	                                  .count = le32_to_cpu(info->count),
	                                  .index = le32_to_cpu(info->index)};
	memcpy(control->name, info->name, sizeof(info->name));
	/* "Control Element Information": what is more than fits is none, and is left alone. */
	if (control->type >= SOUND_CONTROL_TYPES || !control->count || control->count > VALUE_BYTES / sizes[control->type])
		return;
	control->access = le32_to_cpu(info->access);
	control->value_bytes = control->count * sizes[control->type];
	if (control->type == SOUND_INTEGER) {
		control->min = (int32_t)le32_to_cpu(info->value.integer.min);
		control->max = (int32_t)le32_to_cpu(info->value.integer.max);
		control->step = le32_to_cpu(info->value.integer.step);
	} else if (control->type == SOUND_INTEGER64) {
		control->min = (int64_t)le64_to_cpu(info->value.integer64.min);
		control->max = (int64_t)le64_to_cpu(info->value.integer64.max);
		control->step = (int64_t)le64_to_cpu(info->value.integer64.step);
	} else if (control->type == SOUND_ENUMERATED) {
		control->items = le32_to_cpu(info->value.items);
	}
}

static const struct {
	uint16_t code;
	uint8_t right; /* that it takes: a bit of virtio_snd_ctl_info.access */
} requests[] = {
	[SOUND_GET] = {R_CTL_READ, 0},  [SOUND_ITEMS] = {R_CTL_ENUM_ITEMS, 0},    [SOUND_TLV_READ] = {R_CTL_TLV_READ, 4},
	[SOUND_SET] = {R_CTL_WRITE, 1}, [SOUND_TLV_WRITE] = {R_CTL_TLV_WRITE, 5}, [SOUND_TLV_COMMAND] = {R_CTL_TLV_COMMAND, 6},
};

/* "Control Element Value", "Control Element Metadata": MUST NOT send what the element gives no right to. */
static int check(const struct sound_control *control, enum sound_control_op op, uint32_t bytes)
{
	if (op == SOUND_ITEMS) {
		if (control->type != SOUND_ENUMERATED || !control->items || control->items > ITEMS_MAX)
			return -ENOTSUP;
		return bytes == control->items * SOUND_ITEM_BYTES ? 0 : -EINVAL;
	}
	if (!(control->access >> requests[op].right & 1))
		return -ENOTSUP;
	if (op == SOUND_GET || op == SOUND_SET)
		return bytes == control->value_bytes ? 0 : -EINVAL;
	return bytes < 2 * sizeof(le32) || bytes % sizeof(le32) || bytes > SOUND_TLV_MAX ? -EINVAL : 0;
}

int sound_control_do(struct sound_device *device, unsigned number, enum sound_control_op op, void *memory, uint32_t bytes)
{
	struct sound *sound = sound_of(device);
	struct {
		struct virtio_snd_item_hdr hdr;
		uint8_t value[VALUE_BYTES]; /* or metadata */
	} message = {0};
	bool reads = op <= SOUND_TLV_READ;
	int got = 0;

	_Static_assert(SOUND_TLV_MAX <= VALUE_BYTES, "metadata fits the message");
	if (number >= device->control_count || op > SOUND_TLV_COMMAND)
		return -EINVAL;
	if (device->controls[number].stale)
		got = sound_query(sound, R_CTL_INFO, number, 1, false);
	if (got >= 0)
		got = check(&device->controls[number], op, bytes);
	if (got < 0)
		return got;
	message.hdr = (struct virtio_snd_item_hdr){cpu_to_le32(requests[op].code), cpu_to_le32(number)};
	if (!reads)
		memcpy(message.value, memory, bytes);
	if (op == SOUND_GET) /* the whole structure, of which the value is the front */
		got = sound_ask(sound, &message.hdr, sizeof(message.hdr), message.value, VALUE_BYTES);
	else if (reads)
		got = sound_ask(sound, &message.hdr, sizeof(message.hdr), memory, bytes);
	else
		got = sound_ask(sound, &message, sizeof(message.hdr) + (op == SOUND_SET ? VALUE_BYTES : bytes), NULL, 0);
	if (got < 0 || op == SOUND_TLV_READ)
		return got;
	if (reads && (uint32_t)got < bytes)
		return -EIO;
	if (op == SOUND_GET)
		memcpy(memory, message.value, bytes);
	for (uint32_t end = SOUND_ITEM_BYTES; op == SOUND_ITEMS && end <= bytes; end += SOUND_ITEM_BYTES)
		((char *)memory)[end - 1] = '\0';
	return 0;
}
