/*
 * The class of random sources: reading with a wait. All else is the driver's.
 */
#include <class/entropy.h>

#include <base/event.h>
#include <base/util.h>

struct entropy_wait {
	struct entropy_request request;
	bool over;
};

static void wake(struct entropy_request *request) { container_of(request, struct entropy_wait, request)->over = true; }

int entropy_read(struct entropy_device *device, void *memory, uint32_t length)
{
	struct entropy_wait wait = {.request = {.memory = memory, .length = length, .done = wake}};

	if (!length)
		return 0;
	entropy_submit(device, &wait.request);
	loop_wait(&wait.over, LOOP_FOREVER);
	return wait.request.status;
}
