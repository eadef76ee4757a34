/* SPDX-License-Identifier: MIT */
/*
 * A fork of a space that has one area of every kind, stopped at every point where it can be: each
 * allocation fails once, a signal comes before each area, the promise is one page too large. The
 * parent is afterwards what it was to the last count, and nothing is left of the child.
 */
#include "space.h"

#define DONTFORK  MADV_DONTFORK
#define WIPEONFORK MADV_WIPEONFORK

static struct quire_file *shared_file, *private_file, *memory_file;
static void *special_page;

/* Room of the machine, counts of the files, sums of the space: what a failed fork must not move. */
struct counts {
	uint64_t free;
	long committed, rss[NR_MM_COUNTERS];
	unsigned long total, data, stack, locked;
	int32_t files[3], writers[3], mappers[3];
	unsigned family, children, active;
	int areas;
	char layout[4096];
};

static struct counts count(void)
{
	struct file *const f[3] = {to_file(shared_file), to_file(private_file),
				   to_file(memory_file)};
	struct anon_vma *av = vma_at(AT(0))->anon_vma;
	struct counts c = {
		.free = free_pages_now(),
		.committed = vm_memory_committed(),
		.total = mm_now()->total_vm,
		.data = mm_now()->data_vm,
		.stack = mm_now()->stack_vm,
		.locked = mm_now()->locked_vm,
		.family = av->root->refcount,
		.children = av->num_children,
		.active = av->num_active_vmas,
		.areas = mm_now()->map_count,
	};

	for (int i = 0; i < NR_MM_COUNTERS; i++)
		c.rss[i] = mm_now()->rss[i];
	for (int i = 0; i < 3; i++) {
		c.files[i] = f[i]->f_count;
		c.writers[i] = f[i]->f_inode->i_writecount;
		c.mappers[i] = f[i]->f_mapping->i_mmap_writable;
	}
	strcpy(c.layout, layout());
	return c;
}

static void contents_are_right(bool child)
{
	for (int i = 0; i < 8; i++)
		cr_assert_eq(load_at(AT(i)), (uint64_t)(100 + i));
	if (child)
		cr_assert_eq(touch_at(AT(16)), MAPERR);
	else
		cr_assert_eq(load_at(AT(16)), 1);
	cr_assert_eq(load_at(AT(24)), 0); /* wiped by the first fork already */
	cr_assert_eq(load_at(AT(41)), 3);
	cr_assert_eq(load_at(AT(57)) & 0xff, 2);
	cr_assert_eq(load_at(AT(58)), 4);
	cr_assert_eq(load_at(AT(72)), 5);
	cr_assert_eq(load_at(AT(81)), 6);
	cr_assert_eq(load_at(AT(88)), 7);
	cr_assert_eq(load_at(AT(2999)), 8);
	cr_assert_eq(load_at(AT(2 * PTRS_PER_PTE - 1)), 10);
	cr_assert_eq(load_at(AT(2 * PTRS_PER_PTE)), 11);
	cr_assert_eq(touch_at(AT(1 << 18)), ACCERR);
	cr_assert_eq(load_at(AT(96)), 0);
}

