/* SPDX-License-Identifier: MIT */
/*
 * The page allocator against a plain model: one owner for each frame, found again by looking at
 * everything. Random requests of every kind, order, zone and CPU, frees, splits, frees in bulk,
 * isolation, drains, changed reserves, pages of a file that are moved, one or by compaction; after
 * each step the checker of the core and the model's own books must agree, and what was handed out
 * or refused must be what the rules allow.
 *
 * usage: page_model [STEPS [SEED [CPUS]]]      exit 0: all agreed, 1: the first disagreement is told
 *        page_model --threads STEPS            CPUs at once, books at the end; for thread sanitizers
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/fake/fake.h"
#include "mm/base/sysctl.h"
#include "mm/base/vmstat.h"
#include "mm/migrate/compaction.h"
#include "mm/migrate/migrate.h"
#include "mm/object/file_def.h"
#include "mm/object/filemap.h"
#include "mm/phys/buddy.h"
#include "mm/phys/page_alloc.h"
#include "mm/report/check.h"
#include <quire/quire.h>

#define MIB	  (1ull << 20)
#define SLOTS	  3000
#define CACHED	  300 /* pages of a file, which may be moved; they come and go never */
#define FREE	  0u
#define FOREIGN	  ~0u
#define MAX_BLOCK 64 /* pageblocks that hold RAM */

struct slot {
	struct page *page;
	unsigned order;
	uint64_t tag;
};

static struct slot slots[SLOTS];
static struct slot cached[CACHED]; /* by index in the file */
static struct quire_inode *file;
static unsigned nslots;
static uint32_t *owner; /* by pfn: FREE, FOREIGN, 1 + slot number, or 1 + SLOTS + index */
static struct pageblock *blocks[MAX_BLOCK];
static uint8_t type[MAX_BLOCK];
static uint8_t isolated_from[MAX_BLOCK]; /* 1 + type; 0: not isolated */
static unsigned nblocks;
static unsigned long model_free;
static uint64_t rs, step, did[16], refused, stolen, moved;
static char doing[160];

static uint64_t rnd(void)
{
	rs ^= rs << 13;
	rs ^= rs >> 7;
	rs ^= rs << 17;
	return rs;
}

#define REQUIRE(cond)                                                                            \
	do {                                                                                     \
		if (!(cond)) {                                                                   \
			fprintf(stderr, "page_model: step %llu: %s: not " #cond " (line %d)\n",  \
				(unsigned long long)step, doing, __LINE__);                      \
			exit(1);                                                                 \
		}                                                                                \
	} while (0)

static uint64_t pfn_of(const struct page *p)
{
	return page_to_pfn(p).n;
}

static unsigned slot_pages(const struct slot *s)
{
	return 1u << s->order;
}

/* ---- the model ------------------------------------------------------------------------------- */

static void model_init(void)
{
	uint64_t frames = nr_sections() << SECTION_ORDER;

	owner = calloc(frames, sizeof(*owner));
	nblocks = 0;
	model_free = 0;
	for (uint64_t pfn = 0; pfn < frames; pfn++) {
		const struct page *p = pfn_to_page(PFN(pfn));

		owner[pfn] = pfn_valid(PFN(pfn)) && PageBuddy(p) ? FREE : FOREIGN;
		model_free += owner[pfn] == FREE;
		if (!(pfn & (PAGEBLOCK_PAGES - 1)) && pfn_valid(PFN(pfn))) {
			bool ram = false;

			for (unsigned i = 0; i < PAGEBLOCK_PAGES; i++)
				ram |= !page_test(p + i, PG_reserved);
			if (ram && nblocks < MAX_BLOCK)
				blocks[nblocks++] = pfn_to_block(pfn);
		}
	}
	for (unsigned i = 0; i < nblocks; i++)
		type[i] = block_type(blocks[i]);
}

static unsigned block_index(uint64_t pfn)
{
	for (unsigned i = 0; i < nblocks; i++)
		if (blocks[i]->pfn == (pfn & ~(PAGEBLOCK_PAGES - 1)))
			return i;
	return MAX_BLOCK;
}

static bool run_free(uint64_t pfn, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		if (owner[pfn + i] != FREE)
			return false;
	return true;
}

