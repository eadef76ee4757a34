/* SPDX-License-Identifier: MIT */
/*
 * Two threads of one program, played by one: while the core works for the first, the second does
 * something to the same page. It gets in at the first point where it could, then at the second, and
 * so on until there is none left. Whatever it does, the first's access has its effect, nothing is
 * lost or kept, and every invariant holds.
 */
#include "space.h"

#include "arch/fake/machine.h"
#include "mm/migrate/migrate.h"

static void (*other)(void);    /* what the second thread does, once */
static bool (*may)(void);      /* false: it would wait for what the first one holds */
static unsigned points_left;   /* it gets in at this one; 0: it has been */

static uintptr_t thread = 1;   /* who runs */

static bool point_reached(void)
{
	static bool asking; /* looking for locks may be such a point itself */
	bool reached = false;

	if (!points_left || asking || lockdep_depth())
		return false;
	asking = true;
	thread = 2;
	if (!may || may())
		reached = --points_left == 0;
	thread = 1;
	asking = false;
	return reached;
}

static bool preempts; /* the second thread gets in wherever a spinning lock was let go, too */

static void second_thread(void)
{
	bool p = preempts;

	preempts = false;
	thread = 2;
	other();
	thread = 1;
	preempts = p;
}

/* Once more for each point: setup, then first() with other() in between; at last, then() looks. */
static unsigned explore(void (*setup)(void), void (*first)(void), void (*then)(void))
{
	unsigned n = 0;
	bool met = true;

	while (met) {
		uint64_t before;

		run_space(space_new());
		setup();
		before = free_pages_now();
		points_left = ++n;
		machine.timer_expired = point_reached;
		machine.on_timer = second_thread;
		first();
		machine.timer_expired = NULL;
		met = points_left == 0;
		points_left = 0;
		check_now();
		then();
		munmap_at(AT(0), 64);
		check_now();
		space_put(cur);
		run_space(NULL);
		quire_drain();
		cr_assert_geq(free_pages_now(), before, "point %u", n);
	}
	cr_assert_gt(n, 1, "no point where it could get in");
	return n - 1;
}

static void races_up(void)
{
	space_up();
	space_put(cur);
}

/* ---- anonymous memory ------------------------------------------------------------------------- */

static void untouched(void)
{
	mmap_at(AT(0), 4, RW, PRIV | FIX);
}

static void born(void) /* the area has its anon_vma, and the page its table */
{
	untouched();
	store_at(AT(1), 1);
}

static void zeros(void)
{
	born();
	load_at(AT(0));
}

static void store_first(void)
{
	cr_assert_eq(store_at(AT(0), 7), 0);
}

static void seven(void)
{
	cr_assert_eq(load_at(AT(0)), 7);
	cr_assert_eq(FAULTS(store_at(AT(0), 9)), 0, "writable at once");
}

static void fault_of_other(uintptr_t a, enum fault_access access)
{
	struct fault_info fi = {.addr = a, .access = access, .user = true};
	struct quire_fault_result res;

	quire_page_fault(cur, &fi, &res);
	cr_assert_eq(res.outcome, QUIRE_FAULT_DONE);
}

static void reads(void)
{
	fault_of_other(AT(0), FAULT_READ);
}

static void writes(void)
{
	fault_of_other(AT(0), FAULT_WRITE);
}

static void writes_elsewhere(void)
{
	fault_of_other(AT(2), FAULT_WRITE);
}

static void gives_back(void)
{
	cr_assert_eq(quire_madvise(cur, AT(0), PS, 4), 0);
}

static void makes_old(void)
{
	pte_t *pte = pt_find(mm_now(), AT(0));

	/* The lock may be held at this very moment by whom we stand in the middle of. */
	if (pte && arch_pte_is_leaf(pte_get(pte)))
		hal_pte_clear_accessed(pte, 0);
	hal_tlb_flush(&mm_now()->arch, AT(0), AT(1), 0, false);
}

static bool anon_vma_is_free(void)
{
	struct vm_area_struct *v = vma_at(AT(0));

	return v && v->anon_vma && !rwsem_is_locked(&v->anon_vma->root->rwsem);
}

Test(races, first_touch, .timeout = 60)
{
	static void (*const all[])(void) = {reads, writes, gives_back};
	unsigned n = 0;

	races_up();
	for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
		other = all[i];
		may = anon_vma_is_free;
		n += explore(born, store_first, seven);
		n += explore(zeros, store_first, seven);
		may = NULL;
	}
	cr_expect_gt(n, 12, "%u points", n);
	other = makes_old;
	explore(zeros, store_first, seven);
	machine_down();
}

