/* SPDX-License-Identifier: MIT */
/*
 * The core with something in between any two of its accesses: an interrupt, or a move to another
 * CPU. Each test does the same again and again, and each time it comes in at the next point, until
 * every one had its turn. Built over the instrumented core, and instrumented itself.
 */
#include "mm_test.h"

#include <stdio.h>

#include "lib/spinlock.h"
#include "mm/lru/lru.h"
#include "mm/phys/buddy.h"
#include "mm/slab/slab_def.h"

#define MIB  (1ull << 20)
#define CPUS 3

static int depth; /* of pre-emption turned off */

void os_preempt(int delta)
{
	depth += delta;
}

static unsigned accusations;
static char last[512];

static void heard(enum fake_accusation what, const char *msg, void *ctx)
{
	accusations++;
	snprintf(last, sizeof(last), "%s: %s", fake_accusation_name(what), msg);
}

/* ---- moved to another CPU -------------------------------------------------------------------- */

static unsigned turn;

/* As a pre-emptible kernel does it: only where nothing holds the thread on its CPU. */
static void move(void *ctx)
{
	if (!depth)
		fake_cpu_switch(turn++ % CPUS);
}

static void smp_up(void)
{
	machine_up(64 * MIB, CPUS);
	fake_on_accusation(heard, NULL);
	accusations = turn = 0;
	for (unsigned z = 0; z < MAX_NR_ZONES; z++)
		for (unsigned c = 0; zones[z].pcp && c < CPUS; c++)
			fake_per_cpu(&zones[z].pcp[c], sizeof(zones[z].pcp[c]), c);
}

static void smp_down(void)
{
	fake_on_point(NULL, NULL);
	fake_choose_points(0, 0);
	for (unsigned z = 0; z < MAX_NR_ZONES; z++)
		for (unsigned c = 0; zones[z].pcp && c < CPUS; c++)
			fake_per_cpu(&zones[z].pcp[c], 0, -1);
	fake_cpu_switch(0);
	fake_on_accusation(NULL, NULL);
	machine_down();
}

/* work(), with a move at each of its points in turn; check() after each. */
static void at_every_point(void (*prepare)(void), void (*work)(void), void (*check)(uint64_t at))
{
	uint64_t at = 0;

	do {
		at++;
		fake_on_point(NULL, NULL);
		fake_cpu_switch(0);
		turn = 1;
		prepare();
		fake_on_point(move, NULL);
		fake_choose_points(0, at);
		work();
		fake_on_point(NULL, NULL);
		cr_assert_eq(accusations, 0, "a move at point %lu: %s", at, last);
		check(at);
	} while (fake_points() >= at);
	cr_assert_gt(at, 10);
}

static struct kmem_cache *cache;

/* A magazine on each CPU. */
static void fill_magazines(void)
{
	for (unsigned c = 0; c < CPUS; c++) {
		void *obj[8];

		fake_cpu_switch(c);
		for (unsigned i = 0; i < 8; i++)
			obj[i] = kmem_cache_alloc(cache, GFP_KERNEL);
		for (unsigned i = 0; i < 8; i++)
			kmem_cache_free(cache, obj[i]);
	}
	fake_cpu_switch(0);
}

static void shrink(void)
{
	kmem_cache_shrink(cache);
}

static void magazines_are_gone(uint64_t at)
{
	for (unsigned c = 0; c < CPUS; c++)
		cr_assert_null(READ_ONCE(cache->cpu[c].loaded), "a move at point %lu: CPU %u has a magazine",
			       at, c);
}

Test(points, shrink_and_moves)
{
	smp_up();
	cache = kmem_cache_create("points", 100, 0, SLAB_NO_MERGE, NULL);
	for (unsigned c = 0; c < CPUS; c++)
		fake_per_cpu(&cache->cpu[c], sizeof(cache->cpu[c]), c);
	at_every_point(fill_magazines, shrink, magazines_are_gone);
	for (unsigned c = 0; c < CPUS; c++)
		fake_per_cpu(&cache->cpu[c], 0, -1);
	kmem_cache_destroy(cache);
	smp_down();
}

/* Pages on each CPU's lists. */
static void fill_lists(void)
{
	for (unsigned c = 0; c < CPUS; c++) {
		struct page *p;

		fake_cpu_switch(c);
		p = alloc_pages(GFP_KERNEL, 0);
		cr_assert(p);
		__free_pages(p, 0);
	}
	fake_cpu_switch(0);
}

static void lists_are_empty(uint64_t at)
{
	for (unsigned z = 0; z < MAX_NR_ZONES; z++)
		cr_assert_eq(nr_free_pcp(&zones[z]), 0, "a move at point %lu: a list has pages", at);
}

Test(points, drain_and_moves)
{
	smp_up();
	at_every_point(fill_lists, drain_all_pages, lists_are_empty);
	smp_down();
}

