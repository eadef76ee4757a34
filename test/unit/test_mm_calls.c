/* SPDX-License-Identifier: MIT */
/*
 * Branches of the memory calls that no program of the kernel here reaches: objects that change what
 * they are mapped as, special areas, hooks that choose addresses, limits met at every place.
 */
#include "object.h"

#define MAYMOVE   MREMAP_MAYMOVE
#define FIXED_TO (MREMAP_MAYMOVE | MREMAP_FIXED)
#define DONTUNMAP MREMAP_DONTUNMAP
#define NO_MEMORY (-12)
#define AGAIN	  (-11)
#define INVALID	  (-22)
#define FAULTED	  (-14)

/* ---- objects with a will of their own ---------------------------------------------------------- */

Test(mm_calls, an_object_changes_flags)
{
	struct quire_file *f;

	space_up();
	f = object(&own_ops);
	object_flags = VM_DONTDUMP;
	cr_expect_eq(mmap_file(AT(0), 2, RW, MAP_SHARED | FIX, f, 0), (long)AT(0));
	cr_expect_eq(mmap_file(AT(2), 2, RW, MAP_SHARED | FIX, f, 2), (long)AT(2));
	cr_expect_eq(mm_now()->map_count, 1, "merged once the flags were known");
	cr_expect_eq(mmap_file(AT(4), 2, RW, MAP_SHARED | FIX, f, 9), (long)AT(4));
	cr_expect_eq(mm_now()->map_count, 2);
	/* Nothing before it: it stays alone although the flags changed. */
	munmap_at(AT(0), 8);
	cr_expect_eq(mmap_file(AT(0), 1, RW, MAP_PRIVATE | FIX, f, 0), (long)AT(0));
	cr_expect_eq(store_at(AT(0), 1), 0);
	quire_file_put(f);
	space_down();
}

Test(mm_calls, an_object_refuses)
{
	struct quire_file *f;
	uint64_t free;

	space_up();
	f = object(&own_ops);
	mmap_at(AT(0), 4, RW, PRIV | FIX);
	store_at(AT(1), 7);
	free = vm_memory_committed();
	object_error = -5;
	/* What was there is gone: the object is asked last. */
	cr_expect_eq(mmap_file(AT(2), 1, RW, MAP_SHARED | FIX, f, 0), -5);
	cr_expect_eq(mmap_file(AT(3), 1, RW, MAP_PRIVATE | FIX, f, 0), -5);
	cr_expect_eq(load_at(AT(1)), 7);
	cr_expect_eq(touch_at(AT(2)), MAPERR);
	cr_expect_eq(touch_at(AT(3)), MAPERR);
	cr_expect_eq(vm_memory_committed(), (long)free - 2);
	object_error = 0;
	cr_expect_eq(mmap_file(AT(2), 1, RW, MAP_SHARED | FIX, f, 0), (long)AT(2));
	quire_file_put(f);
	space_down();
}

Test(mm_calls, executables_deny_writers)
{
	struct quire_file *f;
	size_t populate;

	space_up();
	f = file_new(4, QUIRE_FMODE_READ);
	down_write(&mm_now()->mmap_lock);
	cr_expect_eq(do_mmap(mm_now(), to_file(f), AT(0), 2 * PS, PROT_READ,
			     MAP_PRIVATE | MAP_DENYWRITE | FIX, 0, &populate), AT(0));
	up_write(&mm_now()->mmap_lock);
	check_now();
	quire_file_put(f);
	f = object(&own_ops);
	object_error = -5;
	down_write(&mm_now()->mmap_lock);
	cr_expect_eq((long)do_mmap(mm_now(), to_file(f), AT(8), 2 * PS, PROT_READ,
				   MAP_PRIVATE | MAP_DENYWRITE | FIX, 0, &populate),
		     -26, "a writer has it open");
	up_write(&mm_now()->mmap_lock);
	quire_file_put(f);
	space_down();
}

Test(mm_calls, hooks_choose_addresses)
{
	struct quire_file *f;

	space_up();
	f = object(&placing_ops);
	object_place = AT(5);
	cr_expect_eq(mmap_file(0, 1, RW, MAP_SHARED, f, 0), (long)AT(5));
	object_place = AT(6) + 1;
	cr_expect_eq(mmap_file(0, 1, RW, MAP_SHARED, f, 0), INVALID);
	object_place = (uintptr_t)NO_MEMORY;
	cr_expect_eq(mmap_file(0, 1, RW, MAP_SHARED, f, 0), NO_MEMORY);
	object_place = mm_now()->task_size;
	cr_expect_eq(mmap_file(0, 1, RW, MAP_SHARED, f, 0), NO_MEMORY);
	mm_now()->get_unmapped_area = own_place;
	object_place = AT(9);
	cr_expect_eq(mmap_at(0, 1, RW, PRIV), (long)AT(9));
	/* A place below the lowest address is for who may. */
	object_place = PS;
	no_caps = true;
	cr_expect_eq(mmap_at(0, 1, RW, PRIV), -1);
	no_caps = false;
	quire_file_put(f);
	space_down();
}

