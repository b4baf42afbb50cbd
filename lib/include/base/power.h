/*
 * The power button.
 */
#ifndef BASE_POWER_H
#define BASE_POWER_H

/* From now on, or soon after, a press ends the program. Once, in the first CPU's loop. */
void power_init(void);

#endif
