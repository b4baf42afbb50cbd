/*
 * The console's text where a machine has no port for it: a console device carries it, once there is one.
 */
#ifndef BASE_CARRY_H
#define BASE_CARRY_H

#include <stdbool.h>
#include <stddef.h>

/* An image may be without. */

/* Keep the text for the device and send it as that takes it; what came before a device is kept, as far as there is room, for the first one.
 * Any CPU, any context but an interrupt. `now`: nothing runs any more, put it out at once if the device can. */
[[gnu::weak]] void console_carry(const char *text, size_t length, bool now);

/* Wait, at most a second, until all is sent. The first CPU's loop. */
[[gnu::weak]] void console_carry_flush(void);

#endif