/* ---- special areas ----------------------------------------------------------------------------- */

Test(mm_calls, special_areas)
{
	struct quire_file *f;

	space_up();
	f = object(&own_ops);
	object_flags = VM_IO;
	cr_expect_eq(mmap_file(AT(0), 2, RW, MAP_SHARED | FIX | MAP_LOCKED, f, 0), (long)AT(0));
	cr_expect_eq(mmap_file(AT(2), 2, RW, MAP_SHARED | FIX, f, 2), (long)AT(2));
	cr_expect_eq(mm_now()->map_count, 2, "special areas never merge");
	cr_expect_eq(mm_now()->locked_vm, 0, "nor are they locked");
	cr_expect_eq(CALL(quire_mlock(cur, AT(0), 4 * PS, 0)), 0);
	cr_expect_eq(mm_now()->locked_vm, 0);
	cr_expect_not(present_at(AT(0)), "populating passes them over");
	cr_expect_eq(madvise_at(AT(0), 4, 10), 0, "DONTFORK");
	cr_expect_eq(madvise_at(AT(0), 4, 11), INVALID, "DOFORK");
	cr_expect_eq(madvise_at(AT(0), 4, 16), 0, "DONTDUMP");
	cr_expect_eq(madvise_at(AT(0), 4, 17), INVALID, "DODUMP");
	cr_expect_eq(madvise_at(AT(0), 4, 12), 0, "MERGEABLE is ignored");
	object_flags = VM_DONTEXPAND;
	mmap_file(AT(8), 2, RW, MAP_SHARED | FIX, f, 0);
	cr_expect_eq(CALL(quire_mremap(cur, AT(8), 2 * PS, 4 * PS, MAYMOVE, 0)), FAULTED);
	cr_expect_eq(CALL(quire_mremap(cur, AT(8), 2 * PS, 2 * PS, FIXED_TO, AT(20))), (long)AT(20));
	object_flags = VM_PFNMAP;
	mmap_file(AT(12), 2, RW, MAP_SHARED | FIX, f, 0);
	for (int advice = 4; advice <= 21; advice += advice == 4 ? 4 : 12) /* DONTNEED FREE COLD */
		cr_expect_eq(madvise_at(AT(12), 2, advice), INVALID, "%d", advice);
	quire_file_put(f);
	space_down();
}

/* ---- the number of areas ----------------------------------------------------------------------- */

static void areas_left(long n)
{
	cr_assert_eq(quire_sysctl_set("max_map_count", mm_now()->map_count + n), 0);
}

Test(mm_calls, too_many_areas)
{
	space_up();
	mmap_at(AT(0), 8, RW, PRIV | FIX);
	areas_left(1);
	/* The first cut is made, the second refused: Linux leaves it so. */
	cr_expect_eq(madvise_at(AT(2), 2, 1), NO_MEMORY, "not -EAGAIN: that is for memory");
	cr_expect_eq(mm_now()->map_count, 2);
	areas_left(1);
	cr_expect_eq(mprotect_at(AT(4), 2, PROT_READ), NO_MEMORY);
	areas_left(1);
	cr_expect_eq(CALL(quire_mlock(cur, AT(6), PS, 0)), NO_MEMORY);
	areas_left(0);
	cr_expect_eq(madvise_at(AT(0), 1, 1), NO_MEMORY);
	cr_expect_eq(mprotect_at(AT(0), 1, PROT_READ), NO_MEMORY);
	cr_expect_eq(CALL(quire_mlock(cur, AT(0), PS, 0)), NO_MEMORY);
	quire_sysctl_set("max_map_count", 65530);
	mmap_at(AT(100), 4, RW, PRIV | FIX);
	areas_left(0);
	cr_expect_eq(munmap_at(AT(101), 1), NO_MEMORY);
	cr_expect_eq(munmap_at(AT(100), 1), 0);
	areas_left(3);
	cr_expect_eq(CALL(quire_mremap(cur, AT(101), PS, 2 * PS, MAYMOVE, 0)), NO_MEMORY);
	cr_expect_eq(CALL(quire_mremap(cur, AT(101), PS, PS, FIXED_TO, AT(200))), NO_MEMORY);
	quire_mm_set_layout(cur, &(struct quire_mm_layout){.start_brk = AT(300), .brk = AT(300)});
	areas_left(-1);
	cr_expect_eq(CALL(quire_brk(cur, AT(301))), (long)AT(300));
	cr_expect_eq(mmap_at(AT(400), 1, RW, PRIV | FIX), NO_MEMORY);
	space_down();
}

