/*
 * An event of one CPU marked by others, as lib/event.c plays it: is every mark seen by a run that comes behind it, and does the owner never
 * sleep while one waits?
 *
 * Each marker stores what its mark is about, exchanges `posted`, and who finds it false pushes the event to the owner's list and then looks at
 * `sleeping`. The owner takes the list, exchanges `posted` back, runs (loads what the marks are about), and before it sleeps exchanges
 * `sleeping` and looks at the list once more; interrupts are masked from there to the sleep, so one that came is still pending then.
 *
 * The machine has store buffers (TSO), as in virtio/model/split.pml: a plain store of the owner's waits until the hardware drains it, and later
 * loads may go first. An exchange waits until the own buffer is empty. The markers' steps are all exchanges but for the first store, which
 * the exchange behind it makes visible.
 *
 * Checked: no end state but the proper one. Mistakes to seed, each of which must fail: -DPLAIN_CLEAR (posted is cleared by a plain store),
 * -DCLEAR_AFTER_RUN, -DPLAIN_SLEEPING, -DNO_RECHECK, -DLOOK_BEFORE_PUSH.
 */
#define N 2 /* marks of each marker */

byte sent[2];
bool posted, list, sleeping, interrupted;

/* The owner's store buffer: which variable (0 posted, 1 sleeping), what value. */
chan owner_stores = [2] of { bit, bool };

#define OWNER_STORE(which, value) owner_stores!which, value
#define OWNER_EXCHANGE(variable, value) atomic { empty(owner_stores) -> variable = value }

active proctype hardware()
{
	bool value;
end:
	do
	:: atomic { owner_stores?0, value -> posted = value }
	:: atomic { owner_stores?1, value -> sleeping = value }
	od
}

active [2] proctype marker()
{
	byte self = _pid - 1;
	bool was, seen;

	do
	:: sent[self] == N -> break
	:: else ->
		sent[self]++;
		atomic { was = posted; posted = true }
		if
		:: was
		:: else ->
#ifdef LOOK_BEFORE_PUSH
			seen = sleeping;
			list = true;
#else
			list = true;
			seen = sleeping;
#endif
			if
			:: seen ->
				atomic { seen = sleeping; sleeping = false }
				if
				:: seen -> interrupted = true
				:: else
				fi
			:: else
			fi
		fi
	od
}

active proctype owner()
{
	byte got[2];

	do
	:: got[0] == N && got[1] == N -> break
	:: !(got[0] == N && got[1] == N) && list -> /* take_posts() and the run */
		OWNER_EXCHANGE(list, false);
#ifdef PLAIN_CLEAR
		OWNER_STORE(0, false);
#endif
#if !defined(PLAIN_CLEAR) && !defined(CLEAR_AFTER_RUN)
		OWNER_EXCHANGE(posted, false);
#endif
		got[0] = sent[0];
		got[1] = sent[1];
#ifdef CLEAR_AFTER_RUN
		OWNER_EXCHANGE(posted, false);
#endif
	:: !(got[0] == N && got[1] == N) && !list -> /* sleep_until_work() */
#ifdef PLAIN_SLEEPING
		OWNER_STORE(1, true);
#else
		OWNER_EXCHANGE(sleeping, true);
#endif
		if
#ifdef NO_RECHECK
		:: atomic { interrupted -> interrupted = false }
#else
		:: list
		:: !list -> atomic { interrupted -> interrupted = false } /* cpu_idle() */
#endif
		fi;
		OWNER_STORE(1, false)
	od
}
