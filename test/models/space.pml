/* SPDX-License-Identifier: MIT */
/*
 * Three CPUs that switch between spaces with identifiers that run out, and one that takes a page away
 * from a space and flushes: switch against shootdown against an identifier that is given out again. What
 * may interleave is a step here; each names its place as `file: function`, which the test looks up.
 *
 * Bounds: SPACES spaces of one page each, IDS identifiers (more than CPUs, and the first are given out),
 * CPU 0 stays in space 0, CPU 1 goes from 1 to 0, CPU 2 from 1 to 2; one page of space 0
 * is taken away.
 *
 * Claims: a translation that a CPU uses is one of the space that it runs, and leads to no frame that is
 * free.
 *
 * MISTAKE n breaks one rule; the search has to find it:
 *   1 a CPU says in the space's mask that it runs it after it has loaded the root
 *   2 who rolls over takes the identifiers of spaces that run away
 *   3 a CPU does not forget old identifiers after a roll-over
 */
#ifndef SPACES
#define SPACES 3
#endif
#ifndef SWITCHES
#define SWITCHES 1
#endif
#ifndef MISTAKE
#define MISTAKE 0
#endif
#define CPUS 3
#define IDS  4
#define NONE 7

/* the allocator of arch/common/asid.c */
byte generation = 1, next_id = 1;
bit id_lock = 0;
bit to_flush[CPUS], stale[CPUS]; /* the second of space 0 alone */
byte taken_ids = 0; /* kept at the last roll-over; under the lock */
bit begun = 0;

/* spaces: what the allocator and the masks say; the page; whether its frame was freed */
byte id[SPACES], id_generation[SPACES];
byte mask[SPACES]; /* a bit for each CPU */
bit gone[SPACES], frame_free[SPACES];

/* CPUs: what the kernel says runs, the register, and by identifier the space whose page is kept */
byte running[CPUS], root[CPUS], root_id[CPUS];
byte kept_by[CPUS * 8];
#define tlb(c, i) kept_by[(c) * 8 + (i)]

inline look_at_running()
{
	taken = 0;
	c = 0;
	do
	:: c < CPUS ->
		atomic { /* one word; the rest of it is under the lock */
			r = running[c];
			if
			:: r != NONE && MISTAKE != 2 && id_generation[r] + 1 >= new_generation &&
			   id[r] != 0 ->
				taken = taken | (1 << id[r]);
				id_generation[r] = new_generation
			:: else
			fi;
			c++
		}
	:: else -> break
	od
}

inline roll_over()
{
	/* arch/common/asid.c: roll_over: interrupts off, but others go on */
	atomic { to_flush[0] = 1; to_flush[1] = 1; to_flush[2] = 1 };
	generation++;
	look_at_running();
	next_id = 1
}