/* ---- limits ------------------------------------------------------------------------------------ */

Test(mm_calls, a_limit_of_no_data)
{
	space_up();
	limit_set(RLIMIT_DATA, 0);
	cr_expect_eq(mmap_at(AT(0), 1, RW, PRIV | FIX), (long)AT(0), "the break alone is meant");
	hard_limits = 2 * PS;
	cr_expect_eq(mmap_at(AT(1), 1, RW, PRIV | FIX), (long)AT(1));
	cr_expect_eq(mmap_at(AT(2), 1, RW, PRIV | FIX), NO_MEMORY, "the hard limit holds");
	hard_limits = RLIM_INFINITY;
	limit_set(RLIMIT_DATA, 1);
	cr_expect_eq(mmap_at(AT(2), 1, RW, PRIV | FIX), NO_MEMORY);
	space_down();
}

Test(mm_calls, stacks_are_refused)
{
	space_up();
	/* Room, commitment and limits of a program's first stack. */
	mmap_at(AT(0), 4, RW, PRIV | FIX);
	cr_expect_eq(CALL(quire_mm_setup_stack(cur, AT(5), 2 * PS, false)), NO_MEMORY);
	limit_set(RLIMIT_AS, 5 * PS);
	cr_expect_eq(CALL(quire_mm_setup_stack(cur, AT(50), 2 * PS, false)), NO_MEMORY);
	limit_set(RLIMIT_AS, LIMIT_NONE);
	cr_expect_eq(CALL(quire_mm_setup_stack(cur, AT(50) + (1ul << 40), 1ul << 40, false)),
		     NO_MEMORY);
	/* Growth below the lowest address, over the promise, and past another area's end. */
	mmap_at(0x20000, 1, RW, PRIV | FIX | MAP_GROWSDOWN);
	cr_expect_eq(store_at(0x8000, 1), MAPERR);
	cr_expect_eq(store_at(0x10000, 1), 0);
	quire_sysctl_set("overcommit_memory", 2);
	mmap_at(AT(4000), 1, RW, PRIV | FIX | MAP_GROWSDOWN);
	quire_sysctl_set("overcommit_kbytes", 1);
	cr_expect_eq(store_at(AT(3000), 1), MAPERR);
	quire_sysctl_set("overcommit_memory", 0);
	cr_expect_eq(store_at(AT(3000), 1), 0);
	/* A copy by the kernel grows a locked stack with all its pages. */
	mmap_at(AT(6000), 1, RW, PRIV | FIX | MAP_GROWSDOWN);
	quire_mlock(cur, AT(6000), PS, 0);
	cr_expect_eq(quire_fault_in(cur, AT(5990), true), 0);
	check_now();
	space_down();
}

Test(mm_calls, layouts)
{
	long low, high;

	space_up();
	quire_sysctl_set("legacy_va_layout", 1);
	high = mmap_at(0, 1, RW, PRIV);
	cr_expect_eq((unsigned long)high, mm_now()->mmap_base - PS, "decided when it was made");
	space_put(cur);
	run_space(space_new());
	low = mmap_at(0, 2, RW, PRIV);
	cr_expect_eq((unsigned long)low, PAGE_ALIGN(mm_now()->stack_top / 3));
	cr_expect_eq(mmap_at(0, 1, PROT_READ, PRIV), low + 2 * (long)PS, "upwards");
	munmap_at(low, 1);
	cr_expect_eq(mmap_at(0, 1, PROT_READ, PRIV), low);
	cr_expect_eq(mmap_at(0, (mm_now()->task_size >> PAGE_SHIFT) - 1, PROT_NONE, PRIV), NO_MEMORY);
	space_down();
}

/* A space filled but for one page: searches from either end find it, or nothing. */
Test(mm_calls, the_last_free_page)
{
	uintptr_t lowest, pages, half;

	for (int legacy = 0; legacy < 2; legacy++) {
		space_up();
		quire_sysctl_set("legacy_va_layout", legacy);
		space_put(cur);
		run_space(space_new());
		lowest = 65536;
		half = PAGE_ALIGN(mm_now()->task_size / 2);
		pages = (mm_now()->task_size - lowest) >> PAGE_SHIFT;
		mmap_at(lowest, pages, PROT_NONE, PRIV | FIX | MAP_NORESERVE);
		mprotect_at(AT(8), 1, PROT_READ);
		mprotect_at(half + 64 * PS, 1, PROT_READ);
		cr_expect_eq(mmap_at(0, 1, RW, PRIV), NO_MEMORY);
		munmap_at(half, 1);
		cr_expect_eq(mmap_at(0, 2, RW, PRIV), NO_MEMORY);
		cr_expect_eq(mmap_at(0, 1, RW, PRIV), (long)half);
		munmap_at(AT(4), 2);
		cr_expect_eq(mmap_at(0, 1, RW, PRIV), legacy ? NO_MEMORY : (long)AT(5));
		space_down();
	}
}