/* A free block of order in a pageblock of type mt of zone z (as the model remembers types). */
static bool model_has_block(const struct zone *z, unsigned order, unsigned mt)
{
	for (unsigned i = 0; i < nblocks; i++) {
		uint64_t pfn = blocks[i]->pfn;

		if (page_zone(pfn_to_page(PFN(pfn))) != z || type[i] != mt)
			continue;
		if (order >= MAX_ORDER - 1) {
			/* Two pageblocks of one type, the second right behind the first. */
			if (!(pfn & PAGEBLOCK_PAGES) && i + 1 < nblocks &&
			    blocks[i + 1]->pfn == pfn + PAGEBLOCK_PAGES && type[i + 1] == mt &&
			    run_free(pfn, 2 * PAGEBLOCK_PAGES))
				return true;
			continue;
		}
		for (unsigned off = 0; off < PAGEBLOCK_PAGES; off += 1u << order)
			if (run_free(pfn + off, 1u << order))
				return true;
	}
	return false;
}

/* Free pages of a zone that are in use by nobody and not isolated. */
static long model_zone_free(const struct zone *z)
{
	long n = 0;

	for (unsigned i = 0; i < nblocks; i++)
		if (page_zone(pfn_to_page(PFN(blocks[i]->pfn))) == z && type[i] != MIGRATE_ISOLATE)
			for (unsigned k = 0; k < PAGEBLOCK_PAGES; k++)
				n += owner[blocks[i]->pfn + k] == FREE;
	return n;
}

static unsigned long listed_per_cpu(void)
{
	unsigned long n = 0;
	struct zone *z;

	for_each_populated_zone(z)
		n += nr_free_pcp(z);
	return n;
}

/* ---- taking and giving ----------------------------------------------------------------------- */

static void stamp(struct slot *s)
{
	s->tag = rnd();
	for (unsigned i = 0; i < slot_pages(s); i++)
		*(uint64_t *)page_address(s->page + i) = s->tag + i;
}

static void check_stamp(const struct slot *s)
{
	for (unsigned i = 0; i < slot_pages(s); i++)
		REQUIRE(*(uint64_t *)page_address(s->page + i) == s->tag + i);
}

static void own(struct page *page, unsigned order)
{
	struct slot *s = &slots[nslots];

	*s = (struct slot){page, order, 0};
	for (unsigned i = 0; i < slot_pages(s); i++) {
		REQUIRE(owner[pfn_of(page) + i] == FREE);
		REQUIRE(isolated_from[block_index(pfn_of(page) + i)] == 0);
		owner[pfn_of(page) + i] = 1 + nslots;
	}
	model_free -= slot_pages(s);
	stamp(s);
	nslots++;
}

/* The last slot moves into the gap. */
static void disown(unsigned i)
{
	struct slot *s = &slots[i];

	check_stamp(s);
	for (unsigned k = 0; k < slot_pages(s); k++) {
		REQUIRE(owner[pfn_of(s->page) + k] == 1 + i);
		owner[pfn_of(s->page) + k] = FREE;
	}
	model_free += slot_pages(s);
	nslots--;
	if (i == nslots)
		return;
	*s = slots[nslots];
	for (unsigned k = 0; k < slot_pages(s); k++)
		owner[pfn_of(s->page) + k] = 1 + i;
}

/* The pages of the file are the model's before it begins. */
static void fill_cache(void)
{
	for (unsigned i = 0; i < CACHED; i++) {
		struct slot *s = &cached[i];

		*s = (struct slot){find_get_page(&file->i_mapping, i), 0, 0};
		put_page(s->page);
		REQUIRE(owner[pfn_of(s->page)] == FOREIGN);
		owner[pfn_of(s->page)] = 1 + SLOTS + i;
		stamp(s);
	}
}

/* Where each page of the file is now; who moved left a free frame behind and took one. Contents,
 * references, place in the file and everybody else's frames are as they were. */
