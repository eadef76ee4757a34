/* SPDX-License-Identifier: MIT */
/*
 * One anonymous page that goes to swap and comes back: reclaim against faults of its program, the
 * device, MADV_DONTNEED and swapoff. What may interleave in mm/ is a step here; what one lock hides is
 * one atomic step. Each step names its place as `file: function`, which the test looks up.
 *
 * Bounds: one entry, one slot, FRAMES frames, a program of OPS accesses, ROUNDS rounds of reclaim,
 * TRIES walks of swapoff. It begins with the page mapped and dirty, mapped read-only and in the swap
 * cache, or swapped out.
 *
 *   -DWRITES  the program writes and reads through a TLB that may be stale, another process writes
 *             to the page through a reference; every read sees the last write
 *   -DDONTNEED, -DSWAPOFF   madvise(MADV_DONTNEED), swapoff run beside it; the first stands for all who
 *             change what a range means: when it returns, no CPU keeps what it found there
 *
 * Reclaim flushes for a batch of pages: between an entry's end and the flush others run, the page is
 * locked, and the space marked.
 *
 * At the end the entry is removed; then every frame and the slot are free.
 *
 * MISTAKE n breaks one rule; the search has to find it:
 *   1 an entry is emptied without a flush            4 a look-up takes a page whose count is frozen
 *   2 the dirty bit of an emptied entry is lost      5 a fault does not look at the entry again
 *   3 a page is freed with its count not looked at   6 nor does swapoff
 *   7 the space is not marked while a flush is put off
 *   8 what was put off is flushed after the page was written, or freed
 */
#ifndef FRAMES
#define FRAMES 3
#endif
#ifndef OPS
#define OPS 3
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef MISTAKE
#define MISTAKE 0
#endif

#define NONE 255

#ifdef WRITES
#define N_WRITES 1
#else
#define N_WRITES 0
#endif
#ifdef DONTNEED
#define N_DONTNEED 1
#else
#define N_DONTNEED 0
#endif
#ifdef SWAPOFF
#define N_SWAPOFF 1
#else
#define N_SWAPOFF 0
#endif
#define PROCESSES (2 + N_WRITES + N_DONTNEED + N_SWAPOFF)
#ifndef TRIES
#define TRIES 2
#endif

mtype = { EMPTY, LEAF, SWAPPED };		/* an entry */
mtype = { S_FREE, S_COUNT, S_CACHE };		/* a slot's state */

/* struct page, by frame */
byte count[FRAMES];		/* _refcount; 0: free or frozen */
bit used[FRAMES];		/* not in the buddy */
bit locked[FRAMES], cached[FRAMES], dirty[FRAMES], writeback[FRAMES], uptodate[FRAMES];
byte mapcount[FRAMES];
byte data[FRAMES];
bit on_lru[FRAMES];

/* the slot's word; the cluster's lock covers each atomic step on it */
mtype slot = S_FREE;
byte slot_count = 0, slot_pfn = NONE;
byte disk = 0;

/* the entry; ptl covers what is between ptl_lock and ptl_unlock */
mtype pte = EMPTY;
byte pte_pfn = NONE;
bit pte_w = 0, pte_d = 0;
bit ptl = 0;

/* the program's TLB */
bit tlb = 0, tlb_w = 0, tlb_d = 0;
byte tlb_pfn = NONE;
byte gen = 0, tlb_gen = 0;	/* how often the range was emptied; when the TLB was filled */
byte batched = 0;		/* tlb_flush_batched */

byte truth = 0;			/* what the program wrote last */
byte done = 0;			/* processes that have ended */

inline ptl_lock()   { atomic { ptl == 0 -> ptl = 1 } }
inline ptl_unlock() { ptl = 0 }

/* mm/phys/page_alloc.c: put_page */
inline put_page(f) {
	atomic {
		assert(count[f] > 0);
		count[f]--;
		if
		:: count[f] == 0 ->
			assert(!cached[f] && mapcount[f] == 0 && !locked[f] && !writeback[f]);
			assert(!tlb || tlb_pfn != f);
			used[f] = 0; on_lru[f] = 0; dirty[f] = 0; uptodate[f] = 0
		:: else
		fi
	}
}