/* Areas of every kind; their pages in several tables. */
static void rich_up(void)
{
	const void *pages[2];
	struct quire_mm *parent;
	struct quire_inode *inode;

	space_up();
	shared_file = file_new(16, FRW);
	private_file = file_new(16, FRW);
	inode = quire_inode_create(NULL, NULL, 9, 1, QUIRE_S_SHMEM);
	memory_file = quire_file_open(inode, FRW, "/memfd:t (deleted)");
	quire_inode_truncate(inode, 8 * PS);
	quire_inode_put(inode);
	special_page = quire_alloc_pages(0, QUIRE_GFP_ZERO);
	pages[0] = special_page;
	pages[1] = NULL;
	mmap_at(AT(0), 8, RW, PRIV | FIX);
	for (int i = 0; i < 8; i++)
		store_at(AT(i), 100 + i);
	mmap_at(AT(16), 4, RW, PRIV | FIX);
	store_at(AT(16), 1);
	madvise_at(AT(16), 4, DONTFORK);
	mmap_at(AT(24), 4, RW, PRIV | FIX);
	store_at(AT(24), 2);
	madvise_at(AT(24), 4, WIPEONFORK);
	mmap_at(AT(32), 4, RW, PRIV | FIX | MAP_LOCKED);
	mmap_file(AT(40), 8, RW, MAP_SHARED | FIX, shared_file, 0);
	store_at(AT(41), 3);
	mmap_file(AT(56), 8, RW, MAP_PRIVATE | FIX, private_file, 0);
	load_at(AT(57));
	store_at(AT(58), 4);
	mmap_at(AT(72), 4, RW, SHAR | FIX);
	store_at(AT(72), 5);
	mmap_file(AT(80), 4, RW, MAP_SHARED | FIX, memory_file, 0);
	store_at(AT(81), 6);
	mmap_at(AT(88), 4, RW, PRIV | FIX | MAP_NORESERVE);
	store_at(AT(88), 7);
	mmap_at(AT(3000), 2, RW, PRIV | FIX | MAP_GROWSDOWN);
	store_at(AT(2999), 8);
	/* Over the border of two tables. */
	mmap_at(AT(2 * PTRS_PER_PTE - 1), 2, RW, PRIV | FIX);
	store_at(AT(2 * PTRS_PER_PTE - 1), 10);
	store_at(AT(2 * PTRS_PER_PTE), 11);
	mmap_at(AT(1 << 18), 4, RW, PRIV | FIX);
	store_at(AT(1 << 18), 9);
	mprotect_at(AT(1 << 18), 2, PROT_NONE);
	cr_assert_eq(quire_mm_install_special(cur, AT(96), 2 * PS, PROT_READ, pages, "[vdso]"), 0);
	load_at(AT(96));
	/* It is a child itself, so that chains have two links. */
	parent = cur;
	cr_assert_eq(quire_mm_fork(parent, NULL, &cur), 0);
	run_space(cur);
	space_put(parent);
	store_at(AT(3), 103);
	mmap_at(AT(16), 4, RW, PRIV | FIX);
	store_at(AT(16), 1);
	madvise_at(AT(16), 4, DONTFORK);
	quire_mlock(cur, AT(32), 4 * PS, 0);
	load_at(AT(57));
	store_at(AT(58), 4);
	contents_are_right(false); /* reads bring pages in: from here on they do not */
	check_now();
}

static void expect_same(const struct counts *a, const struct counts *b, const char *when, unsigned n)
{
	cr_assert_eq(a->free, b->free, "%s %u: %ld pages", when, n, (long)(a->free - b->free));
	cr_assert_eq(a->committed, b->committed, "%s %u", when, n);
	for (int i = 0; i < NR_MM_COUNTERS; i++)
		cr_assert_eq(a->rss[i], b->rss[i], "%s %u: rss %d: %ld, %ld", when, n, i,
			     a->rss[i], b->rss[i]);
	cr_assert(a->total == b->total && a->data == b->data && a->stack == b->stack &&
		  a->locked == b->locked && a->areas == b->areas, "%s %u", when, n);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(a->files[i], b->files[i], "%s %u: file %d", when, n, i);
		cr_assert_eq(a->writers[i], b->writers[i], "%s %u: file %d", when, n, i);
		cr_assert_eq(a->mappers[i], b->mappers[i], "%s %u: file %d", when, n, i);
	}
	cr_assert(a->family == b->family && a->children == b->children && a->active == b->active,
		  "%s %u: %u anon_vmas, %u children, %u areas", when, n, b->family, b->children,
		  b->active);
	cr_assert_str_eq(a->layout, b->layout, "%s %u", when, n);
}