/* ---- what is in memory ------------------------------------------------------------------------- */

Test(mm_calls, mincore_in_parts)
{
	uintptr_t vec = AT(2000);

	space_up();
	mmap_at(AT(0), 700, RW, PRIV | FIX);
	mmap_at(vec, 2, RW, PRIV | FIX);
	store_at(AT(3), 1);
	store_at(AT(600), 1);
	cr_expect_eq(CALL(quire_mincore(cur, AT(0), 700 * PS, vec)), 0);
	cr_expect_eq(load_at(vec) >> 24 & 0xff, 1);
	cr_expect_eq(load_at(vec + 600) & 0xff, 1);
	cr_expect_eq(CALL(quire_mincore(cur, AT(0), 701 * PS, vec)), NO_MEMORY);
	cr_expect_eq(CALL(quire_mincore(cur, AT(0), 700 * PS, vec + 2 * PS - 300)), FAULTED);
	cr_expect_eq(CALL(quire_mincore(cur, AT(0), PS, mm_now()->task_size)), FAULTED);
	space_down();
}

/* ---- rights ------------------------------------------------------------------------------------ */

static unsigned asked;

static vm_fault_t own_mkwrite(struct vm_fault *vmf)
{
	asked++;
	return 0;
}

static struct vm_operations_struct noticed_ops;

/* An object that wants to know of each first write. */
static int noticing_mmap(struct file *file, struct vm_area_struct *vma)
{
	int err = real_ops->mmap(file, vma);

	noticed_ops = *vma->vm_ops;
	noticed_ops.page_mkwrite = own_mkwrite;
	vma->vm_ops = &noticed_ops;
	return err;
}

static const struct file_operations noticing_ops = {.mmap = noticing_mmap};

Test(mm_calls, known_dirty_pages_are_not_noticed_again)
{
	struct quire_file *f;

	space_up();
	f = object(&noticing_ops);
	mmap_file(AT(0), 4, RW, MAP_SHARED | FIX, f, 0);
	asked = 0;
	store_at(AT(0), 1);
	load_at(AT(1));
	cr_expect_eq(asked, 1);
	mprotect_at(AT(0), 4, PROT_READ);
	cr_expect_eq(store_at(AT(0), 1), ACCERR);
	mprotect_at(AT(0), 4, RW);
	taken = 0;
	cr_expect_eq(store_at(AT(0), 2), 0);
	cr_expect_eq(taken, 0, "its page is known to be dirty");
	cr_expect_eq(store_at(AT(1), 2), 0);
	cr_expect_eq(asked, 2, "the other one is not");
	mprotect_at(AT(0), 4, PROT_NONE);
	mprotect_at(AT(0), 2, RW);
	cr_expect_eq(store_at(AT(0), 3), 0);
	quire_file_put(f);
	space_down();
}

Test(mm_calls, ranges_above_everything)
{
	space_up();
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	cr_expect_eq(mprotect_at(AT(9), 1, RW), NO_MEMORY);
	cr_expect_eq(CALL(quire_mprotect(cur, AT(9), PS, RW | PROT_GROWSDOWN)), NO_MEMORY);
	cr_expect_eq(CALL(quire_mprotect(cur, AT(9), PS, RW | PROT_GROWSUP)), NO_MEMORY);
	cr_expect_eq(madvise_at(AT(9), 1, 4), NO_MEMORY);
	cr_expect_eq(madvise_at(AT(0) - PS, 1, 4), NO_MEMORY);
	cr_expect_eq(madvise_at(AT(0) - PS, 2, 4), NO_MEMORY);
	cr_expect_eq(CALL(quire_mlock(cur, AT(9), PS, 0)), NO_MEMORY);
	cr_expect_eq(CALL(quire_msync(cur, AT(9), PS, 4)), NO_MEMORY);
	cr_expect_eq(CALL(quire_msync(cur, AT(0) - PS, PS, 4)), NO_MEMORY);
	cr_expect_eq(CALL(quire_mremap(cur, AT(9), PS, 2 * PS, 0, 0)), FAULTED);
	cr_expect_eq(CALL(quire_remap_file_pages(cur, AT(9), PS, 0, 0, 0)), INVALID);
	limit_set(RLIMIT_AS, 0);
	mmap_at(AT(0), 1, PROT_READ, PRIV | FIX);
	cr_expect_eq(mprotect_at(AT(0), 1, RW), 0, "was beyond the limit before");
	limit_set(RLIMIT_AS, LIMIT_NONE);
	space_down();
}