active [CPUS] proctype cpu()
{
	byte n = (_pid == 1 -> 0 : SWITCHES - 1), s = 0, c = 0, r = 0, left = NONE, taken = 0, new_generation = 0;
	bit current = 0;

	begun;
	do
	:: n == SWITCHES -> break
	:: n < SWITCHES ->
		n++;
		left = running[_pid];
		s = (_pid == 2 -> 2 : 0);
		if
		:: s == left -> skip
		:: else ->
			/* arch/common/mmu.c: hal_space_switch */
			if
			:: MISTAKE == 1
			:: else -> mask[s] = mask[s] | (1 << _pid)
			fi;
			running[_pid] = s;
			/* arch/common/asid.c: asid_load: two loads */
			current = (id_generation[s] == generation);
			if
			:: !current ->
				/* arch/common/asid.c: assign */
				atomic { !id_lock -> id_lock = 1 };
				if
				:: id_generation[s] != generation ->
					do
					:: next_id < IDS + 1 && (taken_ids >> next_id & 1) -> next_id++
					:: else -> break
					od;
					if
					:: next_id > IDS ->
						new_generation = generation + 1;
						roll_over();
						taken_ids = taken;
						do
						:: taken_ids >> next_id & 1 -> next_id++
						:: else -> break
						od
					:: else
					fi
				:: else
				fi;
				if
				:: id_generation[s] != generation ->
					assert(next_id <= IDS);
					id[s] = next_id;
					next_id++;
					id_generation[s] = generation
				:: else
				fi;
				id_lock = 0
			:: else
			fi;
			atomic { root[_pid] = s; root_id[_pid] = id[s] };
			/* the CPU may walk of its own accord */
			if
			:: atomic { tlb(_pid, root_id[_pid]) == NONE && !gone[s] -> tlb(_pid, root_id[_pid]) = s }
			:: skip
			fi;
			if
			:: MISTAKE == 1 -> mask[s] = mask[s] | (1 << _pid)
			:: else
			fi;
			/* arch/common/asid.c: asid_load: after the root */
			if
			:: s == 0 && stale[_pid] -> stale[_pid] = 0; tlb(_pid, id[s]) = NONE
			:: else
			fi;
			if
			:: to_flush[_pid] && MISTAKE != 3 ->
				to_flush[_pid] = 0;
				atomic {
					c = 0;
					do
					:: c < 8 -> tlb(_pid, c) = NONE; c++
					:: else -> break
					od;
					c = 0
				}
			:: else
			fi
		fi;
		/* user mode: each identifier's page is kept, or read now, if it is there */
		c = 0;
		do
		:: c == 1 -> break
		:: c < 1 ->
			atomic {
				c++;
				if
				:: tlb(_pid, root_id[_pid]) == NONE && !gone[root[_pid]] ->
					tlb(_pid, root_id[_pid]) = root[_pid]
				:: else
				fi;
				if
				:: tlb(_pid, root_id[_pid]) != NONE ->
					assert(tlb(_pid, root_id[_pid]) == root[_pid]);
					assert(!frame_free[root[_pid]])
				:: else
				fi
			}
		od
	od
}

/* Some CPU's munmap in space 0. */
active proctype shootdown()
{
	byte c = 0, m = 0, i = 0, now = 0;

	begun;
	/* mm/space/teardown.c: zap_pte_range */
	gone[0] = 1;
	/* arch/common/mmu.c: hal_tlb_flush: the mask after the entry */
	m = mask[0];
	/* arch/common/asid.c: asid_note_stale: who does not run it is told for later */
	do
	:: c < CPUS ->
		if
		:: (m >> c & 1) && running[c] != 0 ->
			stale[c] = 1;
			if
			:: running[c] == 0 -> now = now | (1 << c)
			:: else
			fi
		:: (m >> c & 1) && running[c] == 0 -> now = now | (1 << c)
		:: else
		fi;
		c++
	:: else -> break
	od;
	c = 0;
	/* arch/riscv/smp.c: arch_flush_others */
	i = id[0];
	do
	:: c < CPUS ->
		atomic {
			if
			:: now >> c & 1 -> tlb(c, i) = NONE
			:: else
			fi;
			c++
		}
	:: else -> break
	od;
	/* mm/table/gather.c: tlb_flush_mmu */
	frame_free[0] = 1
}

/* CPU 0 runs space 0, the others space 1, whose page each of them keeps. */
init
{
	byte k = 0;

	atomic {
		do
		:: k < CPUS * 8 -> kept_by[k] = NONE; k++
		:: else -> break
		od;
		id[0] = 1;
		id_generation[0] = 1;
		mask[0] = 1;
		running[1] = 1; running[2] = 1; root[1] = 1; root[2] = 1;
		root_id[0] = 1; root_id[1] = 2; root_id[2] = 2;
		id[1] = 2;
		id_generation[1] = 1;
		mask[1] = 7;
		k = 0;
		do
		:: k < CPUS -> tlb(k, 2) = 1; k++
		:: else -> break
		od;
		tlb(0, 1) = 0;
		next_id = IDS + 1; /* none is left */
		k = 0;
		begun = 1
	}
}