/* mm/phys/page_alloc.c: alloc_pages. NONE: there is none now. */
inline alloc_page(f) {
	atomic {
		f = 0;
		do
		:: f < FRAMES && used[f] -> f++
		:: else -> break
		od;
		if
		:: f < FRAMES -> used[f] = 1; count[f] = 1; mapcount[f] = 0
		:: else -> f = NONE
		fi
	}
}

/* mm/swap/slots.c: put_entry; the last one frees a slot that has no page. Under the cluster's lock. */
inline put_entry_locked() {
	assert(slot_count > 0);
	slot_count--;
	if
	:: slot_count == 0 && slot == S_COUNT -> slot = S_FREE
	:: else
	fi
}

/* mm/swap/cache.c: uncache, under the cluster's lock, the page locked. */
inline uncache_locked(f) {
	assert(slot == S_CACHE && slot_pfn == f && !writeback[f]);
	cached[f] = 0;
	slot_pfn = NONE;
	if
	:: slot_count > 0 -> slot = S_COUNT
	:: else -> slot = S_FREE
	fi
}

/* mm/swap/cache.c: try_to_free_swap. Page locked. */
inline try_to_free_swap(f) {
	if
	:: cached[f] && !writeback[f] && slot_count == 0 ->
		atomic { uncache_locked(f) };	/* mm/swap/cache.c: delete_from_swap_cache */
		atomic { put_page(f); dirty[f] = 1 }
	:: else
	fi
}

/* ---- reclaim --------------------------------------------------------------------------------- */

/* mm/reclaim/unmap.c: try_to_unmap_one */
inline try_to_unmap(f) {
	ptl_lock();
	if
	:: pte == LEAF && pte_pfn == f ->
		/* mm/reclaim/unmap.c: unmap_pte, the exchange */
		atomic { was_d = pte_d; was_w = pte_w; pte = EMPTY; pte_pfn = NONE };
#if MISTAKE != 7
		batched++;			/* mm/reclaim/unmap.c: defer_flush */
		marked = 1;
#endif
#if MISTAKE != 2
		if
		:: was_d -> dirty[f] = 1
		:: else
		fi;
#endif
		/* mm/swap/slots.c: swap_duplicate, from mm/reclaim/unmap.c: anon_entry */
		atomic { assert(slot == S_CACHE && slot_pfn == f); slot_count++ };
		pte = SWAPPED;
		mapcount[f]--;			/* mm/rmap/rmap.c: page_remove_rmap */
		atomic { assert(count[f] > 1); count[f]-- }
	:: else
	fi;
	ptl_unlock()
}

/* mm/reclaim/unmap.c: try_to_unmap_flush */
inline flush_batch() {
#if MISTAKE != 1
	tlb = 0;
#endif
	if
	:: marked -> batched--; marked = 0
	:: else
	fi
}