/* ---- moves ------------------------------------------------------------------------------------- */

Test(mm_calls, moves_of_every_kind)
{
	struct quire_file *f;

	space_up();
	f = file_new(64, FRW);
	/* Towards its older neighbour: walkers of the object must not miss a page meanwhile. */
	mmap_file(AT(0), 2, RW, MAP_SHARED | FIX, f, 0);
	mmap_file(AT(10), 2, RW, MAP_SHARED | FIX, f, 2);
	store_at(AT(10), 5);
	mprotect_at(AT(11), 1, PROT_NONE);
	mprotect_at(AT(11), 1, RW);
	cr_expect_eq(CALL(quire_mremap(cur, AT(10), 2 * PS, 2 * PS, FIXED_TO, AT(2))), (long)AT(2));
	cr_expect_eq(mm_now()->map_count, 1);
	cr_expect_eq(load_at(AT(2)), 5);
	/* Entries without rights move as they are. */
	mmap_at(AT(20), 2, RW, PRIV | FIX);
	store_at(AT(20), 6);
	mprotect_at(AT(20), 2, PROT_NONE);
	cr_expect_eq(CALL(quire_mremap(cur, AT(20), 2 * PS, 2 * PS, FIXED_TO, AT(30))), (long)AT(30));
	mprotect_at(AT(30), 2, RW);
	cr_expect_eq(load_at(AT(30)), 6);
	/* A private mapping with copies, back to its neighbour of the same anon_vma. */
	mmap_file(AT(40), 4, RW, MAP_PRIVATE | FIX, f, 8);
	store_at(AT(40), 7);
	store_at(AT(42), 8);
	cr_expect_eq(CALL(quire_mremap(cur, AT(42), 2 * PS, 2 * PS, FIXED_TO, AT(50))), (long)AT(50));
	cr_expect_eq(CALL(quire_mremap(cur, AT(50), 2 * PS, 2 * PS, FIXED_TO, AT(42))), (long)AT(42));
	cr_expect_eq(load_at(AT(42)), 8);
	cr_expect_eq(load_at(AT(40)), 7);
	quire_file_put(f);
	space_down();
}

Test(mm_calls, moves_that_are_refused)
{
	size_t all;

	space_up();
	all = mm_now()->task_size;
	mmap_at(AT(0), 4, PROT_READ, PRIV | FIX);
	mmap_at(AT(8), 4, RW, PRIV | FIX);
	store_at(AT(8), 1);
	/* What is not accounted promises nothing. */
	cr_expect_eq(CALL(quire_mremap(cur, AT(0), 2 * PS, 2 * PS, FIXED_TO | DONTUNMAP, AT(20))),
		     (long)AT(20));
	quire_sysctl_set("overcommit_memory", 2);
	quire_sysctl_set("overcommit_kbytes", 1);
	cr_expect_eq(CALL(quire_mremap(cur, AT(8), 2 * PS, 2 * PS, FIXED_TO | DONTUNMAP, AT(30))),
		     NO_MEMORY);
	cr_expect_eq(CALL(quire_mremap(cur, AT(8), 4 * PS, 8 * PS, MAYMOVE, 0)), NO_MEMORY);
	quire_sysctl_set("overcommit_memory", 0);
	cr_expect_eq(CALL(quire_mremap(cur, AT(8), PS, PS, FIXED_TO, AT(30) + 1)), INVALID);
	cr_expect_eq(CALL(quire_mremap(cur, AT(8), PS, all + PS, FIXED_TO, AT(30))), INVALID);
	cr_expect_eq(CALL(quire_mremap(cur, AT(8), PS, 2 * PS, FIXED_TO, all - PS)), INVALID);
	limit_set(RLIMIT_AS, (mm_now()->total_vm + 1) * PS);
	cr_expect_eq(CALL(quire_mremap(cur, AT(8), 2 * PS, 2 * PS, MAYMOVE | DONTUNMAP, 0)), NO_MEMORY);
	limit_set(RLIMIT_AS, LIMIT_NONE);
	/* Too long for any hole, though not promised. */
	mmap_at(AT(40), 1, RW, PRIV | FIX | MAP_NORESERVE);
	mmap_at(AT(41), 1, PROT_READ, PRIV | FIX);
	cr_expect_eq(CALL(quire_mremap(cur, AT(40), PS, all - PS, MAYMOVE, 0)), NO_MEMORY);
	cr_expect_eq(CALL(quire_mremap(cur, AT(40), PS, all + PS, 0, 0)), NO_MEMORY);
	space_down();
}