/* The first two faults of an area at once: one anon_vma and one table, whoever comes first. */
Test(races, first_of_all, .timeout = 60)
{
	struct anon_vma *av;

	races_up();
	other = writes_elsewhere;
	explore(untouched, store_first, seven);
	other = reads;
	explore(untouched, store_first, seven);
	run_space(space_new());
	untouched();
	store_at(AT(0), 1);
	av = vma_at(AT(0))->anon_vma;
	cr_expect_eq(av->num_active_vmas, 1);
	cr_expect_eq(av->refcount, 1);
	space_down();
}

/* A page that a child shares is copied while somebody else writes it first, or gives it back. */
static struct quire_mm *child;

static void shared_with_a_child(void)
{
	born();
	store_at(AT(0), 5);
	cr_assert_eq(quire_mm_fork(cur, NULL, &child), 0);
}

static void child_has_its_own(void)
{
	struct quire_mm *parent = cur;

	seven();
	run_space(child);
	cr_assert_eq(load_at(AT(0)), 5);
	run_space(parent);
	space_put(child);
}

Test(races, copies, .timeout = 60)
{
	static void (*const all[])(void) = {writes, gives_back, makes_old};

	races_up();
	for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
		other = all[i];
		may = anon_vma_is_free;
		explore(shared_with_a_child, store_first, child_has_its_own);
	}
	machine_down();
}

/* ---- files -------------------------------------------------------------------------------------- */

static struct quire_file *file;
static unsigned long how; /* MAP_SHARED or MAP_PRIVATE */

static void file_mapped(void)
{
	quire_inode_truncate(quire_file_inode(file), 4 * PS);
	mmap_file(AT(0), 4, RW, how | FIX, file, 0);
	if (how == MAP_PRIVATE)
		store_at(AT(3), 1);
	quire_drop_caches();
}

/* No page of the file is locked, nor what leads to its areas. */
static bool pages_are_free(void)
{
	struct address_space *m = to_file(file)->f_mapping;
	struct vm_area_struct *v = vma_at(AT(0));

	if (rwsem_is_locked(&m->i_mmap_rwsem) ||
	    (v && v->anon_vma && rwsem_is_locked(&v->anon_vma->root->rwsem)))
		return false;
	for (uint64_t i = 0; i < 4; i++) {
		struct page *page = find_get_page(m, i);
		bool locked;

		if (!page)
			continue;
		locked = page_test(page, PG_locked);
		put_page(page);
		if (locked)
			return false;
	}
	return true;
}

static bool file_is_free(void)
{
	return pages_are_free() && !rwsem_is_locked(&to_file(file)->f_inode->i_rwsem);
}

static void load_ones(void)
{
	int r = touch_at(AT(0));

	cr_assert(r == 0 || r == ADRERR, "%d", r);
}

static void store_ones(void)
{
	int r = store_at(AT(0), 7);

	cr_assert(r == 0 || r == ADRERR, "%d", r);
}

static void grown_again(void)
{
	cr_assert_eq(quire_inode_truncate(quire_file_inode(file), 4 * PS), 0);
	cr_assert_eq(touch_at(AT(0)), 0);
	cr_assert_eq(quire_inode_truncate(quire_file_inode(file), 0), 0);
	cr_assert_eq(touch_at(AT(0)), ADRERR);
	check_now();
}

static void reads_file(void)
{
	quire_inode_populate(quire_file_inode(file), 0, 4 * PS);
}

static void cuts_file(void)
{
	cr_assert_eq(quire_inode_truncate(quire_file_inode(file), 0), 0);
}

static void punches_file(void)
{
	cr_assert_eq(quire_inode_fallocate(quire_file_inode(file),
					   FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4 * PS), 0);
}

static void drops_file(void)
{
	quire_drop_caches();
}

/* The other way round: the file shrinks, and somebody faults a page in before it is gone. */
static void one_page_read(void)
{
	file_mapped();
	load_at(AT(1));
}

static void touches_file(void)
{
	struct fault_info fi = {.addr = AT(0), .access = FAULT_READ, .user = true};
	struct quire_fault_result res;

	quire_page_fault(cur, &fi, &res);
	cr_assert(res.outcome == QUIRE_FAULT_DONE || res.sig == 7);
}

