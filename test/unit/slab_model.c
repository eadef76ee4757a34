/* SPDX-License-Identifier: MIT */
/*
 * The slab allocator against a plain model: a list of what is out, each with its cache, size and
 * contents. Random requests of every kind (kmalloc of all sizes and types, caches with and without
 * constructors, bulk, realloc, shrinking, caches that come and go, failing pages and objects, every
 * CPU); what comes back must overlap nothing that is out, be aligned, hold what it should, and the
 * core's own checker must agree after each step.
 *
 * usage: slab_model [STEPS [SEED [PARAMS]]]    exit 0: all agreed, 1: the first disagreement is told
 *        slab_model --threads STEPS            CPUs at once, books at the end
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/fake/fake.h"
#include "mm/report/check.h"
#include "mm/slab/slab_def.h"

#define MIB	(1ull << 20)
#define CPUS	4
#define SLOTS	2000
#define CACHES	6
#define BULK	40
#define CTOR_BYTE 0x2a

struct slot {
	unsigned char *p;
	size_t n;	  /* bytes that hold tag */
	unsigned char tag;
	int cache;	  /* -1: kmalloc */
};

static struct slot slots[SLOTS];
static unsigned nslots;
static struct kmem_cache *caches[CACHES];
static unsigned out[CACHES]; /* objects of each */
static const unsigned sizes[CACHES] = {8, 24, 64, 200, 1000, 5000};
static uint64_t rs, step, refused, allocs;
static const char *doing = "nothing";

static uint64_t rnd(void)
{
	rs ^= rs << 13;
	rs ^= rs >> 7;
	rs ^= rs << 17;
	return rs;
}

