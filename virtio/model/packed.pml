/*
 * The notification protocol of the packed ring with EVENT_IDX (RING_EVENT_FLAGS_DESC), both directions, as virtio/packed.c and a device of
 * the same kind play it. The machine, the question and the method are those of split.pml.
 *
 * Descriptors carry the wrap counter of the side that wrote them last: available in wrap w, or used in wrap w. Each side's event
 * structure has an enable and a position (offset and wrap in one), two stores of which the position goes first.
 * A position is counted modulo 2 * SIZE, which is what offset and wrap counter make together; the comparison is the code's own,
 * with the offset brought into the frame of the current wrap.
 *
 * Mistakes to seed, each of which must fail: -DNO_DRIVER_KICK_BARRIER, -DNO_DRIVER_IRQ_BARRIER, -DOLD_IS_NEW_MINUS_1, -DNO_RECHECK,
 * -DIGNORE_WRAP (the offset not brought into the frame).
 */
#define N 6
#define SIZE 2
#define P (2 * SIZE)
#define M 16 /* 16-bit arithmetic, modulo */

#define OFF(position) (position % SIZE)
#define WRAP(position) (position / SIZE)
#ifdef IGNORE_WRAP
#define FRAME(event, now) OFF(event)
#else
#define FRAME(event, now) (WRAP(event) == WRAP(now) -> OFF(event) : (OFF(event) + M - SIZE))
#endif
/* `now` is the next position, `added` descriptors ago was the last check */
#define PAST(event, now, added) (((OFF(now) + M + M - FRAME(event, now) - 1) % M) < added)

byte avail_pos;   /* memory: descriptors before it have been made available */
byte used_pos;    /* and used */
byte driver_event, device_event;
bool driver_wants = 1, device_wants = 1;
bool kicked, interrupted;

/* which: 0 descriptors, 1 the position, 2 the enable */
chan driver_stores = [3] of { byte, byte };
chan device_stores = [3] of { byte, byte };

active proctype hardware()
{
	byte value;
end:
	do
	:: atomic { driver_stores?0, value -> avail_pos = value }
	:: atomic { driver_stores?1, value -> driver_event = value }
	:: atomic { driver_stores?2, value -> driver_wants = value }
	:: atomic { device_stores?0, value -> used_pos = value }
	:: atomic { device_stores?1, value -> device_event = value }
	:: atomic { device_stores?2, value -> device_wants = value }
	od
}

active proctype driver()
{
	byte made, harvested, avail, added, last_used;

	do
	:: made < N && made - harvested < SIZE ->
		atomic { made++; added++; avail = (avail + 1) % P }
	:: added -> /* packed_publish() */
		driver_stores!0, avail;
#ifndef NO_DRIVER_KICK_BARRIER
		empty(driver_stores);
#endif
		atomic {
#ifdef OLD_IS_NEW_MINUS_1
			added = 1;
#endif
			if
			:: device_wants && PAST(device_event, avail, added) -> kicked = true
			:: else
			fi;
			added = 0
		}
	:: !added && used_pos != last_used ->
		atomic { last_used = (last_used + 1) % P; harvested++ }
	:: !added && (made == N || made - harvested == SIZE) && used_pos == last_used && harvested < N ->
		driver_stores!1, last_used; /* packed_irq_enable() */
		driver_stores!2, 1;
#ifndef NO_DRIVER_IRQ_BARRIER
		empty(driver_stores);
#endif
#ifndef NO_RECHECK
		if
		:: used_pos != last_used
		:: used_pos == last_used -> atomic { interrupted -> interrupted = false }
		fi;
#else
		atomic { interrupted -> interrupted = false };
#endif
		if /* packed_irq_disable(), or not */
		:: driver_stores!2, 0
		:: true
		fi
	:: harvested == N -> break
	od
}

active proctype device()
{
	byte last_avail, used, added;

end:
	do
	:: avail_pos != last_avail ->
		atomic { last_avail = (last_avail + 1) % P; used = (used + 1) % P; added++ }
	:: added ->
		device_stores!0, used;
		empty(device_stores);
		atomic {
			if
			:: driver_wants && PAST(driver_event, used, added) -> interrupted = true
			:: else
			fi;
			added = 0
		}
	:: !added && avail_pos == last_avail ->
		device_stores!1, last_avail;
		device_stores!2, 1;
		empty(device_stores);
		if
		:: avail_pos != last_avail
		:: avail_pos == last_avail ->
endsleep:
			atomic { kicked -> kicked = false }
		fi;
		device_stores!2, 0
	od
}