/* A stack whose key is small, far away: it may not grow below the start of its keys. */
Test(mm_calls, a_stack_grows_no_further_than_its_key)
{
	space_up();
	mmap_at(64 * PS, 2, RW, PRIV | FIX | MAP_GROWSDOWN);
	store_at(64 * PS, 1);
	cr_expect_eq(CALL(quire_mremap(cur, 64 * PS, 2 * PS, 2 * PS, FIXED_TO, AT(6000))),
		     (long)AT(6000));
	cr_expect_eq(store_at(AT(6000) - 65 * PS, 1), MAPERR);
	cr_expect_eq(store_at(AT(6000) - 64 * PS, 1), 0);
	cr_expect_eq(store_at(AT(6000) - 65 * PS, 1), MAPERR);
	space_down();
}

/* ---- what /proc shows -------------------------------------------------------------------------- */

static struct text shown;

static const char *show(void (*fn)(struct quire_mm *, quire_emit_fn, void *))
{
	shown.n = 0;
	shown.s[0] = 0;
	fn(cur, text_emit, &shown);
	return shown.s;
}

Test(mm_calls, what_proc_shows)
{
	struct quire_inode *inode = NULL;
	struct quire_file *f;
	unsigned long statm[7];

	space_up();
	f = file_new(4, FRW);
	inode = quire_file_inode(f);
	quire_inode_get(inode);
	quire_file_put(f);
	f = quire_file_open(inode, FRW, "/a\nb");
	quire_inode_put(inode);
	mmap_file(AT(0), 2, RW, MAP_SHARED | FIX, f, 0);
	mmap_file(AT(4), 2, RW, MAP_PRIVATE | FIX, f, 0);
	store_at(AT(0), 1);
	store_at(AT(4), 1);
	load_at(AT(5));
	mmap_at(AT(8), 4, RW, PRIV | FIX);
	store_at(AT(8), 1);
	store_at(AT(9), 1);
	load_at(AT(10));
	madvise_at(AT(9), 1, 8);
	mprotect_at(AT(8), 4, PROT_NONE);
	cr_expect(strstr(show(quire_show_maps), "/a\\012b\n") != NULL);
	cr_expect(strstr(show(quire_show_smaps), "VmFlags: mr mw me ac sd ") != NULL, "%s", shown.s);
	cr_expect(strstr(shown.s, "Rss:                   8 kB") != NULL);
	for (int what = 1; what <= 5; what++)
		cr_expect_eq(CALL(quire_clear_refs(cur, what)), 0);
	cr_expect_eq(quire_clear_refs(cur, 6), INVALID);
	cr_expect_eq(quire_clear_refs(cur, 0), INVALID);
	cr_expect(strstr(show(quire_show_smaps), "VmFlags: mr mw me ac \n") != NULL);
	cr_expect_eq(strstr(shown.s, "Referenced:            4 kB"), NULL, "%s", shown.s);
	quire_statm(cur, statm);
	cr_expect_eq(statm[0], 8);
	cr_expect_eq(quire_pagemap(cur, AT(100)), 0);
	cr_expect_eq(quire_pagemap(cur, AT(3)), 0, "a hole below an area");
	cr_expect(quire_pagemap(cur, AT(8)) >> 63);
	cr_expect_eq(quire_pagemap(cur, AT(0)) >> 61 & 1, 1, "a page of an object");
	quire_file_put(f);
	space_down();
}

Test(mm_calls, tunables)
{
	long v;

	space_up();
	cr_expect_eq(quire_sysctl_set("fault_around_bytes", 5 * PS), 0);
	quire_sysctl_get("fault_around_bytes", &v);
	cr_expect_eq(v, 4 * (long)PS, "a power of two below");
	quire_sysctl_set("fault_around_bytes", 1);
	quire_sysctl_get("fault_around_bytes", &v);
	cr_expect_eq(v, (long)PS);
	quire_sysctl_set("overcommit_kbytes", 64);
	quire_sysctl_get("overcommit_ratio", &v);
	cr_expect_eq(v, 0, "the one or the other");
	quire_sysctl_set("overcommit_ratio", 30);
	quire_sysctl_get("overcommit_kbytes", &v);
	cr_expect_eq(v, 0);
	quire_sysctl_get("user_reserve_kbytes", &v);
	cr_expect(v > 0 && v < 64 * 1024 / 32, "a 32nd of what is free: %ld", v);
	space_down();
}

/* ---- spaces of other shapes -------------------------------------------------------------------- */