#define REQUIRE(cond)                                                                           \
	do {                                                                                    \
		if (!(cond)) {                                                                  \
			fprintf(stderr, "slab_model: step %llu: %s: not %s (line %d)\n",        \
				(unsigned long long)step, doing, #cond, __LINE__);              \
			exit(1);                                                                \
		}                                                                               \
	} while (0)

static void construct(void *p)
{
	memset(p, CTOR_BYTE, 200);
}

/* The fourth has a constructor, the third its own lines. */
static struct kmem_cache *make_cache(unsigned i)
{
	static const char *const names[CACHES] = {"m0", "m1", "m2", "m3", "m4", "m5"};
	struct kmem_cache *c = kmem_cache_create(names[i], sizes[i], i == 2 ? 64 : 0,
						 i & 1 ? SLAB_RECLAIM_ACCOUNT : SLAB_NO_MERGE,
						 i == 3 ? construct : NULL);

	REQUIRE(c);
	return c;
}

/* Nothing that is out shares a byte with it: what overlapped would have lost its tag. */
static void own(void *p, size_t n, int cache)
{
	struct slot *s = &slots[nslots++];

	*s = (struct slot){p, n, (unsigned char)rnd(), cache};
	if (cache == 3) { /* its contents stay while it is free */
		for (unsigned i = 0; i < n; i++)
			REQUIRE(s->p[i] == CTOR_BYTE);
		s->tag = CTOR_BYTE;
	}
	memset(p, s->tag, n);
	if (cache >= 0)
		out[cache]++;
	allocs++;
}

static struct slot disown(unsigned i)
{
	struct slot s = slots[i];

	for (size_t k = 0; k < s.n; k++)
		REQUIRE(s.p[k] == s.tag);
	slots[i] = slots[--nslots];
	if (s.cache >= 0)
		out[s.cache]--;
	return s;
}

static void do_kmalloc(void)
{
	static const gfp_t kinds[] = {GFP_KERNEL, GFP_ATOMIC, GFP_KERNEL | __GFP_ZERO,
				      GFP_KERNEL | __GFP_RECLAIMABLE, GFP_KERNEL | __GFP_DMA};
	gfp_t gfp = kinds[rnd() % ARRAY_SIZE(kinds)] | __GFP_NOWARN;
	size_t n = rnd() % 16 ? 1 + rnd() % 600 : 1 + rnd() % 40000;
	unsigned char *p;

	doing = "kmalloc";
	p = kmalloc(n, gfp);
	if (!p) {
		refused++;
		return;
	}
	REQUIRE((uintptr_t)p % 8 == 0);
	REQUIRE((n & (n - 1)) || (uintptr_t)p % (n < PAGE_SIZE ? n : PAGE_SIZE) == 0 || n < 8);
	for (size_t i = 0; gfp & __GFP_ZERO && i < n; i++)
		REQUIRE(!p[i]);
	own(p, n, -1);
}

static void do_cache_alloc(void)
{
	unsigned i = rnd() % CACHES;
	void *p = i != 3 && rnd() & 1 ? kmem_cache_zalloc(caches[i], GFP_KERNEL | __GFP_NOWARN)
				      : kmem_cache_alloc(caches[i], GFP_KERNEL | __GFP_NOWARN);

	doing = "kmem_cache_alloc";
	if (!p) {
		refused++;
		return;
	}
	REQUIRE(i != 2 || (uintptr_t)p % 64 == 0);
	own(p, sizes[i], i);
}

static void do_bulk(void)
{
	unsigned i = rnd() % CACHES, n = 1 + rnd() % BULK, got;
	void *p[BULK];

	doing = "bulk";
	got = kmem_cache_alloc_bulk(caches[i], GFP_KERNEL | __GFP_NOWARN, n, p);
	REQUIRE(got == n || got == 0);
	refused += !got;
	if (rnd() & 1) {
		kmem_cache_free_bulk(caches[i], got, p);
		return;
	}
	for (unsigned k = 0; k < got; k++)
		own(p[k], sizes[i], i);
}

static void do_free(void)
{
	struct slot s;

	doing = "free";
	if (!nslots)
		return;
	s = disown(rnd() % nslots);
	if (s.cache >= 0 && rnd() & 1)
		kmem_cache_free(caches[s.cache], s.p);
	else
		kfree(s.p); /* as in Linux, it finds any cache */
}

static void do_krealloc(void)
{
	struct slot s;
	size_t n = 1 + rnd() % 3000;
	unsigned char *p;

	doing = "krealloc";
	if (!nslots || slots[nslots - 1].cache >= 0)
		return;
	s = disown(nslots - 1);
	REQUIRE(ksize(s.p) >= s.n);
	p = krealloc(s.p, n, GFP_KERNEL | __GFP_NOWARN);
	for (size_t i = 0; p && i < s.n && i < n; i++)
		REQUIRE(p[i] == s.tag);
	own(p ? p : s.p, p ? n : s.n, -1);
}

static void do_odd(void)
{
	unsigned i = rnd() % CACHES;

	switch (rnd() % 6) {
	case 0:
		doing = "shrink";
		kmem_cache_shrink(caches[i]);
		break;
	case 1:
		doing = "drain";
		slab_drain();
		break;
	case 2:
		doing = "destroy";
		if (!out[i]) {
			REQUIRE(kmem_cache_destroy(caches[i]) == 0);
			caches[i] = make_cache(i);
		}
		break;
	case 3:
		doing = "page failures";
		quire_inject_set(QUIRE_INJECT_PAGE, rnd() % 4);
		break;
	case 4:
		doing = "object failures";
		quire_inject_set(QUIRE_INJECT_SLAB, rnd() % 20);
		break;
	default:
		fake_cpu_switch(rnd() % CPUS);
	}
}

static void one_step(void)
{
	unsigned r = rnd() % 100;

	if (r < 3)
		do_odd();
	else if (nslots > SLOTS - BULK - 1 || r < 48 + (step >> 9 & 1 ? 10 : 0))
		do_free();
	else if (r < 70)
		do_kmalloc();
	else if (r < 92)
		do_cache_alloc();
	else if (r < 96)
		do_bulk();
	else
		do_krealloc();
}

static void machine_up(const char *params)
{
	struct fake_config fc = {.ram = 48 * MIB, .cpus = CPUS};
	struct quire_config qc = {.params = params};

	if (fake_machine_create(&fc) || quire_init(&qc)) {
		fprintf(stderr, "slab_model: no machine\n");
		exit(2);
	}
}

/* The invariants of every cache; those of the frames too now and then, for they take longer. */
static void check(void)
{
	struct kmem_cache *c;
	unsigned long bad = 0;

	mutex_lock(&slab_mutex);
	list_for_each_entry(c, &slab_caches, list)
		bad += slab_check(c);
	mutex_unlock(&slab_mutex);
	REQUIRE(!bad);
	if (step % 256 == 0)
		REQUIRE(!check_phys());
}

static void end(void)
{
	doing = "the end";
	fake_cpu_switch(0);
	for (unsigned i = 0; i < CACHES; i++)
		REQUIRE(kmem_cache_destroy(caches[i]) == 0);
	for (enum slab_bug b = 0; b < NR_SLAB_BUGS; b++)
		REQUIRE(slab_bugs_seen(b) == 0);
	REQUIRE(check_phys() == 0);
	REQUIRE(quire_exit() == 0);
	fake_machine_destroy();
}

static void campaign(uint64_t steps, uint64_t seed, const char *params)
{
	rs = seed * 0x9e3779b97f4a7c15ull + 1;
	machine_up(params);
	for (unsigned i = 0; i < CACHES; i++)
		caches[i] = make_cache(i);
	for (step = 0; step < steps; step++) {
		one_step();
		check();
	}
	quire_inject_set(QUIRE_INJECT_PAGE, 0);
	quire_inject_set(QUIRE_INJECT_SLAB, 0);
	while (nslots)
		kfree(disown(nslots - 1).p);
	end();
	printf("slab_model: %llu steps, seed %llu, %s: %llu objects, %llu refused\n",
	       (unsigned long long)steps, (unsigned long long)seed, params ? params : "plain",
	       (unsigned long long)allocs, (unsigned long long)refused);
}

/* ---- at once --------------------------------------------------------------------------------- */

static void *shelf[512]; /* objects that one CPU leaves and another frees */

static void pounder(void *arg)
{
	uint64_t x = 88172645463325252ull + (uintptr_t)arg * 7919;

	for (uint64_t n = 0; n < step; n++) {
		unsigned i, k;
		uint64_t *p;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		i = x >> 8 & 1 ? 2 : 4;
		k = (x >> 16 & 255) * 2 + (i == 4);
		p = x >> 9 & 1 ? kmem_cache_alloc(caches[i], GFP_KERNEL) : NULL;
		if (p)
			p[0] = (uintptr_t)p ^ 0x51ab;
		p = __atomic_exchange_n(&shelf[k], p, __ATOMIC_ACQ_REL);
		if (p) {
			REQUIRE(p[0] == ((uintptr_t)p ^ 0x51ab));
			kmem_cache_free(caches[i], p);
		}
		kfree(kmalloc(1 + (x >> 32 & 1023), GFP_KERNEL));
	}
}

static void at_once(uint64_t steps)
{
	machine_up(NULL);
	for (unsigned i = 0; i < CACHES; i++)
		caches[i] = make_cache(i);
	step = steps;
	for (unsigned c = 1; c < CPUS; c++)
		REQUIRE(!fake_cpu_start(c, pounder, (void *)(uintptr_t)c));
	pounder(NULL);
	for (unsigned c = 1; c < CPUS; c++)
		fake_cpu_join(c);
	for (unsigned k = 0; k < ARRAY_SIZE(shelf); k++)
		kfree(shelf[k]);
	check();
	end();
}

int main(int argc, char **argv)
{
	if (argc > 2 && !strcmp(argv[1], "--threads"))
		at_once(strtoull(argv[2], NULL, 0));
	else
		campaign(argc > 1 ? strtoull(argv[1], NULL, 0) : 20000,
			 argc > 2 ? strtoull(argv[2], NULL, 0) : 1, argc > 3 ? argv[3] : NULL);
	return 0;
}
