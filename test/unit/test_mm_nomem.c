/* SPDX-License-Identifier: MIT */
/*
 * Every memory call with its n-th allocation failing, for every n until it no longer meets the
 * failure: the space is whole afterwards, nothing is leaked, and the answer is one that 5.10's own
 * logic gives. What 5.10 leaves half done before the error is left so here too, and still whole.
 */
#include "space.h"

#define MAYMOVE   MREMAP_MAYMOVE
#define FIXED_TO (MREMAP_MAYMOVE | MREMAP_FIXED)
#define DONTUNMAP MREMAP_DONTUNMAP
#define ONFAULT   MLOCK_ONFAULT
#define MCL_ALL	   (MCL_CURRENT | MCL_FUTURE)
#define POPULATE   MAP_POPULATE
#define DONTNEED  MADV_DONTNEED
#define DONTFORK  MADV_DONTFORK
#define RANDOM	   1
#define SIGSEGV_AT MAPERR

struct op {
	const char *name;
	void (*setup)(void);
	long (*call)(void);
	int err[4]; /* answers to a failure, besides success */
	unsigned least; /* failures at least, both kinds together */
};

static void area(void)
{
	mmap_at(AT(0), 8, RW, PRIV | FIX);
	for (int i = 0; i < 8; i++)
		store_at(AT(i), i + 1);
}

static void areas(void)
{
	area();
	mmap_at(AT(8), 8, PROT_READ, PRIV | FIX);
	mmap_at(AT(16), 8, RW, PRIV | FIX);
	store_at(AT(20), 1);
}

/* An anon_vma that went through a fork: chains of two. */
static void forked(void)
{
	struct quire_mm *child, *parent = cur;

	area();
	cr_assert_eq(quire_mm_fork(cur, NULL, &child), 0);
	run_space(child);
	quire_mm_put(parent);
	store_at(AT(3), 9);
}

static void stack(void)
{
	mmap_at(AT(600), 2, RW, PRIV | FIX | MAP_GROWSDOWN);
}

static void shared(void)
{
	mmap_at(AT(0), 4, RW, SHAR | FIX);
	store_at(AT(0), 1);
}

/* Three areas that a change of rights makes one; only those outside have an anon_vma. */
static void between(void)
{
	mmap_at(AT(0), 1, RW, PRIV | FIX);
	mmap_at(AT(1), 1, RW, PRIV | FIX);
	store_at(AT(0), 1);
	mmap_at(AT(1), 1, RW, PRIV | FIX);
	mprotect_at(AT(1), 1, PROT_READ);
}

static void heap(void)
{
	quire_mm_set_layout(cur, &(struct quire_mm_layout){.start_brk = AT(0), .brk = AT(0)});
	quire_brk(cur, AT(2));
}

static void nothing(void)
{
}

static void heap_protected(void)
{
	heap();
	store_at(AT(0), 1);
	mprotect_at(AT(1), 1, PROT_READ);
}

static long map_new(void)
{
	return quire_mmap(cur, AT(100), 2 * PS, RW, PRIV | FIX, NULL, 0);
}

static long map_middle(void)
{
	return quire_mmap(cur, AT(3), PS, PROT_READ, PRIV | FIX, NULL, 0);
}

static long map_populate(void)
{
	return quire_mmap(cur, AT(100), 4 * PS, RW, PRIV | FIX | POPULATE, NULL, 0);
}

static long map_shared(void)
{
	return quire_mmap(cur, AT(100), 2 * PS, RW, SHAR | FIX, NULL, 0);
}

static long map_stack(void)
{
	return quire_mm_setup_stack(cur, AT(300), 4 * PS, false);
}

static long unmap_middle(void)
{
	return quire_munmap(cur, AT(3), PS);
}

static long protect_middle(void)
{
	return quire_mprotect(cur, AT(2), 3 * PS, PROT_READ);
}

static long protect_over(void)
{
	return quire_mprotect(cur, AT(4), 14 * PS, PROT_NONE);
}

static long protect_merge(void)
{
	return quire_mprotect(cur, AT(1), PS, RW);
}

static long advise(void)
{
	return quire_madvise(cur, AT(2), 3 * PS, RANDOM);
}

static long advise_more(void)
{
	return quire_madvise(cur, AT(4), 14 * PS, DONTFORK);
}

static long dontneed(void)
{
	return quire_madvise(cur, AT(0), 8 * PS, DONTNEED);
}

