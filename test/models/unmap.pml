/* SPDX-License-Identifier: MIT */
/*
 * One page of a file in one space, with one table: a fault that maps it, a munmap that takes VMA, entry,
 * table and frame away, a truncation that comes by way of the file, and three CPUs that run the space and
 * keep translations, of the page and of the table. What may interleave in mm/ is a step here; each names
 * its place as `file: function`, which the test looks up.
 *
 * Bounds: FAULTS faults, one munmap, one truncation, USES accesses by each CPU.
 *
 * Claims: no CPU reaches a frame, or a table, that is free; a page that leaves the file is mapped nowhere;
 * who locks a table locks one that is there; at the end everything is free.
 *
 * MISTAKE n breaks one rule; the search has to find it:
 *   1 frames are freed before the flush
 *   2 tables are freed before the flush
 *   3 a table's count falls before the page has lost its mapping
 *   4 tables are freed while the VMA can still be found through the file
 */
#ifndef FAULTS
#define FAULTS 2
#endif
#ifndef USES
#define USES 2
#endif
#ifndef MISTAKE
#define MISTAKE 0
#endif
#define CPUS 3

/* the space */
byte mmap_readers = 0;
bit mmap_writer = 0, vma = 1, in_file_tree = 1; /* VMA in the space's tree, in the file's */
bit linked = 0;		/* the table, from above */
bit table_used = 0;	/* it is no free page */
byte count = 0;		/* page->private of the table */
bit entry = 0;
bit ptl = 0, i_mmap = 0, page_lock = 0;

/* the frame: a reference of the file, one of the entry */
bit cached = 1, frame_free = 0;
byte refs = 1, mapcount = 0;
bit ended = 0;		/* i_size */

/* what CPUs hold */
bit leaf[CPUS], pointer[CPUS];
byte done = 0;

#define lock(l) atomic { !l -> l = 1 }
#define unlock(l) l = 0

inline put_frame()
{
	atomic { assert(refs); refs--; if :: refs == 0 -> frame_free = 1 :: else fi }
}

/* hal_tlb_flush: CPU by CPU, each when it takes the call */
inline flush(tables)
{
	c = 0;
	do
	:: c < CPUS -> atomic { leaf[c] = 0; if :: tables -> pointer[c] = 0 :: else fi; c++ }
	:: else -> break
	od;
	c = 0
}

/* A CPU in user mode. */
active [CPUS] proctype cpu()
{
	byte uses = 0;

	do
	:: uses == USES -> break
	:: atomic { uses < USES && leaf[_pid] -> assert(!frame_free); uses++ }
	/* reads the entry through what it keeps of the table above */
	:: atomic { uses < USES && !leaf[_pid] && pointer[_pid] ->
		assert(table_used); leaf[_pid] = entry; uses++ }
	:: atomic { uses < USES && !leaf[_pid] && !pointer[_pid] && linked -> pointer[_pid] = 1 }
	:: done == 3 -> break
	od
}

active proctype fault()
{
	byte n = 0;

	do
	:: n == FAULTS -> break
	:: n < FAULTS ->
		n++;
		/* mm/fault/fault.c: do_page_fault */
		atomic { !mmap_writer -> mmap_readers++ };
		if
		:: !vma -> goto out
		:: else
		fi;
		/* mm/object/filemap.c: filemap_fault */
		lock(page_lock);
		if
		:: !cached || ended -> unlock(page_lock); goto out
		:: else -> refs++
		fi;
		/* mm/table/pgtable.c: pt_make */
		if
		:: !linked -> atomic { table_used = 1; count = 0; linked = 1 }
		:: else
		fi;
		/* mm/fault/memory.c: finish_fault */
		lock(ptl);
		assert(table_used);
		if
		:: !entry ->
			mapcount++;
			count++; /* mm/fault/memory.c: install_pte */
			entry = 1;
			unlock(ptl);
			unlock(page_lock)
		:: else ->
			unlock(ptl);
			unlock(page_lock);
			put_frame()
		fi;
out:		mmap_readers--
	od;
	done++
}

/* mm/space/teardown.c: zap_pte_range; the page's reference is put by the caller after the flush */
inline zap()
{
	taken = 0;
	if
	:: count == 0 -> skip /* passed over without its lock */
	:: else ->
		lock(ptl);
		assert(table_used);
		if
		:: entry ->
			entry = 0;
			taken = 1;
			if
			:: MISTAKE == 3 -> count--; mapcount--
			:: else -> mapcount--; count--
			fi
		:: else
		fi;
		unlock(ptl)
	fi
}

active proctype munmap()
{
	bit taken = 0;
	byte c = 0;

	/* mm/space/mmap.c: do_munmap */
	atomic { !mmap_writer && !mmap_readers -> mmap_writer = 1 };
	vma = 0;
	zap();
	if
	:: MISTAKE == 4
	:: else ->
		/* mm/space/teardown.c: free_pgtables: out of the file's tree first */
		lock(i_mmap);
		in_file_tree = 0;
		unlock(i_mmap)
	fi;
	/* mm/table/gather.c: tlb_finish_mmu, tlb_flush_mmu */
	if
	:: linked -> linked = 0
	:: else
	fi;
	if
	:: MISTAKE == 1 && taken -> put_frame()
	:: MISTAKE == 2 -> table_used = 0
	:: else
	fi;
	flush(1);
	if
	:: MISTAKE != 1 && taken -> put_frame()
	:: else
	fi;
	atomic { assert(!ptl); table_used = 0 };
	if
	:: MISTAKE == 4 ->
		lock(i_mmap);
		in_file_tree = 0;
		unlock(i_mmap)
	:: else
	fi;
	mmap_writer = 0;
	done++
}

/* mm/object/filemap.c: quire_inode_truncate */
active proctype truncate()
{
	bit taken = 0, found = 0;
	byte c = 0;

	ended = 1;
	/* mm/object/filemap.c: truncate_page */
	lock(page_lock);
	if
	:: mapcount ->
		/* mm/space/teardown.c: unmap_mapping_range: finds the VMA, and its table without mmap_lock */
		lock(i_mmap);
		if
		:: in_file_tree ->
			found = linked;
			if
			:: found -> zap()
			:: else
			fi;
			/* mm/table/gather.c: tlb_finish_mmu */
			flush(0);
			if
			:: taken -> put_frame()
			:: else
			fi
		:: else
		fi;
		unlock(i_mmap)
	:: else
	fi;
	/* mm/object/filemap.c: delete_from_page_cache */
	assert(mapcount == 0);
	cached = 0;
	put_frame();
	unlock(page_lock);
	done++
}