static void follow_cache(void)
{
	struct page *now[CACHED];

	for (unsigned i = 0; i < CACHED; i++) {
		now[i] = find_get_page(&file->i_mapping, i);
		REQUIRE(now[i]);
		put_page(now[i]);
		if (now[i] != cached[i].page)
			owner[pfn_of(cached[i].page)] = FREE;
	}
	for (unsigned i = 0; i < CACHED; i++) {
		struct slot *s = &cached[i];

		if (now[i] != s->page) {
			REQUIRE(owner[pfn_of(now[i])] == FREE);
			REQUIRE(isolated_from[block_index(pfn_of(now[i]))] == 0);
			owner[pfn_of(now[i])] = 1 + SLOTS + i;
			s->page = now[i];
			moved++;
		}
		REQUIRE(page_count(s->page) == 1 && s->page->index == i);
		REQUIRE(page_test(s->page, PG_dirty) && !page_test(s->page, PG_locked));
		check_stamp(s);
	}
}

/* Who is short of a block may have moved pages to make one. */
static void follow_compaction(void)
{
	static uint64_t seen;
	uint64_t now = sum_vm_event(PGMIGRATE_SUCCESS);

	if (now != seen)
		follow_cache();
	seen = now;
}

static const gfp_t kinds[] = {
	GFP_KERNEL,	      GFP_HIGHUSER_MOVABLE, GFP_ATOMIC,		 GFP_KERNEL | __GFP_RECLAIMABLE,
	GFP_KERNEL | GFP_DMA, GFP_KERNEL | GFP_DMA32, GFP_NOWAIT,	 GFP_USER,
	GFP_HIGHUSER_MOVABLE, GFP_HIGHUSER_MOVABLE, GFP_KERNEL | __GFP_NORETRY,
};

/* What the watermark of zone z says to free pages, by the formula as the documents have it. */
static bool model_mark_ok(const struct zone *z, long free, unsigned order, gfp_t gfp)
{
	long mark = z->watermark[WMARK_MIN];

	free -= (1l << order) - 1;
	if (gfp & __GFP_HIGH)
		mark -= mark / 2;
	if (gfp & __GFP_ATOMIC)
		mark -= mark / 4;
	else
		free -= z->nr_reserved_highatomic;
	return free > mark + (long)z->lowmem_reserve[gfp_zone(gfp)];
}

static bool model_any_block(const struct zone *z, unsigned order, gfp_t gfp)
{
	for (unsigned o = order; o < MAX_ORDER; o++)
		for (unsigned mt = 0; mt < MIGRATE_PCPTYPES; mt++)
			if (model_has_block(z, o, mt))
				return true;
	return false;
}

/* Every list is empty, so the model knows what the buddy has: was the answer one of the allowed? */
static void judge_alloc(struct page *page, unsigned order, gfp_t gfp, const long before[])
{
	unsigned mt = gfp_migratetype(gfp), b;
	struct zone *z;

	if (!page) {
		for (unsigned i = 0; i <= gfp_zone(gfp); i++) {
			z = &zones[i];
			if (populated_zone(z) && model_mark_ok(z, before[i], order, gfp) &&
			    model_any_block(z, order, gfp)) 
				REQUIRE(!"refused what could have been had");
		}
		return;
	}
	z = page_zone(page);
	b = block_index(pfn_of(page));
	if (model_has_block(z, order, mt))
		REQUIRE(type[b] == mt || (gfp & __GFP_ATOMIC && type[b] == MIGRATE_HIGHATOMIC));
	else
		stolen++;
	/* A single page comes with a batch: only whole blocks are held to the exact count. */
	if (order > PAGE_ALLOC_COSTLY_ORDER)
		REQUIRE(model_mark_ok(z, before[z->idx], order, gfp));
}