/* A space whose ordinary maps end below its own end, as with five levels on Linux. */
Test(mm_calls, maps_above_the_ordinary)
{
	uintptr_t end, top;

	space_up();
	end = mm_now()->task_size & PAGE_MASK;
	top = PAGE_ALIGN(end / 2);
	space_put(cur);
	run_space(quire_mm_create(&(struct quire_mm_params){.stack_top = top, .end = end}));
	cr_expect_lt((unsigned long)mmap_at(0, 1, RW, PRIV), top);
	cr_expect_eq(mmap_at(top + 8 * PS, 1, RW, PRIV), (long)(top + 8 * PS), "a hint above it");
	cr_expect_gt((unsigned long)mmap_at(top + 8 * PS, 1, RW, PRIV), top, "taken: another above");
	cr_expect_lt((unsigned long)mmap_at(top - PS, 2, RW, PRIV), top, "none that straddles it");
	cr_expect_eq(mmap_at(end - PS, 2, RW, PRIV | FIX), NO_MEMORY);
	cr_expect_lt((unsigned long)mmap_at(end - PS, 2, RW, PRIV), end - PS);
	cr_expect_eq(mmap_at(0, (top >> PAGE_SHIFT) + 1, PROT_NONE, PRIV), NO_MEMORY);
	cr_expect_eq(mmap_at(top + PS, (end - PS) >> PAGE_SHIFT, PROT_NONE, PRIV), NO_MEMORY);
	space_down();
}

/* A range in the middle, for a unikernel: nothing is placed or fixed outside it. */
Test(mm_calls, a_range_in_the_middle)
{
	uintptr_t low = (uintptr_t)1 << 39, end = low << 1, pages = low >> PAGE_SHIFT;
	struct quire_mm_params p = {.supervisor = true, .start = low, .end = end};

	space_up();
	space_put(cur);
	run_space(quire_mm_create(&p));
	cr_expect_eq(mmap_at(end, 1, RW, PRIV | FIX), NO_MEMORY);
	cr_expect_eq(mmap_at(low - PS, 1, RW, PRIV | FIX), NO_MEMORY);
	cr_expect_eq(mmap_at(0, pages + 1, PROT_NONE, PRIV), NO_MEMORY);
	cr_expect_geq((unsigned long)mmap_at(low - 8 * PS, 1, RW, PRIV), low);
	mmap_at(low + 8 * PS, 1, RW, PRIV | FIX | MAP_GROWSDOWN);
	quire_sysctl_set("stack_guard_gap", 0);
	cr_expect_eq(quire_fault_in(cur, low - PS, true), FAULTED);
	cr_expect_eq(quire_fault_in(cur, low + 2 * PS, true), 0);
	check_now();
	space_down();
}

/* A machine that sets accessed and dirty by software. */
Test(mm_calls, bits_set_by_software)
{
	space_up_cfg(&(struct fake_config){.ram = 64 * MIB, .cpus = 1, .software_ad = true});
	mmap_at(AT(0), 2, RW, PRIV | FIX);
	store_at(AT(0), 1);
	madvise_at(AT(0), 2, 20);
	quire_clear_refs(cur, 1);
	madvise_at(AT(0), 2, 8);
	check_now();
	taken = 0;
	load_at(AT(0));
	cr_expect_eq(taken, 0, "no fault only to say that it was used");
	space_down();
}

/* ---- the rest ---------------------------------------------------------------------------------- */

Test(mm_calls, what_the_kernel_faults_in)
{
	space_up();
	mmap_at(AT(4), 1, PROT_READ, PRIV | FIX);
	cr_expect_eq(quire_fault_in(cur, AT(9), true), FAULTED, "nothing above");
	cr_expect_eq(quire_fault_in(cur, AT(3), true), FAULTED, "no stack");
	cr_expect_eq(quire_fault_in(cur, AT(4), true), FAULTED, "not writable");
	mmap_at(AT(600), 1, RW, PRIV | FIX | MAP_GROWSDOWN);
	limit_set(RLIMIT_STACK, 4 * PS);
	cr_expect_eq(quire_fault_in(cur, AT(590), true), FAULTED, "beyond its limit");
	cr_expect_eq(quire_fault_in(cur, AT(598), true), 0);
	limit_set(RLIMIT_STACK, LIMIT_NONE);
	check_now();
	space_down();
}

