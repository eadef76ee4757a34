/* SPDX-License-Identifier: MIT */
/*
 * Memory that is too small for what is written to it, and random pressure with everything that changes
 * a space at once: fork, exit, mremap, mprotect, madvise, mlock, truncation, holes, calls on files, moves
 * of pages, swapoff, transfers and allocations that fail; every other seed with compressed swap, and one of
 * its areas without a device. A plain model knows what each page holds.
 */
#include "space.h"

#include "lib/rand.h"
#include "mm/base/vmstat.h"
#include "mm/lru/lru.h"
#include "mm/migrate/compaction.h"
#include "mm/reclaim/vmscan.h"
#include "mm/swap/swap.h"

#include "device_wait.h"
#include "swapdev.h"
#include "toy_compressor.h"

static struct swapdev dev[2];

static void disk_on(unsigned n, uint32_t pages, unsigned flags)
{
	swapdev_init(&dev[n], n, pages);
	cr_assert_eq(quire_swapon(&dev[n].dev, NULL, flags), 0);
}

/* ---- more than there is ------------------------------------------------------------------------- */

static uint64_t tag_of(unsigned i, unsigned round)
{
	return hash64((uint64_t)round << 32 | i) | 1;
}

static void too_much(unsigned long flags, bool random)
{
	unsigned pages = (unsigned)(40 * MIB / PS);
	struct rand_state r;

	space_up_cfg(&(struct fake_config){.ram = 16 * MIB, .cpus = 1});
	rand_seed(&r, 5);
	disk_on(0, (uint32_t)(64 * MIB / PS), 0);
	cr_assert_eq(quire_mmap(cur, AT(0), pages * PS, RW, flags | FIX | MAP_NORESERVE, NULL, 0), (long)AT(0));
	for (unsigned i = 0; i < pages; i++)
		for (unsigned at = 0; at < PS; at += PS / 4)
			cr_assert_eq(store_at(AT(i) + at, tag_of(i, at)), 0, "page %u", i);
	check_now();
	cr_expect_gt(sum_vm_event(PSWPOUT), pages / 2);
	for (unsigned n = 0; n < pages; n++) {
		unsigned i = random ? (unsigned)rand_below(&r, pages) : n;

		for (unsigned at = 0; at < PS; at += PS / 4)
			cr_assert_eq(load_at(AT(i) + at), tag_of(i, at), "page %u", i);
	}
	check_now();
	cr_expect_gt(sum_vm_event(PSWPIN), pages / 4);
	munmap_at(AT(0), pages);
	cr_expect_eq(get_nr_swap_pages(), total_swap_pages());
	cr_expect_eq(total_swapcache_pages(), 0);
	space_down();
	swapdev_free(&dev[0]);
}

Test(swap_soak, private_in_order, .timeout = 30000)
{
	too_much(PRIV, false);
}

Test(swap_soak, private_at_random, .timeout = 30000)
{
	too_much(PRIV, true);
}

Test(swap_soak, shared_at_random, .timeout = 30000)
{
	too_much(SHAR, true);
}

/* ---- random ------------------------------------------------------------------------------------- */

#define NPRIV  48u /* pages of private memory of each space */
#define NSHAR  24u /* of shared memory that all have */
#define SPACES 5
#define SHARED AT(4000)

struct place {
	uint64_t tag;
	bool maybe; /* MADV_FREE: the tag, or zeros from now on */
};

static struct {
	struct quire_mm *mm;
	unsigned home; /* where the private memory lies: AT(home * 100) */
	bool readonly;
	struct place priv[NPRIV];
} space[SPACES];

static struct place shared[NSHAR];
static struct quire_file *shm;
static struct rand_state dice;
static bool on[2];

static unsigned any(unsigned n)
{
	return (unsigned)rand_below(&dice, n);
}

static uintptr_t priv_at(unsigned s, unsigned i)
{
	return AT(space[s].home * 100 + i);
}