/* Whatever is asked of the allocators, with moves anywhere. */
Test(points, allocations_and_moves)
{
	void *obj[64] = {NULL};
	struct page *page[64] = {NULL};

	smp_up();
	cache = kmem_cache_create("points", 100, 0, SLAB_NO_MERGE, NULL);
	for (unsigned c = 0; c < CPUS; c++)
		fake_per_cpu(&cache->cpu[c], sizeof(cache->cpu[c]), c);
	fake_on_point(move, NULL);
	fake_choose_points(7, 0);
	for (unsigned i = 0; i < 20000; i++) {
		unsigned at = rnd() % 64;

		if (rnd() % 2) {
			if (obj[at])
				kmem_cache_free(cache, obj[at]);
			obj[at] = obj[at] ? NULL : kmem_cache_alloc(cache, GFP_KERNEL);
		} else {
			if (page[at])
				__free_pages(page[at], at % 4);
			page[at] = page[at] ? NULL : alloc_pages(GFP_KERNEL, at % 4);
		}
		if (!(rnd() % 500))
			drain_all_pages();
		if (!(rnd() % 500))
			kmem_cache_shrink(cache);
		cr_assert_eq(accusations, 0, "step %u: %s", i, last);
	}
	fake_on_point(NULL, NULL);
	for (unsigned at = 0; at < 64; at++) {
		if (obj[at])
			kmem_cache_free(cache, obj[at]);
		if (page[at])
			__free_pages(page[at], at % 4);
	}
	for (unsigned c = 0; c < CPUS; c++)
		fake_per_cpu(&cache->cpu[c], 0, -1);
	cr_assert_eq(kmem_cache_destroy(cache), 0);
	smp_down();
}

/* ---- an interrupt that takes locks ----------------------------------------------------------- */

static spinlock_t outer, inner, of_handler;
static unsigned handled;

static void handler(void *ctx)
{
	spin_lock(&of_handler);
	cr_assert(lockdep_finds(&of_handler));
	spin_unlock(&of_handler);
	handled++;
}

static void holds(const spinlock_t *lock, unsigned n, uint64_t at)
{
	const struct lockdep_cpu *c = &lockdep_cpus[0];
	unsigned found = 0;

	cr_assert_eq(c->depth, n, "an interrupt at point %lu", at);
	for (unsigned i = 0; i < n; i++)
		found += c->h[i].lock == lock && c->h[i].rank == lock->rank &&
			 c->h[i].name == lock->name;
	cr_assert_eq(found, 1, "an interrupt at point %lu: %s is not noted", at, lock->name);
}

/* The handler's lock has a name that the records of others must not get. */
Test(points, lock_records_and_interrupts)
{
	uint64_t at = 0;

	machine_up(64 * MIB, 1);
	spin_lock_init_rank(&outer, "outer", 10);
	spin_lock_init_rank(&inner, "inner", 20);
	spin_lock_init_rank(&of_handler, "handler", 80);
	fake_on_point(handler, NULL);
	do {
		fake_choose_points(0, ++at);
		spin_lock(&outer);
		holds(&outer, 1, at);
		spin_lock(&inner);
		holds(&outer, 2, at);
		holds(&inner, 2, at);
		spin_unlock(&outer); /* the one below goes first */
		holds(&inner, 1, at);
		spin_unlock(&inner);
		cr_assert_eq(lockdep_cpus[0].depth, 0);
	} while (fake_points() >= at);
	cr_assert_gt(handled, 30);
	fake_on_point(NULL, NULL);
	machine_down();
}

/* ---- what the machine says of accesses ------------------------------------------------------- */

static struct {
	uint64_t word;
} *shared; /* no local variable, which is its own task's */
static void (*other)(void);

static void store_more(void)
{
	shared->word++;
}

static void store_same(void)
{
	shared->word = READ_ONCE(shared->word);
}

static void store_marked(void)
{
	WRITE_ONCE(shared->word, READ_ONCE(shared->word) + 1);
}

static void load(void)
{
	uint64_t v = shared->word;

	__asm__ volatile("" : : "r"(v));
}

static void load_marked(void)
{
	READ_ONCE(shared->word);
}

static void come_in(void *ctx)
{
	other();
}

/* How often it is told that `second` comes in at the points of `first`. */
static unsigned races(void (*first)(void), void (*second)(void))
{
	uint64_t at = 0;

	fake_machine_destroy(); /* each race is told once */
	cr_assert_eq(fake_machine_create(&(struct fake_config){.watch_races = true}), 0);
	other = second;
	do {
		fake_on_point(come_in, NULL);
		fake_choose_points(0, ++at);
		first();
		fake_on_point(NULL, NULL);
	} while (fake_points() >= at);
	return fake_accused(FAKE_RACE);
}