proctype reclaim() {
	byte f, rounds = 0;
	bit was_d, was_w, frozen, marked = 0;

	do
	:: rounds < ROUNDS ->
		rounds++;
		/* mm/lru/lru.c: isolate_lru_frame, under lru_lock */
		atomic {
			f = 0;
			do
			:: f < FRAMES && !(used[f] && on_lru[f] && count[f] > 0) -> f++
			:: else -> break
			od;
			if
			:: f < FRAMES -> count[f]++; on_lru[f] = 0
			:: else -> f = NONE
			fi
		};
		if
		:: f == NONE -> goto next
		:: else
		fi;
		/* mm/reclaim/shrink_page.c: shrink_page_list */
		atomic {
			if
			:: locked[f] -> goto putback
			:: else -> locked[f] = 1
			fi
		};
		if
		:: writeback[f] -> goto unlock	/* mm/reclaim/shrink_page.c: still_written */
		:: else
		fi;
		if
		:: !cached[f] ->
			/* mm/swap/cache.c: add_to_swap, mm/swap/slots.c: slot_alloc */
			atomic {
				if
				:: slot == S_FREE ->
					slot = S_CACHE; slot_pfn = f; slot_count = 0;
					cached[f] = 1; count[f]++
				:: else -> goto unlock
				fi
			};
			dirty[f] = 1
		:: else
		fi;
		if
		:: mapcount[f] > 0 -> try_to_unmap(f)
		:: else
		fi;
#if MISTAKE != 8
		flush_batch();
#endif
		if
		:: mapcount[f] > 0 -> goto unlock
		:: else
		fi;
		if
		:: dirty[f] ->
			/* mm/reclaim/shrink_page.c: shrink_unmapped, for its own turn */
			locked[f] = 0;
			atomic {
				if
				:: locked[f] -> goto putback
				:: else -> locked[f] = 1
				fi
			};
			if
			:: mapcount[f] > 0 || writeback[f] -> goto unlock
			:: else
			fi;
			/* Somebody may have taken it over, and it is not dirty by its flag. */
			if
			:: !dirty[f] -> goto clean
			:: else
			fi;
			/* mm/reclaim/shrink_page.c: pageout */
			if
			:: count[f] != 2 -> goto unlock
			:: else
			fi;
			dirty[f] = 0;
			/* mm/swap/io.c: swap_writepage */
			if
			:: slot_count == 0 ->
				try_to_free_swap(f);
				goto unlock
			:: else
			fi;
			atomic { writeback[f] = 1; locked[f] = 0 };
			/* mm/reclaim/shrink_page.c: shrink_dirty, once it is written */
			atomic { !writeback[f] };
			atomic {
				if
				:: locked[f] -> goto putback
				:: else -> locked[f] = 1
				fi
			};
			if
			:: writeback[f] || dirty[f] -> goto unlock
			:: else
			fi
		:: else
		fi;
clean:
		if
		:: !cached[f] -> goto unlock
		:: else
		fi;
		/* mm/reclaim/shrink_page.c: remove_mapping */
		atomic {
#if MISTAKE == 3
			frozen = (mapcount[f] == 0);
#else
			frozen = (count[f] == 2);
#endif
			if
			:: frozen -> count[f] = 0
			:: else
			fi
		};
		if
		:: !frozen -> goto unlock
		:: else
		fi;
		if
		:: dirty[f] || writeback[f] -> count[f] = 2; goto unlock
		:: else
		fi;
		/* mm/swap/cache.c: delete_frozen_from_swap_cache */
		atomic { uncache_locked(f) };
		locked[f] = 0;
		/* mm/reclaim/shrink_page.c: free_dead */
		atomic {
			assert(mapcount[f] == 0 && count[f] == 0);
			assert(!tlb || tlb_pfn != f);
			used[f] = 0; dirty[f] = 0; uptodate[f] = 0
		};
		goto next;
unlock:
		locked[f] = 0;
putback:
		/* mm/lru/lru.h: putback_lru_page */
		atomic { on_lru[f] = 1 };
		put_page(f);
next:
#if MISTAKE == 8
		flush_batch()
#else
		skip
#endif
	:: else -> break
	od;
	done++
}

/* The device: reads the frame at some moment of the write. drivers: block_complete */
active proctype device() {
	byte f;

	do
	:: atomic {
		writeback[0] || writeback[1] || writeback[2] ->
		f = (writeback[0] -> 0 : (writeback[1] -> 1 : 2));
	   }
	   disk = data[f];
	   writeback[f] = 0			/* mm/swap/io.c: end_swap_write */
	:: done == PROCESSES -> break
	od
}

/* ---- faults ---------------------------------------------------------------------------------- */

/* mm/swap/cache.c: swap_cache_page_of. g: the page, referenced; NONE: nobody names the slot, or no
 * memory. Reads what it has put there itself, and unlocks it. */