/* The value of a page, or -1: it could not be had, which is allowed only where something fails. */
static void look(unsigned s, uintptr_t addr, struct place *p, bool failing)
{
	struct fault_info fi;
	uint64_t v;

	run_space(space[s].mm);
	if (!fake_user_load(addr, 8, &v, &fi)) {
		cr_assert(failing, "a load of %#lx refused with %d", (unsigned long)addr, refused());
		return;
	}
	if (p->maybe && v == 0)
		*p = (struct place){0, false};
	cr_assert_eq(v, p->tag, "%#lx of space %u holds %#lx, not %#lx", (unsigned long)addr, s,
		     (unsigned long)v, (unsigned long)p->tag);
}

static void write_to(unsigned s, uintptr_t addr, struct place *p, bool failing, bool readonly)
{
	uint64_t tag = rand_u64(&dice) | 1;
	int err;

	run_space(space[s].mm);
	err = store_at(addr, tag);
	if (readonly)
		cr_assert_eq(err, ACCERR);
	else if (!err)
		*p = (struct place){tag, false};
	else
		cr_assert(failing, "a store to %#lx refused with %d", (unsigned long)addr, err);
}

static void op_fork(unsigned s)
{
	for (unsigned t = 0; t < SPACES; t++)
		if (!space[t].mm) {
			int err = quire_mm_fork(space[s].mm, NULL, &space[t].mm);

			if (err) {
				space[t].mm = NULL;
				return;
			}
			space[t].home = space[s].home;
			space[t].readonly = space[s].readonly;
			memcpy(space[t].priv, space[s].priv, sizeof(space[t].priv));
			return;
		}
}

static void op_exit(unsigned s)
{
	unsigned others = 0;

	for (unsigned t = 0; t < SPACES; t++)
		others += t != s && space[t].mm;
	if (!others)
		return;
	if (cur == space[s].mm)
		run_space(NULL);
	quire_mm_put(space[s].mm);
	space[s].mm = NULL;
}

static void op_advise(unsigned s, int advice)
{
	unsigned from = any(NPRIV), n = 1 + any(NPRIV - from);

	/* Locked memory is refused: it may have been done up to there. */
	bool failed = quire_madvise(space[s].mm, priv_at(s, from), n * PS, advice) != 0;

	for (unsigned i = from; i < from + n; i++)
		if (advice == 4 && !failed)
			space[s].priv[i] = (struct place){0, false};
		else if ((advice == 4 || advice == 8) && space[s].priv[i].tag)
			space[s].priv[i].maybe = true;
}

static void op_move(unsigned s)
{
	unsigned to = 1 + any(8);
	long ret;

	if (to == space[s].home)
		return;
	ret = quire_mremap(space[s].mm, priv_at(s, 0), NPRIV * PS, NPRIV * PS, MREMAP_MAYMOVE | MREMAP_FIXED,
			   AT(to * 100));
	if (ret == (long)AT(to * 100))
		space[s].home = to;
}

static void op_cut(void)
{
	struct quire_inode *inode = quire_file_inode(shm);
	unsigned from = any(NSHAR), n = 1 + any(NSHAR - from);

	if (any(2)) {
		cr_assert_eq(quire_inode_fallocate(inode, 3, from * PS, n * PS), 0);
	} else {
		cr_assert_eq(quire_inode_truncate(inode, from * PS), 0);
		cr_assert_eq(quire_inode_truncate(inode, NSHAR * PS), 0);
		n = NSHAR - from;
	}
	for (unsigned i = from; i < from + n; i++)
		shared[i] = (struct place){0, false};
}

static void op_call(bool failing)
{
	struct quire_inode *inode = quire_file_inode(shm);
	unsigned i = any(NSHAR);
	uint64_t v = rand_u64(&dice) | 1;
	long ret;

	if (any(2)) {
		ret = quire_inode_read(inode, i * PS, (uintptr_t)&v, 8, false);
		if (ret == 8)
			cr_assert_eq(v, shared[i].tag, "page %u of the file", i);
	} else {
		ret = quire_inode_write(inode, i * PS, (uintptr_t)&v, 8, false);
		if (ret == 8)
			shared[i].tag = v;
	}
	cr_assert(ret == 8 || failing, "%ld", ret);
}

static void op_swap(void)
{
	unsigned n = any(2);

	dev[n].fail_read = 0; /* what cannot be read then is lost */
	if (on[n]) {
		if (!quire_swapoff(&dev[n].dev)) {
			on[n] = false;
			swapdev_mkswap(&dev[n], n ? 60 : 300);
		}
	} else {
		on[n] = !quire_swapon(&dev[n].dev, NULL, any(2) ? QUIRE_SWAP_FLAG_PREFER | any(3) : 0);
	}
}