static long lock(void)
{
	return quire_mlock(cur, AT(2), 3 * PS, 0);
}

static long lock_untouched(void)
{
	return quire_mlock(cur, AT(9), 10 * PS, 0);
}

static long lock_onfault(void)
{
	return quire_mlock(cur, AT(2), 3 * PS, ONFAULT);
}

static long lock_all(void)
{
	return quire_mlockall(cur, MCL_ALL);
}

static long unlock_after(void)
{
	return quire_munlock(cur, AT(2), 3 * PS);
}

static void locked(void)
{
	area();
	cr_assert_eq(quire_mlock(cur, AT(0), 8 * PS, 0), 0);
}

static long remap_grow(void)
{
	return quire_mremap(cur, AT(0), 8 * PS, 16 * PS, 0, 0);
}

static long remap_move(void)
{
	return quire_mremap(cur, AT(2), 3 * PS, 5 * PS, MAYMOVE, 0);
}

static long remap_fixed(void)
{
	return quire_mremap(cur, AT(2), 3 * PS, 3 * PS, FIXED_TO, AT(17));
}

static long remap_keep(void)
{
	return quire_mremap(cur, AT(2), 3 * PS, 3 * PS, MAYMOVE | DONTUNMAP, 0);
}

static long remap_shrink(void)
{
	return quire_mremap(cur, AT(2), 5 * PS, 2 * PS, 0, 0);
}

static long remap_copy(void)
{
	return quire_mremap(cur, AT(0), 0, 4 * PS, MAYMOVE, 0);
}

static long remap_pages(void)
{
	return quire_remap_file_pages(cur, AT(1), PS, 0, 3, 0);
}

static long brk_grow(void)
{
	return quire_brk(cur, AT(4)) == AT(4) ? 0 : -ENOMEM;
}

static long brk_shrink(void)
{
	return quire_brk(cur, AT(1)) == AT(1) ? 0 : -ENOMEM;
}

static long fork_it(void)
{
	struct quire_mm *child;
	int err = quire_mm_fork(cur, NULL, &child);

	if (!err) {
		cr_assert_eq(quire_check(child), 0);
		quire_mm_put(child);
	}
	return err;
}

/* A stack that cannot grow is told by a signal; a page that cannot be had, by the machine's end. */
static long grow(void)
{
	return -store_at(AT(590), 1);
}

static long fault(void)
{
	return -store_at(AT(100), 1);
}

static long fault_copy(void)
{
	return -store_at(AT(100), 5);
}

static long fault_file(void)
{
	return -store_at(AT(2), 5);
}

static void untouched(void)
{
	mmap_at(AT(100), 1, RW, PRIV | FIX);
}

static void zeros(void)
{
	untouched();
	touch_at(AT(100));
}

/* The only reference of the file is the mapping's. */
static void file_private(void)
{
	struct quire_file *f = file_new(4, FRW);

	cr_assert_eq(mmap_file(AT(0), 4, RW, MAP_PRIVATE | FIX, f, 0), (long)AT(0));
	quire_file_put(f);
}

static long fault_in_copy(void)
{
	return quire_fault_in(cur, AT(2), true);
}

static long special(void)
{
	const void *pages[1] = {page_address(zero_page)};

	return quire_mm_install_special(cur, AT(40), PS, PROT_READ, pages, "[own]");
}

