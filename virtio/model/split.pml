/*
 * The notification protocol of the split ring with EVENT_IDX, both directions, as virtio/split.c and a device of the same kind play it:
 * does anybody ever sleep while there is work for him and nobody will wake him?
 *
 * The machine is one with store buffers (TSO, what x86 does and what the barriers in split.c are for): a store waits in its CPU's
 * buffer until the hardware drains it, and the CPU's later loads may go first. BARRIER waits until the own buffer is empty. Each side stores
 * two variables, its index and its event; a buffer drains them in order.
 *
 * Driver: adds batches, publishes, barrier, compares with avail_event from the index as of the last kick, notifies; harvests; and before it
 * sleeps sets used_event, barrier, looks again. Device: the mirror image. Indices count modulo M instead of 2^16.
 *
 * Checked: no end state but the proper one (all N requests made, used and harvested). Mistakes to seed, each of which must fail:
 * -DNO_DRIVER_KICK_BARRIER, -DNO_DRIVER_IRQ_BARRIER, -DOLD_IS_NEW_MINUS_1, -DNO_RECHECK.
 */
#define N 5    /* requests in all */
#define SIZE 2 /* queue size */
#define M 8    /* indices modulo */

#define PAST(event, new, old) (((new + M + M - event - 1) % M) < ((new + M - old) % M))

/* Memory as the other side sees it. */
byte avail_idx, used_event, used_idx, avail_event;
bool kicked, interrupted;

/* The store buffers: what is on its way, in order index 0, 1. which: 0 the index, 1 the event. */
chan driver_stores = [2] of { bit, byte };
chan device_stores = [2] of { bit, byte };

#define DRIVER_STORE(which, value) driver_stores!which, value
#define DEVICE_STORE(which, value) device_stores!which, value
#define DRIVER_BARRIER empty(driver_stores)
#define DEVICE_BARRIER empty(device_stores)

active proctype hardware()
{
	byte value;
end:
	do
	:: atomic { driver_stores?0, value -> avail_idx = value }
	:: atomic { driver_stores?1, value -> used_event = value }
	:: atomic { device_stores?0, value -> used_idx = value }
	:: atomic { device_stores?1, value -> avail_event = value }
	od
}

active proctype driver()
{
	byte made, harvested; /* in all */
	byte avail, kicked_at, last_used, seen;

	do
	:: made < N && made - harvested < SIZE -> /* virtq_add() */
		atomic { made++; avail = (avail + 1) % M }
	:: avail != kicked_at -> /* split_publish() */
		DRIVER_STORE(0, avail);
#ifndef NO_DRIVER_KICK_BARRIER
		DRIVER_BARRIER;
#endif
		atomic {
			seen = avail_event;
#ifdef OLD_IS_NEW_MINUS_1
			kicked_at = (avail + M - 1) % M;
#endif
			if
			:: PAST(seen, avail, kicked_at) -> kicked = true
			:: else
			fi;
			kicked_at = avail
		}
	:: avail == kicked_at && used_idx != last_used -> /* split_harvest() */
		atomic { last_used = (last_used + 1) % M; harvested++ }
	:: avail == kicked_at && (made == N || made - harvested == SIZE) && used_idx == last_used && harvested < N ->
		DRIVER_STORE(1, last_used); /* split_irq_enable() */
#ifndef NO_DRIVER_IRQ_BARRIER
		DRIVER_BARRIER;
#endif
#ifndef NO_RECHECK
		if
		:: used_idx != last_used
		:: used_idx == last_used -> atomic { interrupted -> interrupted = false } /* cpu_idle() */
		fi
#else
		atomic { interrupted -> interrupted = false }
#endif
	:: harvested == N -> break
	od
}

active proctype device()
{
	byte last_avail, used, told_at, seen;

end:
	do
	:: avail_idx != last_avail -> /* use a buffer */
		atomic { last_avail = (last_avail + 1) % M; used = (used + 1) % M }
	:: used != told_at ->
		DEVICE_STORE(0, used);
		DEVICE_BARRIER;
		atomic {
			seen = used_event;
			if
			:: PAST(seen, used, told_at) -> interrupted = true
			:: else
			fi;
			told_at = used
		}
	:: used == told_at && avail_idx == last_avail ->
		DEVICE_STORE(1, last_avail);
		DEVICE_BARRIER;
		if
		:: avail_idx != last_avail
		:: avail_idx == last_avail ->
endsleep:
			atomic { kicked -> kicked = false }
		fi
	od
}