/* Compressing is switched, and what the pool may have: a hundredth of memory, or nothing, and what is there is
 * written back. */
static void op_zswap(void)
{
	int err = quire_zswap_enable(any(4));

	cr_assert(!err || err == -ENODEV || err == -ENOMEM);
	cr_assert_eq(quire_zswap_set_max_pool_percent(any(2)), 0);
	toy_spread = any(2) ? 3000 : 4200;
}

static void step(bool failing)
{
	unsigned s = any(SPACES), i = any(NPRIV), k = any(NSHAR), what = any(41);

	if (!space[s].mm)
		return;
	run_space(space[s].mm);
	switch (what) {
	case 0:
		op_fork(s);
		break;
	case 1:
		op_exit(s);
		break;
	case 2:
		op_advise(s, 4); /* DONTNEED */
		break;
	case 3:
		op_advise(s, 8); /* FREE */
		break;
	case 4:
	case 5:
		op_advise(s, 21); /* PAGEOUT */
		break;
	case 6:
		op_advise(s, any(2) ? 3 : 20); /* WILLNEED, COLD */
		break;
	case 7:
		op_move(s);
		break;
	case 8:
		if (!quire_mprotect(space[s].mm, priv_at(s, 0), NPRIV * PS,
				    space[s].readonly ? RW : PROT_READ))
			space[s].readonly = !space[s].readonly;
		break;
	case 9:
		if (!failing)
			op_cut();
		break;
	case 10:
	case 11:
		op_call(failing);
		break;
	case 12:
		quire_mlock(space[s].mm, priv_at(s, i), PS, 0);
		break;
	case 13:
		quire_munlock(space[s].mm, priv_at(s, 0), NPRIV * PS);
		break;
	case 14:
		quire_madvise(space[s].mm, SHARED, NSHAR * PS, any(2) ? 21 : 3);
		break;
	case 15:
		op_swap();
		break;
	case 16:
	case 17:
	case 18:
		quire_reclaim(1 + any(200));
		break;
	case 19:
		if (!any(4))
			compact_memory();
		break;
	case 20:
		quire_clear_refs(space[s].mm, 1 + (int)any(4));
		break;
	case 40:
		op_zswap();
		break;
	case 21:
	case 22:
	case 23:
	case 24:
		write_to(s, SHARED + k * PS, &shared[k], failing, false);
		break;
	case 25:
	case 26:
	case 27:
	case 28:
		look(s, SHARED + k * PS, &shared[k], failing);
		break;
	case 29:
	case 30:
	case 31:
	case 32:
	case 33:
		write_to(s, priv_at(s, i), &space[s].priv[i], failing, space[s].readonly);
		break;
	default:
		look(s, priv_at(s, i), &space[s].priv[i], failing);
	}
}

static void check_all(uint64_t seed, unsigned n)
{
	fake_core_returned();
	for (unsigned s = 0; s < SPACES; s++)
		if (space[s].mm)
			cr_assert_eq(quire_check(space[s].mm), 0, "seed %lu step %u", (unsigned long)seed, n);
}

static void soak_up(uint64_t seed)
{
	bool compressing = seed % 2;
	struct quire_inode *inode;

	space_up_with(&(struct fake_config){.ram = 32 * MIB, .cpus = 1, .software_ad = seed % 3 == 0,
					    .caches_invalid = seed % 4 == 0, .needs_bbm = seed % 5 == 0},
		      &(struct quire_config){.compressor = compressing ? &toy_compressor : NULL,
					     .params = "zswap.enabled=1 zswap.max_pool_percent=1"});
	toy_spread = 3000;
	rand_seed(&dice, seed);
	memset(space, 0, sizeof(space));
	memset(shared, 0, sizeof(shared));
	disk_on(0, 300, 0);
	swapdev_init(&dev[1], 1, 60);
	dev[1].dev.in_memory = compressing && seed % 4 == 1;
	cr_assert_eq(quire_swapon(&dev[1].dev, NULL, QUIRE_SWAP_FLAG_PREFER | 3), 0);
	on[0] = on[1] = true;
	inode = quire_inode_create(NULL, NULL, 7, 1, QUIRE_S_SHMEM);
	quire_inode_truncate(inode, NSHAR * PS);
	shm = quire_file_open(inode, FRW, "/memfd:soak");
	quire_inode_put(inode);
	space[0].mm = cur;
	space[0].home = 1;
	cr_assert_eq(mmap_at(AT(100), NPRIV, RW, PRIV | FIX), (long)AT(100));
	cr_assert_eq(mmap_file(SHARED, NSHAR, RW, MAP_SHARED | FIX, shm, 0), (long)SHARED);
}