Test(mm_calls, the_old_re_mapper)
{
	struct quire_file *f, *g;

	space_up();
	f = file_new(16, FRW);
	g = file_new(16, FRW);
	mmap_file(AT(0), 2, RW, MAP_SHARED | FIX, f, 0);
	mmap_file(AT(2), 2, RW, MAP_SHARED | FIX, f, 8);
	mmap_file(AT(4), 2, PROT_READ, MAP_SHARED | FIX, f, 4);
	mmap_file(AT(8), 2, RW, MAP_SHARED | FIX, f, 0);
	mmap_file(AT(10), 2, RW, MAP_SHARED | FIX, g, 0);
	mmap_file(AT(20), 2, RW, MAP_PRIVATE | FIX, g, 0);
#define REMAP(at, n, off) CALL(quire_remap_file_pages(cur, AT(at), (n) * PS, 0, off, 0))
	cr_expect_eq(REMAP(1, 2, 6), 0, "over two areas of one file");
	cr_expect_eq(load_at(AT(1)) & 0xff, 7);
	cr_expect_eq(REMAP(3, 2, 0), INVALID, "other rights");
	cr_expect_eq(REMAP(5, 2, 0), INVALID, "a hole");
	cr_expect_eq(REMAP(9, 2, 0), INVALID, "another file");
	cr_expect_eq(REMAP(11, 2, 0), INVALID, "a hole after it");
	cr_expect_eq(REMAP(20, 1, 0), INVALID, "private");
	cr_expect_eq(REMAP(7, 1, 0), INVALID, "nothing there");
	cr_expect_eq(REMAP(21, 2, 0), INVALID, "private, to the end");
	mmap_file(AT(30), 2, RW, MAP_SHARED | FIX, g, 0);
	cr_expect_eq(REMAP(31, 2, 0), INVALID, "the last area ends too early");
	cr_expect_eq(madvise_at(AT(0), 12, 3), NO_MEMORY, "WILLNEED reads, and tells of the holes");
	quire_file_put(f);
	quire_file_put(g);
	space_down();
}

Test(mm_calls, a_heap_that_cannot_shrink)
{
	space_up();
	quire_mm_set_layout(cur, &(struct quire_mm_layout){.start_brk = AT(0), .brk = AT(0)});
	cr_expect_eq(CALL(quire_brk(cur, AT(4))), AT(4));
	mmap_at(AT(4), 2, RW, PRIV | FIX);
	cr_expect_eq(mm_now()->map_count, 1);
	areas_left(0);
	cr_expect_eq(CALL(quire_brk(cur, AT(2))), AT(4), "a hole would be one area too many");
	quire_sysctl_set("max_map_count", 65530);
	cr_expect_eq(CALL(quire_brk(cur, AT(2))), AT(2));
	cr_expect_eq(CALL(quire_brk(cur, AT(4))), AT(2), "it meets what was mapped behind it");
	space_down();
}

Test(mm_calls, locks_and_rights)
{
	space_up();
	mmap_at(AT(0), 4, RW, PRIV | FIX);
	limit_set(RLIMIT_MEMLOCK, 0);
	cr_expect_eq(CALL(quire_mlock(cur, AT(0), PS, 0)), 0, "who has the right needs no limit");
	cr_expect_eq(CALL(quire_mlockall(cur, 1)), 0);
	cr_expect_eq(mmap_at(AT(8), 1, RW, PRIV | FIX | MAP_LOCKED), (long)AT(8));
	no_caps = true;
	cr_expect_eq(CALL(quire_mlock(cur, AT(0), PS, 0)), -1);
	cr_expect_eq(CALL(quire_mlockall(cur, 1)), -1);
	limit_set(RLIMIT_MEMLOCK, 5 * PS);
	cr_expect_eq(CALL(quire_mlock(cur, AT(0), 2 * PS, 0)), 0);
	cr_expect_eq(mmap_at(AT(9), 1, RW, PRIV | FIX | MAP_LOCKED), AGAIN);
	cr_expect_eq(CALL(quire_mlockall(cur, 2)), 0);
	cr_expect_eq(mmap_at(AT(9), 1, RW, PRIV | FIX), AGAIN);
	no_caps = false;
	space_down();
}

Test(mm_calls, the_walk_of_every_kind)
{
	space_up();
	mmap_at(AT(0), 4, RW, PRIV | FIX);
	store_at(AT(0), 1);
	load_at(AT(1));
	store_at(AT(2), 1);
	mprotect_at(AT(2), 1, PROT_NONE);
	mmap_at(AT(4), 1, RW | PROT_EXEC, PRIV | FIX);
	store_at(AT(4), 1);
	quire_clear_refs(cur, 4);
	static const char *const seen[] = {" rw-u", "special", "protnone", "none", "x", "none"};
	for (unsigned i = 0; i < ARRAY_SIZE(seen); i++) {
		shown.n = 0;
		quire_show_walk(cur, i == 5 ? AT(1ul << 24) : AT(i), text_emit, &shown);
		cr_expect(i == 0 || strstr(shown.s, seen[i]), "%u: %s", i, shown.s);
	}
	space_down();
}