static void do_alloc(void)
{
	unsigned order = rnd() % 4 ? rnd() % 2 : rnd() % MAX_ORDER;
	gfp_t gfp = kinds[rnd() % ARRAY_SIZE(kinds)] | __GFP_NOWARN;
	bool strict = listed_per_cpu() == 0;
	long before[MAX_NR_ZONES];
	struct page *page;

	if (nslots == SLOTS)
		return;
	if (order && rnd() & 1)
		gfp |= __GFP_COMP;
	if (rnd() % 8 == 0)
		gfp |= __GFP_ZERO;
	snprintf(doing, sizeof(doing), "alloc order %u gfp %#x", order, gfp);
	for (unsigned i = 0; strict && i < MAX_NR_ZONES; i++)
		before[i] = model_zone_free(&zones[i]);
	page = alloc_pages(gfp, order);
	follow_compaction();
	if (strict)
		judge_alloc(page, order, gfp, before);
	if (!page) {
		refused++;
		return;
	}
	REQUIRE(!(pfn_of(page) & ((1u << order) - 1)));
	REQUIRE(page_count(page) == 1);
	REQUIRE(page_zonenum(page) <= gfp_zone(gfp));
	if (gfp & __GFP_ZERO)
		for (unsigned i = 0; i < 1u << order; i++) {
			const uint64_t *w = page_address(page + i);

			REQUIRE(!w[0] && !w[PAGE_SIZE / 8 - 1]);
		}
	own(page, order);
}

static void free_slot(unsigned i)
{
	struct slot s = slots[i];

	snprintf(doing, sizeof(doing), "free pfn %#llx order %u",
		 (unsigned long long)pfn_of(s.page), s.order);
	disown(i);
	if (rnd() & 1 && page_test(s.page, PG_head))
		put_page(s.page + rnd() % (1u << s.order));
	else
		__free_pages(s.page, s.order);
}

static void do_free(void)
{
	if (nslots)
		free_slot(rnd() % nslots);
}

/* One block becomes several, each with an owner of its own. */
static void do_split(void)
{
	unsigned i, order;
	struct page *page;

	if (!nslots)
		return;
	i = rnd() % nslots;
	order = slots[i].order;
	page = slots[i].page;
	if (!order || order > 4 || page_test(page, PG_head) ||
	    nslots + (1u << order) > SLOTS)
		return;
	snprintf(doing, sizeof(doing), "split pfn %#llx order %u",
		 (unsigned long long)pfn_of(page), order);
	disown(i);
	split_page(page, order);
	for (unsigned k = 0; k < 1u << order; k++)
		own(page + k, 0);
}

static void do_bulk(void)
{
	gfp_t gfp = kinds[rnd() % ARRAY_SIZE(kinds)] | __GFP_NOWARN;
	unsigned n = 1 + rnd() % 40;
	struct page *pages[40];
	unsigned got;

	if (nslots + n > SLOTS)
		return;
	snprintf(doing, sizeof(doing), "%u pages gfp %#x", n, gfp);
	for (got = 0; got < n; got++) {
		pages[got] = alloc_pages(gfp, 0);
		follow_compaction();
		if (!pages[got])
			break;
		own(pages[got], 0);
	}
	if (!(rnd() & 1))
		return;
	snprintf(doing, sizeof(doing), "bulk free of %u", got);
	for (unsigned i = 0; i < got; i++)
		disown(nslots - 1);
	for (unsigned i = 0; i < got; i++)
		pages[i]->_refcount = 0;
	free_page_bulk(pages, got);
}

static void do_drain(void)
{
	snprintf(doing, sizeof(doing), "drain");
	if (rnd() & 1)
		drain_local_pages();
	else
		drain_all_pages();
}

/* Out of use and back. Lists are emptied first, as who isolates must. */
static void do_isolate(void)
{
	unsigned i = rnd() % nblocks;
	struct page *page = pfn_to_page(PFN(blocks[i]->pfn));

	snprintf(doing, sizeof(doing), "isolate block %#llx", (unsigned long long)blocks[i]->pfn);
	if (isolated_from[i]) {
		unset_migratetype_isolate(page, isolated_from[i] - 1);
		isolated_from[i] = 0;
		return;
	}
	/* What is set aside stays so; a few at a time are enough. */
	if (type[i] == MIGRATE_HIGHATOMIC || rnd() & 1)
		return;
	drain_all_pages();
	if (!set_migratetype_isolate(page))
		isolated_from[i] = 1 + type[i];
}

/* ---- moving ---------------------------------------------------------------------------------- */