/* One fork under whatever was ordered. True: it went through; then the child is put again. */
static bool fork_once(const struct counts *before, int want, const char *when, unsigned n)
{
	struct quire_mm *parent = cur, *child = (void *)1;
	int err = quire_mm_fork(cur, NULL, &child);
	struct counts after;

	for (unsigned kind = 0; kind < QUIRE_INJECT_KINDS; kind++)
		quire_inject_set(kind, 0);
	dies_in = 0;
	check_now();
	if (err) {
		cr_assert_eq(err, want, "%s %u: %d", when, n, err);
		cr_assert_eq(child, NULL);
	} else {
		cr_assert_eq(quire_check(child), 0);
		run_space(child);
		contents_are_right(true);
		cr_assert_eq(mm_now()->locked_vm, 0);
		run_space(parent);
		space_put(child);
	}
	contents_are_right(false);
	check_now();
	after = count();
	expect_same(before, &after, when, n);
	return !err;
}

static void rich_down(void)
{
	/* The right to write was taken away for nothing, and comes back page by page. */
	for (int i = 0; i < 8; i++)
		cr_expect_eq(store_at(AT(i), i), 0);
	check_now();
	space_put(cur);
	cur = NULL;
	quire_file_put(shared_file);
	quire_file_put(private_file);
	quire_file_put(memory_file);
	quire_free_pages(special_page, 0);
	space_down();
}

Test(fork_nomem, every_allocation_fails_once, .timeout = 60)
{
	struct counts before;
	unsigned failed[QUIRE_INJECT_KINDS] = {0};

	rich_up();
	before = count();
	cr_assert(fork_once(&before, 0, "whole", 0)); /* caches have their first slabs */
	before = count();
	for (unsigned kind = 0; kind < QUIRE_INJECT_KINDS; kind++)
		for (unsigned n = 1; n < 500; n++) {
			uint64_t hits = quire_inject_hits(kind);
			bool whole;

			quire_inject_set(kind, n);
			whole = fork_once(&before, -ENOMEM, kind ? "object" : "page", n);
			if (quire_inject_hits(kind) == hits) {
				cr_assert(whole);
				break;
			}
			failed[kind] += !whole; /* a slab may do with a smaller block */
		}
	/* Root and tables of three regions; the space, areas, chains of two or three links. */
	cr_expect_geq(failed[QUIRE_INJECT_PAGE], pt_levels + 2, "%u", failed[QUIRE_INJECT_PAGE]);
	cr_expect_geq(failed[QUIRE_INJECT_SLAB], 30, "%u", failed[QUIRE_INJECT_SLAB]);
	rich_down();
}

Test(fork_nomem, a_signal_before_each_area)
{
	struct counts before;
	unsigned n;

	rich_up();
	before = count();
	for (n = 1; n < 100; n++) {
		dies_in = n;
		if (fork_once(&before, -EINTR, "signal", n))
			break;
	}
	cr_expect_eq(n, (unsigned)mm_now()->map_count, "one of the areas is not copied: %u", n);
	rich_down();
}

/* Strict promises: the last accounted area is the one too many. */
Test(fork_nomem, a_promise_too_many)
{
	struct counts before;
	long committed, charge = 0;

	rich_up();
	for (struct vm_area_struct *v = mm_now()->mmap; v; v = v->vm_next)
		if ((v->vm_flags & VM_ACCOUNT) && !(v->vm_flags & VM_DONTCOPY))
			charge += vma_pages(v);
	before = count();
	committed = before.committed;
	quire_sysctl_set("overcommit_memory", 2);
	quire_sysctl_set("admin_reserve_kbytes", 0);
	quire_sysctl_set("user_reserve_kbytes", 0);
	for (long room = 1; room <= charge + 1; room++) {
		quire_sysctl_set("overcommit_kbytes",
				 (committed + room) << (PAGE_SHIFT - 10));
		cr_assert_eq(fork_once(&before, -ENOMEM, "promise", room), room > charge,
			     "%ld of %ld pages", room, charge);
	}
	rich_down();
}
