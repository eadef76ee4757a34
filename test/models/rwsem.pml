/* SPDX-License-Identifier: MIT */
/*
 * A reader-writer semaphore that is handed over: THREADS threads take it ROUNDS times each, for reading,
 * for writing, or for writing and then for reading (downgrade), as they like. What one atomic of the code
 * does to the word is one atomic step here, what lies between two atomics is a step of its own; each names
 * its place as `file: function`.
 *
 * Claims: a writer is alone, nobody sleeps for ever, who has been let in is counted, and the word is as it
 * was when all have gone. Sleeping is os_wait(): it compares the word and sleeps in one step.
 *
 * MISTAKE n breaks one rule; the search has to find it:
 *   1 the last reader leaves without letting a writer in that waits
 *   2 a reader sleeps without its word compared
 *   3 who waits for reading still counts as a reader
 *   4 readers are let in without a new phase
 */
#ifndef THREADS
#define THREADS 3
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef MISTAKE
#define MISTAKE 0
#endif
#define TICKETS 8 /* more than wait at once */

/* the word (lib/rwsem.c) */
bit phase = 0, writer = 0;
byte served = 0, readers = 0, readers_wait = 0, writers_wait = 0;

/* sleepers: what they wait for; 0 awake, 1 the phase, 2 + n the ticket n */
byte sleeps[THREADS];
byte reading = 0, writing = 0;

#define keeps_readers_out (writer || writers_wait)
#define nobody (!writer && !readers && !readers_wait && !writers_wait)

/* lib/rwsem.c: wake_let_in: two flags say what the change did; the semaphore is not touched */
inline wake(any_readers, any_writer, ticket)
{
	if
	:: any_readers ->
		atomic {
			i = 0;
			do
			:: i < THREADS -> if :: sleeps[i] == 1 -> sleeps[i] = 0 :: else fi; i++
			:: else -> break
			od;
			i = 0
		}
	:: else
	fi;
	if
	:: any_writer ->
		atomic {
			i = 0;
			do
			:: i < THREADS -> if :: sleeps[i] == 2 + ticket -> sleeps[i] = 0 :: else fi; i++
			:: else -> break
			od;
			i = 0
		}
	:: else
	fi;
	woke_r = 0; woke_w = 0
}

/* lib/rwsem.c: let_writer_in, in the caller's atomic */
inline let_writer_in()
{
	served = (served + 1) % TICKETS;
	writers_wait--;
	writer = 1;
	woke_w = 1;
	ticket_in = served
}

/* lib/rwsem.c: let_readers_in, in the caller's atomic */
inline let_readers_in()
{
	if
	:: readers_wait ->
		readers = readers + readers_wait;
		readers_wait = 0;
		if :: MISTAKE != 4 -> phase = 1 - phase :: else fi;
		woke_r = 1
	:: else
	fi
}

/* lib/rwsem.c: without_reader, in the caller's atomic */
inline without_reader()
{
	last = (readers == 1 && !writer);
	readers--;
	if
	:: last && writers_wait && MISTAKE != 1 -> let_writer_in()
	:: else
	fi
}

inline down_read_()
{
	/* lib/rwsem.h: down_read: counted first, looked at after */
	atomic { must_wait = keeps_readers_out; readers++ };
	if
	:: must_wait ->
		/* lib/rwsem.c: down_read_slow */
		atomic {
			if
			:: !keeps_readers_out -> must_wait = 0
			:: else ->
				if :: MISTAKE == 3 -> skip :: else -> without_reader() fi;
				readers_wait++;
				seen_phase = phase
			fi
		};
		if
		:: must_wait ->
			wake(woke_r, woke_w, ticket_in);
			do
			:: phase != seen_phase -> break
			:: phase == seen_phase ->
				if
				:: MISTAKE == 2 -> sleeps[_pid] = 1
				:: else -> atomic { if :: phase == seen_phase -> sleeps[_pid] = 1 :: else fi }
				fi;
				sleeps[_pid] == 0
			od
		:: else
		fi
	:: else
	fi
}

inline up_read_()
{
	/* lib/rwsem.h: up_read, and lib/rwsem.c: up_read_slow */
	atomic { assert(readers && !writer); without_reader() };
	wake(woke_r, woke_w, ticket_in)
}

inline down_write_()
{
	/* lib/rwsem.c: down_write_slow */
	atomic {
		if
		:: nobody -> writer = 1; must_wait = 0; phase = 0; served = 0
		:: else ->
			writers_wait++;
			ticket = (served + writers_wait) % TICKETS;
			must_wait = 1
		fi
	};
	do
	:: !must_wait -> break
	:: must_wait && served == ticket -> must_wait = 0
	:: must_wait && served != ticket ->
		atomic { if :: served != ticket -> sleeps[_pid] = 2 + ticket :: else fi };
		sleeps[_pid] == 0
	od
}

inline up_write_()
{
	/* lib/rwsem.c: up_write_slow */
	atomic {
		assert(writer);
		if
		:: !readers_wait && writers_wait -> let_writer_in()
		:: else -> writer = 0; let_readers_in()
		fi
	};
	wake(woke_r, woke_w, ticket_in)
}

inline downgrade_()
{
	/* lib/rwsem.c: downgrade_write */
	atomic { writer = 0; readers++; let_readers_in() };
	wake(woke_r, woke_w, ticket_in)
}

active [THREADS] proctype thread()
{
	byte round = 0, i = 0, ticket = 0, ticket_in = 0;
	bit must_wait = 0, seen_phase = 0, woke_r = 0, woke_w = 0, last = 0, reads = 0, downs = 0;

	do
	:: round == ROUNDS -> break
	:: round < ROUNDS ->
		round++;
		/* apart: an else would be that of all ways together */
		if :: reads = 1 :: reads = 0 fi;
		if
		:: reads ->
		   down_read_();
		   atomic { assert(!writing && readers); reading++ };
		   reading--;
		   up_read_()
		:: else ->
		   down_write_();
		   atomic { assert(!writing && !reading && writer); writing++ };
		   writing--;
		   if :: downs = 1 :: downs = 0 fi;
		   if
		   :: !downs -> up_write_()
		   :: else ->
		      downgrade_();
		      atomic { assert(!writing); reading++ };
		      reading--;
		      up_read_()
		   fi
		fi
	od;
	atomic {
		if
		:: _nr_pr == 1 -> assert(nobody)
		:: else
		fi
	}
}