/* One page to a frame of any zone and type, or everything that compaction finds. */
static void do_migrate(void)
{
	unsigned i = rnd() % CACHED;
	struct page *old = cached[i].page, *fresh;
	bool held = rnd() % 8 == 0;
	int err;

	if (rnd() % 64 == 0) {
		snprintf(doing, sizeof(doing), "compact");
		compact_memory();
		follow_cache();
		return;
	}
	fresh = alloc_pages(kinds[rnd() % ARRAY_SIZE(kinds)] | __GFP_NOWARN, 0);
	snprintf(doing, sizeof(doing), "migrate pfn %#llx%s", (unsigned long long)pfn_of(old),
		 held ? ", which somebody holds" : "");
	if (!fresh)
		return;
	if (held)
		get_page(old);
	REQUIRE(migrate_begin());
	REQUIRE(get_page_unless_zero(old));
	err = migrate_page(old, fresh);
	migrate_end();
	if (held)
		put_page(old);
	REQUIRE(err == (held ? -EAGAIN : 0));
	REQUIRE((find_get_page(&file->i_mapping, i) == old) == held);
	put_page(held ? old : fresh);
	follow_cache();
}

static void do_tune(void)
{
	snprintf(doing, sizeof(doing), "tune");
	min_free_kbytes_user = rnd() & 1;
	vm_sysctl.min_free_kbytes = 128 + rnd() % 1024;
	vm_sysctl.watermark_scale_factor = 1 + rnd() % 100;
	setup_per_zone_wmarks();
	if (rnd() & 1)
		unreserve_highatomic_pageblock(&node_zonelist, ZONE_MOVABLE, rnd() & 1);
}

/* ---- after each step ------------------------------------------------------------------------- */

static bool whole_pair_free(unsigned i)
{
	uint64_t pair = blocks[i]->pfn & ~(2 * PAGEBLOCK_PAGES - 1);

	return run_free(pair, 2 * PAGEBLOCK_PAGES);
}

/* A pageblock changes its type only for a reason. */
static void check_types(bool may_allocate)
{
	for (unsigned i = 0; i < nblocks; i++) {
		unsigned now = block_type(blocks[i]);

		REQUIRE(now < MIGRATE_TYPES);
		REQUIRE((now == MIGRATE_ISOLATE) == (isolated_from[i] != 0));
		if (now != type[i] && !may_allocate)
			REQUIRE(whole_pair_free(i));
		type[i] = now;
	}
}

static void check_step(bool may_allocate)
{
	unsigned long free = 0;
	struct zone *z;

	REQUIRE(check_phys() == 0);
	for_each_populated_zone(z)
		free += z->nr_free + nr_free_pcp(z);
	for (unsigned i = 0; i < nblocks; i++)
		if (block_type(blocks[i]) == MIGRATE_ISOLATE)
			free += block_nr_free(blocks[i]);
	REQUIRE(free == model_free);
	check_types(may_allocate);
}

static void one_step(unsigned cpus)
{
	static void (*const ops[])(void) = {do_alloc, do_free,	  do_split,   do_bulk,
					    do_drain, do_isolate, do_migrate, do_tune};
	static const uint8_t weight[] = {50, 84, 87, 89, 95, 97, 99, 100};
	unsigned r = rnd() % 100, op = 0;

	if (rnd() % 16 == 0)
		fake_cpu_switch(rnd() % cpus);
	/* Now and then more goes than comes, down to nothing. */
	if (step % 4096 > 3000 && r < weight[0])
		r = weight[0];
	while (r >= weight[op])
		op++;
	did[op]++;
	ops[op]();
	check_step(op == 0 || op == 3 || op >= 5);
}

/* DMA, DMA32, NORMAL and MOVABLE, a few pageblocks each, with ragged ends. Small, for all of it is
 * looked at after each step. */
static const struct mem_range ranges[] = {
	{12 * MIB, 16 * MIB, MEM_RAM, "dma"},
	{16 * MIB, 22 * MIB + 12288, MEM_RAM, "dma32"},
	{4096 * MIB, 4111 * MIB, MEM_RAM, "normal"},
};

/* late: single pages are put off when they are freed. */
static void machine_up(unsigned cpus, bool late)
{
	const struct quire_config cfg = {
		.params = late ? "movablecore=8M bad_page=panic late_free=1"
			       : "movablecore=8M bad_page=panic late_free=0"};
	struct fake_config fc = {.ranges = ranges, .nranges = ARRAY_SIZE(ranges), .cpus = cpus};

	if (fake_machine_create(&fc) || quire_init(&cfg)) {
		fprintf(stderr, "page_model: no machine\n");
		exit(2);
	}
	quire_drain();
}

