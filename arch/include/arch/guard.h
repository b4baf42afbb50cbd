/*
 * A fence around a program of somebody else's that may be broken, such as the interpreter of ACPI's tables under AML that is noise: a fault in
 * its code ends it, and not the image.
 *
 *	if (!(why = guard_up())) { run it; guard_down(); } else { it was ended, since why }
 *
 * As with setjmp(), whoever called guard_up() must not return before the fence is down again. There is one fence, on the boot CPU. What counts
 * is the code that the linker script lists between guarded_start and guarded_end, which takes no lock of ours; a fault anywhere else is
 * a bug of ours, as ever. What the program held nobody gives back.
 */
#ifndef ARCH_GUARD_H
#define ARCH_GUARD_H

/* NULL: the fence is up. It returns once more, with the fence down, when the program is ended: then it says why. */
[[gnu::returns_twice]] const char *guard_up(void);
void guard_down(void);

/* Called inside the fence: end the program. */
[[gnu::noreturn]] void guard_fall(const char *why);

#endif