Test(races, files_that_shrink, .timeout = 60)
{
	static void (*const all[])(void) = {touches_file, reads_file, drops_file};

	races_up();
	may = pages_are_free;
	for (how = MAP_SHARED; how <= MAP_PRIVATE; how++) {
		for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
			file = file_new(4, FRW);
			other = all[i];
			explore(one_page_read, cuts_file, grown_again);
			explore(one_page_read, punches_file, grown_again);
			quire_file_put(file);
		}
	}
	machine_down();
}

Test(races, files_in_a_window, .timeout = 60)
{
	static void (*const all[])(void) = {reads, writes, cuts_file, gives_back};

	races_up();
	may = file_is_free;
	for (how = MAP_SHARED; how <= MAP_PRIVATE; how++) {
		for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
			file = file_new(4, FRW);
			other = all[i];
			explore(one_page_read, load_ones, grown_again);
			quire_file_put(file);
		}
	}
	machine_down();
}

Test(races, files, .timeout = 60)
{
	static void (*const all[])(void) = {reads, writes, reads_file, cuts_file, punches_file,
					    drops_file, gives_back};
	unsigned n = 0;

	races_up();
	quire_sysctl_set("fault_around_bytes", PS);
	may = file_is_free;
	for (how = MAP_SHARED; how <= MAP_PRIVATE; how++) {
		for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
			file = file_new(4, FRW);
			other = all[i];
			n += explore(file_mapped, load_ones, grown_again);
			n += explore(file_mapped, store_ones, grown_again);
			quire_file_put(file);
		}
	}
	cr_expect_gt(n, 40, "%u points", n);
	machine_down();
}

static void file_cached(void)
{
	file_mapped();
	reads_file();
}

/* The window round the fault was filled, and the table unlocked, when the file is cut. */
static void touch_preempted(void)
{
	preempts = true;
	touches_file();
	preempts = false;
}

Test(races, files_cut_behind_the_window, .timeout = 60)
{
	/* Frame 0 has no struct page here: an entry read as none cannot be taken for one of it. */
	static const struct mem_range ram[] = {{0x80000000ull, 0x84000000ull, MEM_RAM, "RAM"}};

	space_up_cfg(&(struct fake_config){.ranges = ram, .nranges = 1, .cpus = 1});
	space_put(cur);
	may = file_is_free;
	how = MAP_SHARED;
	other = cuts_file;
	file = file_new(4, FRW);
	explore(file_cached, touch_preempted, grown_again);
	quire_file_put(file);
	machine_down();
}

/* An entry that may be written, clean and not accessed: the machine may set its dirty bit while the
 * accessed bit is set by hand, so that must not be a plain store (the machine accuses it). */
static void fills_and_ages(void)
{
	pte_t *pte;

	touches_file();
	pte = pt_find(mm_now(), AT(0));
	ptl_lock(pte_lockptr(pte));
	if (pte_present(pte_get(pte)))
		pte_clear_accessed(pte, pte_desc(pte_get(pte)));
	ptl_unlock(pte_lockptr(pte));
	hal_tlb_flush(&mm_now()->arch, AT(0), AT(1), 0, false);
}

Test(races, a_bit_set_by_both, .timeout = 60)
{
	races_up();
	may = NULL;
	how = MAP_SHARED;
	other = fills_and_ages;
	file = file_new(4, FRW);
	explore(file_mapped, touches_file, grown_again);
	quire_file_put(file);
	machine_down();
}

/* ---- pages on the move --------------------------------------------------------------------------- */

static bool moved;

void os_preempt(int delta)
{
	irqflags_t f;

	if (!preempts || delta > 0 || hal_irqs_off())
		return;
	f = hal_irq_save();
	hal_irq_restore(f); /* where it is heard */
}

static void moves_page(void)
{
	struct page *fresh = alloc_pages(GFP_KERNEL, 0), *page;

	cr_assert(fresh && migrate_begin());
	page = pfn_to_page(PFN(pfn_at(AT(0))));
	moved = pfn_at(AT(0)) && get_page_unless_zero(page);
	preempts = true;
	if (moved)
		moved = migrate_page(page, fresh) == 0;
	else
		__free_pages(fresh, 0);
	preempts = false;
	migrate_end();
}

static void written(void)
{
	born();
	store_at(AT(0), 6);
}

static void six_or_nothing(void)
{
	uint64_t v = load_at(AT(0));

	cr_assert(v == 6 || v == 0, "%llu", (unsigned long long)v);
	store_first();
	seven();
}

/* The second thread gives the page back while only a note stands where it was. */
Test(races, given_back_on_the_move, .timeout = 60)
{
	races_up();
	other = gives_back;
	may = NULL;
	explore(written, moves_page, six_or_nothing);
	cr_expect(moved, "the last time nobody was in the way");
	machine_down();
}