static void machine_down(void)
{
	REQUIRE(quire_exit() == 0);
	fake_machine_destroy();
}

/* A file in memory, with all its pages. */
static void file_up(void)
{
	static const struct quire_inode_ops ops;

	file = quire_inode_create(&ops, NULL, 1, 1, QUIRE_S_SHMEM);
	REQUIRE(file && !quire_inode_truncate(file, (uint64_t)CACHED * PAGE_SIZE));
	REQUIRE(!quire_inode_fallocate(file, 0, 0, (uint64_t)CACHED * PAGE_SIZE));
	REQUIRE(quire_inode_cached_pages(file) == CACHED);
	quire_drain(); /* empty slabs, which a shortage would give back, are nobody's */
}

static void campaign(uint64_t steps, uint64_t seed, unsigned cpus)
{
	rs = seed * 0x9e3779b97f4a7c15ull + 1;
	machine_up(cpus, seed % 2 == 0);
	file_up();
	model_init();
	fill_cache();
	for (step = 0; step < steps; step++)
		one_step(cpus);
	snprintf(doing, sizeof(doing), "the end");
	while (nslots)
		free_slot(nslots - 1);
	for (unsigned i = 0; i < nblocks; i++)
		if (isolated_from[i])
			unset_migratetype_isolate(pfn_to_page(PFN(blocks[i]->pfn)),
						  isolated_from[i] - 1);
	memset(isolated_from, 0, sizeof(isolated_from));
	fake_cpu_switch(0);
	drain_all_pages();
	check_step(true);
	quire_inode_put(file);
	printf("page_model: %llu steps, seed %llu, %u CPUs: %llu allocations (%llu refused, at least "
	       "%llu from other types), %llu frees, %llu pages moved\n",
	       (unsigned long long)steps, (unsigned long long)seed, cpus,
	       (unsigned long long)did[0], (unsigned long long)refused,
	       (unsigned long long)stolen, (unsigned long long)did[1], (unsigned long long)moved);
	free(owner);
	machine_down();
}

/* ---- at once --------------------------------------------------------------------------------- */

static void pounder(void *arg)
{
	uint64_t x = 88172645463325252ull + (uintptr_t)arg * 7919, n = step;
	struct slot mine[200] = {{0}};

	while (n--) {
		struct slot *s = &mine[x % ARRAY_SIZE(mine)];

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		if (s->page) {
			REQUIRE(*(uint64_t *)page_address(s->page) == s->tag);
			__free_pages(s->page, s->order);
			s->page = NULL;
			continue;
		}
		s->order = x >> 20 & 7 ? 0 : x >> 24 & 3;
		s->tag = x;
		s->page = alloc_pages(kinds[x >> 32 & 7] | __GFP_NOWARN, s->order);
		if (s->page)
			*(uint64_t *)page_address(s->page) = s->tag;
		if (!(x >> 40 & 0xff))
			drain_local_pages();
	}
	for (unsigned i = 0; i < ARRAY_SIZE(mine); i++)
		if (mine[i].page)
			__free_pages(mine[i].page, mine[i].order);
}

static void at_once(uint64_t steps, bool late)
{
	machine_up(4, late);
	model_init();
	step = steps;
	for (unsigned c = 1; c < 4; c++)
		REQUIRE(!fake_cpu_start(c, pounder, (void *)(uintptr_t)c));
	pounder(NULL);
	for (unsigned c = 1; c < 4; c++)
		fake_cpu_join(c);
	drain_all_pages();
	check_step(true);
	free(owner);
	machine_down();
}

int main(int argc, char **argv)
{
	if (argc > 2 && !strcmp(argv[1], "--threads")) {
		at_once(strtoull(argv[2], NULL, 0), false);
		at_once(strtoull(argv[2], NULL, 0), true);
	} else {
		campaign(argc > 1 ? strtoull(argv[1], NULL, 0) : 20000,
			 argc > 2 ? strtoull(argv[2], NULL, 0) : 1,
			 argc > 3 ? (unsigned)strtoul(argv[3], NULL, 0) : 3);
	}
	return 0;
}