inline swap_in(g) {
	byte fresh = NONE;
	do
	:: atomic {				/* mm/swap/cache.c: lookup_swap_cache */
		g = NONE;
		if
#if MISTAKE == 4
		:: slot == S_CACHE -> g = slot_pfn; count[g]++
#else
		:: slot == S_CACHE && count[slot_pfn] > 0 -> g = slot_pfn; count[g]++
#endif
		:: else
		fi
	   };
	   if
	   :: g != NONE || slot == S_FREE -> break
	   :: else
	   fi;
	   if
	   :: fresh == NONE ->
		alloc_page(fresh);
		if
		:: fresh == NONE -> break
		:: else -> locked[fresh] = 1
		fi
	   :: else
	   fi;
	   atomic {				/* mm/swap/cache.c: cache_fresh */
		if
		:: slot == S_COUNT ->
			slot = S_CACHE; slot_pfn = fresh;
			cached[fresh] = 1; count[fresh]++; g = fresh
		:: else
		fi
	   };
	   if
	   :: g == fresh && g != NONE ->
		data[g] = disk;			/* mm/swap/io.c: swap_readpage */
		atomic { on_lru[g] = 1 };
		atomic { uptodate[g] = 1; locked[g] = 0 };	/* mm/swap/io.c: end_swap_read */
		fresh = NONE;
		break
	   :: else
	   fi
	od;
	if
	:: fresh != NONE -> atomic { locked[fresh] = 0; put_page(fresh); fresh = NONE }
	:: else
	fi
}

/* mm/fault/swapin.c: do_swap_page */
inline do_swap_page(write) {
	swap_in(g);
	if
	:: g == NONE -> skip
	:: else ->
		atomic { !locked[g] -> locked[g] = 1 };	/* mm/base/page_wait.c: lock_page */
		if
		:: !(cached[g] && slot == S_CACHE && slot_pfn == g) -> skip
		:: else ->
			ptl_lock();
			if
#if MISTAKE != 5
			:: pte != SWAPPED -> skip
#endif
			:: else ->
				/* mm/fault/swapin.c: map_swapped_in */
				assert(uptodate[g]);
				own = 0;
				if
				:: write ->
					/* mm/swap/cache.c: reuse_swap_page */
					n = mapcount[g] + (cached[g] -> slot_count : 0);
					if
					:: n == 1 && cached[g] && !writeback[g] ->
						atomic { uncache_locked(g) };
						atomic { put_page(g); dirty[g] = 1 }
					:: else
					fi;
					own = (n <= 1)
				:: else
				fi;
				mapcount[g]++;
				atomic {
					pte = LEAF; pte_pfn = g; pte_w = own; pte_d = own
				};
				count[g]++;	/* the entry's; ours is put below */
				atomic { put_entry_locked() }	/* mm/swap/slots.c: swap_free */
			fi;
			ptl_unlock()
		fi;
		locked[g] = 0;
		put_page(g)
	fi
}

/* mm/fault/memory.c: do_anon_page */
inline do_anon_page() {
	alloc_page(g);
	if
	:: g == NONE -> skip
	:: else ->
		data[g] = 0;
		uptodate[g] = 1;
		ptl_lock();
		if
		:: pte == EMPTY ->
			mapcount[g]++;
			atomic { pte = LEAF; pte_pfn = g; pte_w = 1; pte_d = 1 };
			atomic { on_lru[g] = 1 };
			ptl_unlock()
		:: else ->
			ptl_unlock();
			put_page(g)
		fi
	fi
}

/* mm/fault/memory.c: do_wp_page, wp_page_copy */
inline do_wp_page() {
	ptl_lock();
	if
	:: pte == LEAF && !pte_w ->
		g = pte_pfn;
		atomic {
			own = (count[g] == 1 && !locked[g] && mapcount[g] == 1 && !cached[g])
		};
		if
		:: own ->
			atomic { pte_w = 1; pte_d = 1 };
			ptl_unlock()
		:: else ->
			atomic { count[g]++ };
			ptl_unlock();
			alloc_page(h);
			if
			:: h == NONE -> put_page(g)
			:: else ->
				data[h] = data[g];
				uptodate[h] = 1;
				ptl_lock();
				if
				:: pte == LEAF && pte_pfn == g && !pte_w ->
					/* mm/fault/memory.c: wp_replace */
					atomic { pte = EMPTY; pte_pfn = NONE };
					atomic { tlb = 0 };
					mapcount[h]++;
					atomic { on_lru[h] = 1 };
					atomic { pte = LEAF; pte_pfn = h; pte_w = 1; pte_d = 1 };
					mapcount[g]--;
					ptl_unlock();
					put_page(g);
					put_page(g)
				:: else ->
					ptl_unlock();
					put_page(h);
					put_page(g)
				fi
			fi
		fi
	:: else -> ptl_unlock()
	fi
}