Test(points, races_are_told)
{
	shared = calloc(1, 64);
	fake_on_accusation(heard, NULL);
	cr_expect_gt(races(load, store_more), 0);
	cr_expect(strstr(last, "data-race") && strstr(last, "store_more") && strstr(last, "load at"),
		  "%s", last);
	cr_expect_gt(races(load, store_marked), 0, "one of them is plain");
	cr_expect_gt(races(store_more, load), 0);
	cr_expect_gt(races(store_more, load_marked), 0);
	cr_expect_gt(races(store_more, store_more), 0);
	cr_expect_eq(races(load, load), 0);
	cr_expect_eq(races(load, store_same), 0, "it saw the same");
	cr_expect_eq(races(load_marked, store_marked), 0);
	cr_expect_eq(races(store_marked, load_marked), 0);
	fake_on_accusation(NULL, NULL);
	fake_machine_destroy();
	free(shared);
}

Test(points, releases_that_are_none)
{
	static uint32_t word;

	cr_assert_eq(fake_machine_create(&(struct fake_config){.watch_races = true}), 0);
	fake_on_accusation(heard, NULL);
	__atomic_store_n(&word, 0, __ATOMIC_RELAXED);
	__atomic_exchange_n(&word, 1, __ATOMIC_ACQUIRE);
	__atomic_store_n(&word, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&word, 0, __ATOMIC_RELAXED);
	__atomic_exchange_n(&word, 1, __ATOMIC_ACQUIRE);
	__atomic_exchange_n(&word, 0, __ATOMIC_SEQ_CST);
	__atomic_exchange_n(&word, 1, __ATOMIC_RELAXED);
	cr_expect_eq(fake_accused(FAKE_RELAXED), 0, "%s", last);
	__atomic_exchange_n(&word, 1, __ATOMIC_ACQUIRE);
	__atomic_store_n(&word, 0, __ATOMIC_RELAXED);
	cr_expect_eq(fake_accused(FAKE_RELAXED), 1);
	__atomic_exchange_n(&word, 1, __ATOMIC_ACQUIRE);
	__atomic_exchange_n(&word, 0, __ATOMIC_RELAXED);
	cr_expect_eq(fake_accused(FAKE_RELAXED), 2);
	fake_on_accusation(NULL, NULL);
	fake_machine_destroy();
}

Test(points, data_of_one_cpu)
{
	irqflags_t flags;

	shared = calloc(1, 64);
	cr_assert_eq(fake_machine_create(&(struct fake_config){.cpus = 2}), 0);
	fake_on_accusation(heard, NULL);
	fake_per_cpu(shared, 8, 0);
	flags = hal_irq_save();
	store_more();
	hal_irq_restore(flags);
	load_marked();
	cr_expect_eq(fake_accused(FAKE_PER_CPU), 0);
	load();
	cr_expect_eq(fake_accused(FAKE_PER_CPU), 1, "interrupts are on");
	fake_cpu_switch(1);
	flags = hal_irq_save();
	load();
	hal_irq_restore(flags);
	cr_expect_eq(fake_accused(FAKE_PER_CPU), 2, "another CPU's");
	fake_per_cpu(shared, 0, -1);
	load();
	cr_expect_eq(fake_accused(FAKE_PER_CPU), 2);
	fake_on_accusation(NULL, NULL);
	fake_machine_destroy();
	free(shared);
}

/* ---- the last reference, and somebody who finds the page on a list ---------------------------- */

static struct page *victim;
static bool found;

/* Another CPU brings the page to a list, and takes it from there as compaction would. */
static void isolates_victim(void *ctx)
{
	fake_cpu_switch(1);
	lru_add_drain_all();
	found = isolate_lru_frame(victim);
	fake_cpu_switch(0);
}

/* Either the page is free, or it is his. */
static void last_reference_against_isolation(bool drained)
{
	unsigned finds = 0;
	uint64_t at = 0;

	do {
		at++;
		victim = alloc_pages(GFP_KERNEL, 0);
		cr_assert(victim);
		os_preempt(1);
		lru_cache_add_new(victim, 0);
		os_preempt(-1);
		if (drained)
			lru_add_drain_all();
		found = false;
		fake_on_point(isolates_victim, NULL);
		fake_choose_points(0, at);
		put_page(victim);
		fake_on_point(NULL, NULL);
		finds += found;
		cr_assert_eq(page_count(victim), found, "point %lu", at);
		cr_assert_eq(page_test(victim, PG_listed), found, "point %lu", at);
		if (found)
			put_page(victim);
		cr_assert_eq(page_count(victim), 0);
	} while (fake_points() >= at);
	cr_assert_gt(finds, 0);
}

Test(points, last_reference_and_isolation)
{
	smp_up();
	last_reference_against_isolation(false);
	last_reference_against_isolation(true);
	smp_down();
}