/* Whoever looks meanwhile finds the page in memory, as he does in 5.10. */
static unsigned seen_on_the_move;
static unsigned long kilobytes;

static void rss_emit(void *ctx, const char *s, size_t n)
{
	static char line[256];
	static size_t at;

	for (size_t i = 0; i < n; i++) {
		line[at] = 0;
		if (s[i] != '\n' && at < sizeof(line) - 1) {
			line[at++] = s[i];
			continue;
		}
		if (!strncmp(line, "Rss:", 4))
			kilobytes += strtoul(line + 4, NULL, 10);
		at = 0;
	}
}

static unsigned long rss_shown(void)
{
	kilobytes = 0;
	quire_show_smaps(cur, rss_emit, NULL);
	return kilobytes;
}

static unsigned long rss_before;

static void looks(void)
{
	uint64_t word = quire_pagemap(cur, AT(0));
	unsigned char in_memory = 0;

	cr_assert_eq(quire_mincore(cur, AT(0), PS, AT(1)), 0);
	cr_assert_eq(hal_copy_from_user(&in_memory, AT(1), 1), 0);
	cr_assert_eq(in_memory, 1);
	cr_assert_eq(word >> 55 & 1, 1, "soft-dirty all the time");
	cr_assert_eq(word >> 61 & 1, 0, "not of a file");
	cr_assert_eq((word >> 62 & 1) + (word >> 63), 1, "swapped, or present");
	if (word >> 62 & 1) {
		seen_on_the_move++;
		cr_assert_eq(word & 31, 31, "5.10's type for a page that could be written");
		cr_assert(page_count(pfn_to_page(PFN((word & ((1ull << 55) - 1)) >> 5))) >= 0);
	}
	cr_assert_eq(rss_shown(), rss_before);
}

static void looked_at(void)
{
	written();
	rss_before = rss_shown();
}

Test(races, looked_at_on_the_move, .timeout = 60)
{
	races_up();
	other = looks;
	may = NULL;
	explore(looked_at, moves_page, six_or_nothing);
	cr_expect_gt(seen_on_the_move, 0);
	machine_down();
}

/* A space that maps the file after all that do were locked is not held: the page stays. It slept
 * until the file's areas could be changed, which is as soon as the first walk over them is over. */
static struct rw_semaphore *sleeps_on;
static bool sleeps;

/* It comes while the first walk is under way, which asks who it is when it takes its locks. */
uintptr_t os_thread_id(void)
{
	if (sleeps_on && !sleeps && rwsem_is_locked(sleeps_on)) {
		sleeps = true;
		__atomic_fetch_add(&sleeps_on->state, RWSEM_WRITER_WAITS, __ATOMIC_RELAXED);
	}
	return thread;
}

void os_wake(const void *key, uint32_t n)
{
	if (!sleeps || key < (void *)sleeps_on || key >= (void *)(sleeps_on + 1))
		return;
	/* It has got what it waited for, and lets go so that other() can do the whole. */
	cr_assert_eq(__atomic_exchange_n(&sleeps_on->state, 0, __ATOMIC_ACQ_REL),
		     RWSEM_WRITER | RWSEM_SERVED);
	sleeps = false;
	sleeps_on = NULL;
	second_thread();
}

static struct quire_mm *second;

static void is_mapped_by_another(void)
{
	cr_assert_eq(quire_mmap(second, AT(0), 4 * PS, RW, MAP_SHARED | FIX, file, 0), (long)AT(0));
}

Test(races, mapped_by_another_on_the_move)
{
	struct quire_mm *first;

	space_up();
	first = cur;
	second = space_new();
	other = is_mapped_by_another;
	how = MAP_SHARED;
	file = file_new(4, FRW);
	file_mapped();
	store_at(AT(0), 5);
	sleeps_on = &to_file(file)->f_mapping->i_mmap_rwsem;
	moves_page();
	cr_expect_null(sleeps_on);
	cr_expect_not(moved);
	check_now();
	cr_expect_eq(FAULTS(OK(load_at(AT(0)) == 5)), 0);
	run_space(second);
	cr_expect_eq(load_at(AT(0)), 5);
	moves_page();
	cr_expect(moved, "both are held now");
	check_now();
	cr_expect_eq(FAULTS(store_at(AT(0), 6)), 0, "it was writable, it is");
	space_put(second);
	run_space(first);
	cr_expect_eq(load_at(AT(0)), 6);
	quire_file_put(file);
	space_down();
}