inline fault(write) {
	if
	:: pte == EMPTY -> do_anon_page()
	:: pte == SWAPPED -> do_swap_page(write)
	:: pte == LEAF && write && !pte_w -> do_wp_page()
	:: else
	fi
}

/* The processor fills its TLB from the entry, and sets the dirty bit there. */
inline walk(write) {
	atomic {
		if
		:: pte == LEAF && (!write || pte_w) ->
			tlb = 1; tlb_pfn = pte_pfn; tlb_w = pte_w; tlb_gen = gen;
			pte_d = pte_d || write;
			tlb_d = pte_d
		:: else
		fi
	}
}

proctype program() {
	byte ops = 0, g = NONE, h = NONE, n;
	bit own, write, hit;

	do
	:: ops < OPS ->
		if
#ifdef WRITES
		:: write = 1
#endif
		:: write = 0
		fi;
		hit = 0;
		if
		:: tlb -> tlb = 0		/* the TLB forgets as it likes */
		:: skip
		fi;
		do
		:: atomic {
			if
			:: tlb && write && tlb_w && tlb_d ->
				truth = (truth + 1) % 4; data[tlb_pfn] = truth; hit = 1
			:: tlb && !write ->
				assert(data[tlb_pfn] == truth); hit = 1
			:: else
			fi
		   };
		   if
		   :: hit -> break
		   :: else
		   fi;
		   walk(write);
		   if
		   :: tlb && (!write || (tlb_w && tlb_d)) -> skip
		   :: else -> fault(write)
		   fi
		od;
		ops++
	:: else -> break
	od;
	done++
}

/* Another process writes to the page (process_vm_writev). */
proctype outsider() {
	byte g = NONE;

	ptl_lock();			/* mm/fault/access.c: get_user_page */
	if
	:: pte == LEAF && pte_w -> g = pte_pfn; atomic { count[g]++ }
	:: else
	fi;
	ptl_unlock();
	if
	:: g != NONE ->
		atomic { truth = (truth + 1) % 4; data[g] = truth };
		dirty[g] = 1;		/* mm/object/filemap.c: set_page_dirty */
		put_page(g)
	:: else
	fi;
	done++
}

/* ---- what takes the entry away --------------------------------------------------------------- */

/* mm/space/teardown.c: zap_pte, and what tlb_finish_mmu and mm/swap/slots.c: free_swap_and_cache do. */
inline zap() {
	ptl_lock();
	if
	:: pte == LEAF ->
		g = pte_pfn;
		atomic { pte = EMPTY; pte_pfn = NONE; pte_w = 0; pte_d = 0; tlb = 0; truth = 0; gen++ };
		mapcount[g]--;
		ptl_unlock();
		/* mm/swap/cache.c: free_swap_cache */
		if
		:: cached[g] && mapcount[g] == 0 ->
			atomic {
				if
				:: !locked[g] -> locked[g] = 1; own = 1
				:: else -> own = 0
				fi
			};
			if
			:: own -> try_to_free_swap(g); locked[g] = 0
			:: else
			fi
		:: else
		fi;
		put_page(g)
	:: pte == SWAPPED ->
		atomic { pte = EMPTY; truth = 0; gen++ };
		atomic {
			put_entry_locked();
			g = NONE;
			if
			:: slot == S_CACHE && slot_count == 0 && count[slot_pfn] > 0 ->
				g = slot_pfn; count[g]++
			:: else
			fi
		};
		if
		:: g != NONE ->
			atomic {
				if
				:: !locked[g] -> locked[g] = 1; own = 1
				:: else -> own = 0
				fi
			};
			if
			:: own ->
				if
				:: cached[g] && slot_pfn == g && mapcount[g] == 0 -> try_to_free_swap(g)
				:: else
				fi;
				locked[g] = 0
			:: else
			fi;
			put_page(g)
		:: else
		fi;
		ptl_unlock()
	:: else -> ptl_unlock()
	fi;
	/* mm/table/gather.c: tlb_finish_mmu */
	if
	:: batched > 0 -> tlb = 0
	:: else
	fi;
	assert(!tlb || tlb_gen == gen)
}