static const struct op ops[] = {
	{"mmap", nothing, map_new, {-ENOMEM}, 1},
	{"mmap over the middle", area, map_middle, {-ENOMEM}, 4},
	{"mmap of a forked area's middle", forked, map_middle, {-ENOMEM}, 6},
	{"mmap populated", nothing, map_populate, {-ENOMEM}, 4},
	{"mmap shared", nothing, map_shared, {-ENOMEM}, 3},
	{"a stack", nothing, map_stack, {-ENOMEM}, 1},
	{"munmap of the middle", area, unmap_middle, {-ENOMEM}, 4},
	{"munmap of a forked area's middle", forked, unmap_middle, {-ENOMEM}, 6},
	{"mprotect", area, protect_middle, {-ENOMEM}, 4},
	{"mprotect of a forked area", forked, protect_middle, {-ENOMEM}, 6},
	{"mprotect over areas", areas, protect_over, {-ENOMEM}, 3},
	{"mprotect that merges", between, protect_merge, {-ENOMEM}, 0},
	{"madvise", area, advise, {-EAGAIN}, 4},
	{"madvise over areas", areas, advise_more, {-EAGAIN}, 3},
	{"madvise DONTNEED", area, dontneed, {0}, 0},
	{"mlock", area, lock, {-ENOMEM, -EAGAIN}, 4},
	{"mlock of untouched memory", areas, lock_untouched, {-ENOMEM, -EAGAIN}, 6},
	{"mlock2", area, lock_onfault, {-ENOMEM}, 4},
	{"mlockall", areas, lock_all, {0}, 3},
	{"munlock", locked, unlock_after, {-ENOMEM}, 4},
	{"mremap in place", area, remap_grow, {-ENOMEM}, 0},
	{"mremap moves", areas, remap_move, {-ENOMEM}, 5},
	{"mremap of a forked area", forked, remap_move, {-ENOMEM}, 6},
	{"mremap to a fixed place", areas, remap_fixed, {-ENOMEM}, 6},
	{"mremap that keeps the old", areas, remap_keep, {-ENOMEM}, 2},
	{"mremap that shrinks", area, remap_shrink, {-ENOMEM}, 3},
	{"mremap that copies", shared, remap_copy, {-ENOMEM}, 1},
	{"remap_file_pages", shared, remap_pages, {-ENOMEM}, 2},
	{"brk", heap, brk_grow, {-ENOMEM}, 0},
	{"brk beside another area", heap_protected, brk_grow, {-ENOMEM}, 1},
	{"brk shrinks", heap, brk_shrink, {-ENOMEM}, 0},
	{"fork", areas, fork_it, {-ENOMEM}, 12},
	{"fork of a fork", forked, fork_it, {-ENOMEM}, 8},
	{"a stack grows", stack, grow, {-SIGSEGV_AT, -KILLED}, 3},
	{"a fault", untouched, fault, {-KILLED}, 3},
	{"a fault that copies", zeros, fault_copy, {-KILLED}, 3},
	{"a fault on shared memory", shared, fault_file, {-KILLED}, 1},
	{"a fault on private memory of a file", file_private, fault_file, {-KILLED}, 3},
	{"the same for the kernel", file_private, fault_in_copy, {-ENOMEM}, 3},
	{"a special mapping", nothing, special, {-ENOMEM}, 2},
};

static bool expected(const struct op *op, long r)
{
	if (!IS_ERR_VALUE(r))
		return true;
	for (unsigned i = 0; i < ARRAY_SIZE(op->err); i++)
		if (op->err[i] && r == op->err[i])
			return true;
	return false;
}

/* One try. True: the failure was met. */
static bool try_once(const struct op *op, unsigned kind, unsigned nth)
{
	uint64_t hits;
	bool hit;
	long r;

	op->setup();
	check_now();
	hits = quire_inject_hits(kind);
	quire_inject_set(kind, nth);
	r = op->call();
	hit = quire_inject_hits(kind) != hits;
	quire_inject_set(kind, 0);
	fake_core_returned();
	cr_assert_eq(quire_check(cur), 0, "%s, kind %u, allocation %u", op->name, kind, nth);
	cr_assert(hit || !IS_ERR_VALUE(r), "%s: %ld without a failure", op->name, r);
	cr_assert(expected(op, r), "%s, kind %u, allocation %u: %ld", op->name, kind, nth, r);
	return hit;
}

/* Each in a space of its own, on one machine: what is free before and after is the same. */
Test(mm_nomem, every_call, .timeout = 600)
{
	space_up();
	space_put(cur);
	for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
		unsigned met = 0;
		uint64_t before;

		run_space(space_new());
		ops[i].setup();
		ops[i].call(); /* caches have their first slabs */
		space_put(cur);
		before = free_pages_now();
		for (unsigned kind = 0; kind < QUIRE_INJECT_KINDS; kind++) {
			for (unsigned nth = 1; nth < 1000; nth++) {
				bool hit;

				run_space(space_new());
				hit = try_once(&ops[i], kind, nth);
				space_put(cur);
				cr_assert_eq(vm_memory_committed(), 0, "%s", ops[i].name);
				cr_assert_geq(free_pages_now(), before, "%s, kind %u, allocation %u",
					      ops[i].name, kind, nth);
				if (!hit)
					break;
				met++;
			}
		}
		cr_expect_geq(met, ops[i].least, "%s met %u failures", ops[i].name, met);
	}
	machine_down();
}