static void soak_down(void)
{
	dev[0].broken = dev[1].broken = false;
	dev[0].fail_read = dev[0].fail_write = dev[1].fail_read = dev[1].fail_write = 0;
	for (unsigned s = 0; s < SPACES; s++) {
		for (unsigned i = 0; space[s].mm && i < NPRIV; i++)
			look(s, priv_at(s, i), &space[s].priv[i], false);
		for (unsigned k = 0; space[s].mm && k < NSHAR; k++)
			look(s, SHARED + k * PS, &shared[k], false);
	}
	check_all(0, 0);
	run_space(NULL);
	for (unsigned s = 0; s < SPACES; s++)
		if (space[s].mm)
			quire_mm_put(space[s].mm);
	quire_file_put(shm);
	cr_expect_eq(get_nr_swap_pages(), total_swap_pages());
	cr_expect_eq(total_swapcache_pages(), 0);
	space_down();
	swapdev_free(&dev[0]);
	swapdev_free(&dev[1]);
}

/* One accident before a step, of which nothing is left after it. */
static void accident(void)
{
	switch (any(3)) {
	case 0:
		quire_inject_set(any(2) ? QUIRE_INJECT_PAGE : QUIRE_INJECT_SLAB, 1 + any(4));
		break;
	case 1:
		dev[any(2)].fail_read = 1 + any(3);
		break;
	default:
		dev[any(2)].fail_write = 1 + any(3);
	}
}

static void accident_over(void)
{
	quire_inject_set(QUIRE_INJECT_PAGE, 0);
	quire_inject_set(QUIRE_INJECT_SLAB, 0);
	dev[0].fail_read = dev[1].fail_read = 0;
	dev[0].fail_write = dev[1].fail_write = 0;
}

/* Of four seeds two keep to lists by age, one to trial by space, one changes now and then. Its dice are
 * its own: what else happens does not depend on it. */
static void choose_policy(uint64_t seed, unsigned n)
{
	uint64_t die = hash64(seed << 32 | n);

	if ((seed % 4 == 1 && !n) || (seed % 4 == 3 && die % 50 == 0))
		cr_assert_eq(quire_sysctl_set("reclaim_policy", seed % 4 == 1 || die >> 32 & 1), 0);
}

static void soak(uint64_t seed, unsigned steps, bool accidents)
{
	soak_up(seed);
	for (unsigned n = 0; n < steps; n++) {
		choose_policy(seed, n);
		bool failing = accidents && !any(6);

		if (failing)
			accident();
		step(failing);
		accident_over();
		if (n % 32 == 0)
			check_all(seed, n);
	}
	soak_down();
}

/* QUIRE_SOAK=FIRST-LAST: those seeds, 100,000 steps each, instead. */
Test(swap_soak, everything, .timeout = 30000)
{
	const char *range = getenv("QUIRE_SOAK");
	unsigned long first = 1, last = 8;
	unsigned steps = 4000;

	if (range && sscanf(range, "%lu-%lu", &first, &last) == 2)
		steps = 100000;
	for (unsigned long seed = first; seed <= last; seed++)
		soak(seed, steps, false);
}

Test(swap_soak, everything_with_accidents, .timeout = 30000)
{
	const char *range = getenv("QUIRE_SOAK");
	unsigned long first = 101, last = 108;
	unsigned steps = 4000;

	if (range && sscanf(range, "%lu-%lu", &first, &last) == 2)
		steps = 100000;
	for (unsigned long seed = first; seed <= last; seed++)
		soak(seed, steps, true);
}