/* mm/space/madvise.c: madvise_dontneed_free */
proctype dontneed() {
	byte g;
	bit own;

	zap();
	done++
}

/* mm/reclaim/swapoff.c: try_to_unuse. It ends when no slot is in use, or gives up. */
proctype swapoff() {
	byte g, tries = 0;

	do
	:: slot == S_FREE || tries == TRIES -> break
	:: else ->
		tries++;
		/* mm/reclaim/swapoff.c: unuse_entry */
		if
		:: pte == SWAPPED ->
			swap_in(g);
			if
			:: g == NONE -> skip
			:: else ->
				atomic { !locked[g] -> locked[g] = 1 };
				atomic { !writeback[g] };
				if
				:: cached[g] && slot == S_CACHE && slot_pfn == g ->
					ptl_lock();
					if
#if MISTAKE == 6
					:: true ->
#else
					:: pte == SWAPPED ->
#endif
						assert(uptodate[g]);
						count[g]++;
						mapcount[g]++;
						atomic { pte = LEAF; pte_pfn = g; pte_w = 0; pte_d = 0 };
						atomic { put_entry_locked() }
#if MISTAKE != 6
					:: else
#endif
					fi;
					ptl_unlock();
					try_to_free_swap(g)
				:: else
				fi;
				locked[g] = 0;
				put_page(g)
			fi
		:: else
		fi;
		/* mm/reclaim/swapoff.c: unuse_cached */
		atomic {
			g = NONE;
			if
			:: slot == S_CACHE && count[slot_pfn] > 0 -> g = slot_pfn; count[g]++
			:: else
			fi
		};
		if
		:: g != NONE ->
			atomic { !locked[g] -> locked[g] = 1 };
			atomic { !writeback[g] };
			try_to_free_swap(g);
			locked[g] = 0;
			put_page(g)
		:: else
		fi
	od;
	done++
}

/* ---- start and end --------------------------------------------------------------------------- */

init {
	byte g = NONE, i;
	bit own;

	atomic {
		if
		:: used[0] = 1; count[0] = 1; mapcount[0] = 1; uptodate[0] = 1; on_lru[0] = 1;
		   pte = LEAF; pte_pfn = 0; pte_w = 1; pte_d = 1
		:: used[0] = 1; count[0] = 2; mapcount[0] = 1; uptodate[0] = 1; on_lru[0] = 1;
		   cached[0] = 1; slot = S_CACHE; slot_pfn = 0;
		   pte = LEAF; pte_pfn = 0
		:: slot = S_COUNT; slot_count = 1; pte = SWAPPED
		fi;
		run program();
#ifdef WRITES
		run outsider();
#endif
#ifdef DONTNEED
		run dontneed();
#endif
#ifdef SWAPOFF
		run swapoff();
#endif
		run reclaim()
	};
	done == PROCESSES;
	/* What reclaim left in the cache without an entry, reclaim would take later. */
	zap();
	atomic {
		!writeback[0] && !writeback[1] && !writeback[2];
		i = 0;
		do
		:: i < FRAMES ->
			if
			:: used[i] && cached[i] && slot_count == 0 && count[i] == 1 ->
				uncache_locked(i); count[i] = 0; used[i] = 0
			:: else
			fi;
			assert(!used[i]);
			i++
		:: else -> break
		od;
		assert(slot == S_FREE && pte == EMPTY)
	}
}
