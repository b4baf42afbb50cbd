/*
 * The class of byte streams: writing with a wait. All else is the driver's.
 */
#include <class/char.h>

#include <base/event.h>
#include <base/util.h>

struct char_wait {
	struct char_request request;
	bool over;
};

static void wake(struct char_request *request) { container_of(request, struct char_wait, request)->over = true; }

int char_write(struct char_device *device, const void *memory, uint32_t length)
{
	struct char_wait wait = {.request = {.memory = memory, .length = length, .done = wake}};

	if (!length)
		return 0;
	char_submit(device, &wait.request);
	loop_wait(&wait.over, LOOP_FOREVER);
	return wait.request.status;
}
