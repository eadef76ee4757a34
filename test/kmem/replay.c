/* SPDX-License-Identifier: MIT */
/*
 * The replay: each recorded allocation is made of the core's own allocators, each free frees it.
 * What succeeded there has to succeed here, with the same migratetype and size class; every page
 * and object carries a mark that is looked for when it is freed. The free lists are shown beside
 * Linux's when the last event is over, with everything that still lived then still held.
 */
#include "test/kmem/kmem.h"

#include "lib/bug.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "mm/phys/page_alloc.h"
#include "mm/report/check.h"
#include "mm/slab/slab.h"
#include "mm/vmalloc/vmalloc.h"
#include <quire/abi.h>

#define MAX_CACHES 128
#define MARK	   0x5175697265000000ull

struct block {
	void *p; /* NULL: not in use */
	uint32_t size; /* pages: 1 << order; objects: bytes asked for */
	uint16_t order, cache; /* cache: index + 1; 0: kmalloc */
};

struct cache {
	struct kmem_cache *c;
	uint32_t asked, given;
};

static struct replay {
	struct kmem_file file;
	void (*say)(const char *line);
	struct block *pages, *objects;
	struct cache caches[MAX_CACHES];
	unsigned ncaches;
	gfp_t gfp[KMEM_MAX_GFP];
	uint64_t page_allocs, page_frees, object_allocs, object_frees, drained, extfrag;
	uint64_t failed, not_failed, other_type, other_class, not_zero, damaged;
} r;

static void say(const char *fmt, ...) __printf(1, 2);
static void say(const char *fmt, ...)
{
	char line[500];
	va_list ap;

	va_start(ap, fmt);
	vscnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	r.say(line);
}

/* ---- flags ------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	gfp_t gfp;
} gfp_names[] = {
	{"GFP_KERNEL", GFP_KERNEL},
	{"GFP_KERNEL_ACCOUNT", GFP_KERNEL | __GFP_ACCOUNT},
	{"GFP_ATOMIC", GFP_ATOMIC},
	{"GFP_NOWAIT", GFP_NOWAIT},
	{"GFP_NOFS", GFP_NOFS},
	{"GFP_NOIO", GFP_NOIO},
	{"GFP_USER", GFP_USER},
	{"GFP_HIGHUSER", GFP_HIGHUSER},
	{"GFP_HIGHUSER_MOVABLE", GFP_HIGHUSER_MOVABLE},
	{"GFP_TRANSHUGE_LIGHT", (GFP_HIGHUSER_MOVABLE | __GFP_COMP | __GFP_NOMEMALLOC | __GFP_NOWARN) &
					~__GFP_RECLAIM},
	{"GFP_TRANSHUGE", GFP_HIGHUSER_MOVABLE | __GFP_COMP | __GFP_NOMEMALLOC | __GFP_NOWARN},
	{"GFP_DMA", __GFP_DMA},
	{"GFP_DMA32", __GFP_DMA32},
	{"__GFP_DMA", __GFP_DMA},
	{"__GFP_DMA32", __GFP_DMA32},
	{"__GFP_HIGHMEM", __GFP_HIGHMEM},
	{"__GFP_MOVABLE", __GFP_MOVABLE},
	{"__GFP_RECLAIMABLE", __GFP_RECLAIMABLE},
	{"__GFP_HIGH", __GFP_HIGH},
	{"__GFP_IO", __GFP_IO},
	{"__GFP_FS", __GFP_FS},
	{"__GFP_ZERO", __GFP_ZERO},
	{"__GFP_ATOMIC", __GFP_ATOMIC},
	{"__GFP_DIRECT_RECLAIM", __GFP_DIRECT_RECLAIM},
	{"__GFP_KSWAPD_RECLAIM", __GFP_KSWAPD_RECLAIM},
	{"__GFP_RECLAIM", __GFP_RECLAIM},
	{"__GFP_NOWARN", __GFP_NOWARN},
	{"__GFP_RETRY_MAYFAIL", __GFP_RETRY_MAYFAIL},
	{"__GFP_NOFAIL", __GFP_NOFAIL},
	{"__GFP_NORETRY", __GFP_NORETRY},
	{"__GFP_MEMALLOC", __GFP_MEMALLOC},
	{"__GFP_COMP", __GFP_COMP},
	{"__GFP_NOMEMALLOC", __GFP_NOMEMALLOC},
	{"__GFP_ACCOUNT", __GFP_ACCOUNT},
	/* no memory of several nodes, no limits by processor, no write here: nothing to say */
	{"__GFP_HARDWALL", 0},
	{"__GFP_THISNODE", 0},
	{"__GFP_WRITE", 0},
};

static bool gfp_of_name(const char *s, size_t n, gfp_t *gfp)
{
	for (unsigned i = 0; i < ARRAY_SIZE(gfp_names); i++) {
		if (!strncmp(gfp_names[i].name, s, n) && !gfp_names[i].name[n]) {
			*gfp |= gfp_names[i].gfp;
			return true;
		}
	}
	return false;
}

/* "A|B|C" as our bits; a name that nobody here knows is told. */
static bool read_gfp(unsigned which)
{
	const char *s = r.file.gfp[which];

	while (*s) {
		size_t n = 0;

		while (s[n] && s[n] != '|')
			n++;
		if (!gfp_of_name(s, n, &r.gfp[which])) {
			say("gfp %u: unknown flag in %s", which, r.file.gfp[which]);
			return false;
		}
		s += n + (s[n] == '|');
	}
	return true;
}

/* ---- marks ------------------------------------------------------------------------------------- */

static void mark(struct block *b, const struct block *table, size_t n)
{
	uint64_t v = MARK | (uint64_t)(b - table);

	memcpy(b->p, &v, min(n, sizeof(v)));
}

/* The mark is still there; counts it if not. */
static void check_mark(const struct block *b, const struct block *table, size_t n)
{
	uint64_t v = MARK | (uint64_t)(b - table);

	r.damaged += memcmp(b->p, &v, min(n, sizeof(v))) != 0;
}

static void check_zero(const void *p, size_t n)
{
	const unsigned char *byte = p;

	for (size_t i = 0; i < n; i++) {
		if (byte[i]) {
			r.not_zero++;
			return;
		}
	}
}

/* ---- events ------------------------------------------------------------------------------------ */

static void page_mark(struct block *b, bool check)
{
	struct block at = *b;

	/* every page of the block: two blocks that overlap are seen wherever they do */
	for (uint32_t i = 0; i < b->size; i++) {
		uint64_t v = MARK | (uint64_t)(b - r.pages);

		at.p = (char *)b->p + ((size_t)i << PAGE_SHIFT);
		if (check)
			r.damaged += memcmp(at.p, &v, sizeof(v)) != 0;
		else
			memcpy(at.p, &v, sizeof(v));
	}
}

static void page_free(struct block *b)
{
	page_mark(b, true);
	__free_pages(virt_to_page(b->p), b->order);
	b->p = NULL;
	r.page_frees++;
}

static void page_alloc(const struct kmem_event *ev)
{
	struct block *b = &r.pages[ev->id];
	gfp_t gfp = r.gfp[ev->gfp];
	struct page *page = alloc_pages(gfp, ev->order);

	r.page_allocs++;
	r.other_type += gfp_migratetype(gfp) != ev->migratetype;
	if (!page) {
		r.failed++;
		return;
	}
	*b = (struct block){.p = page_address(page), .size = 1u << ev->order, .order = (uint16_t)ev->order};
	if (gfp & __GFP_ZERO)
		check_zero(b->p, PAGE_SIZE << ev->order);
	page_mark(b, false);
}

/* Recorded as failed: too large, or not to wait. Here it may succeed; it is given back at once. */
static void failed_page(const struct kmem_event *ev)
{
	struct page *page = alloc_pages(r.gfp[ev->gfp] | __GFP_NOWARN, ev->order);

	if (page) {
		r.not_failed++;
		__free_pages(page, ev->order);
	}
}

/* The cache for objects of that size, made when it is first needed; 0: there are too many. */
static unsigned cache_of(const struct kmem_event *ev)
{
	struct cache *c = r.caches;

	for (; c < r.caches + r.ncaches; c++)
		if (c->asked == ev->asked && c->given == ev->given)
			return (unsigned)(c - r.caches) + 1;
	if (r.ncaches == MAX_CACHES)
		return 0;
	*c = (struct cache){kmem_cache_create("replayed", max(ev->asked, 1u), 0, 0, NULL), ev->asked,
			    ev->given};
	return c->c ? ++r.ncaches : 0;
}

static void object_free(struct block *b)
{
	check_mark(b, r.objects, b->size);
	if (b->cache)
		kmem_cache_free(r.caches[b->cache - 1].c, b->p);
	else
		kfree(b->p);
	b->p = NULL;
	r.object_frees++;
}

static void object_alloc(const struct kmem_event *ev)
{
	struct block *b = &r.objects[ev->id];
	gfp_t gfp = r.gfp[ev->gfp];
	unsigned cache = ev->kind == KMEM_CACHE_ALLOC ? cache_of(ev) : 0;
	void *p = NULL;

	r.object_allocs++;
	if (cache)
		p = kmem_cache_alloc(r.caches[cache - 1].c, gfp);
	else if (ev->kind == KMEM_KMALLOC)
		p = kmalloc(ev->asked, gfp);
	if (!p) {
		r.failed++;
		return;
	}
	if (ev->kind == KMEM_KMALLOC)
		r.other_class += ksize(p) != ev->given;
	if (gfp & __GFP_ZERO)
		check_zero(p, ev->asked);
	*b = (struct block){.p = p, .size = ev->asked, .cache = (uint16_t)cache};
	mark(b, r.objects, b->size);
}

static void failed_object(const struct kmem_event *ev)
{
	void *p = kmalloc(ev->asked, r.gfp[ev->gfp] | __GFP_NOWARN);

	r.not_failed += p != NULL;
	kfree(p);
}

/* A number is in use or not, and the event has to agree: -EINVAL. What failed here is no number. */
static int in_order(const struct kmem_event *ev, struct kmem_error *e)
{
	bool page = ev->kind == KMEM_PAGE_ALLOC || ev->kind == KMEM_PAGE_FREE;
	bool gives = ev->kind == KMEM_PAGE_FREE || ev->kind == KMEM_OBJECT_FREE;
	const struct block *b = page ? &r.pages[ev->id] : &r.objects[ev->id];

	if (gives ? b->p || r.failed : !b->p)
		return 0;
	*e = (struct kmem_error){gives ? "frees what is not there" : "allocates what is there already",
				 r.file.line};
	return -EINVAL;
}

static int one_event(const struct kmem_event *ev, struct kmem_error *e)
{
	switch (ev->kind) {
	case KMEM_PAGE_FAILED:
		failed_page(ev);
		return 0;
	case KMEM_OBJECT_FAILED:
		failed_object(ev);
		return 0;
	case KMEM_EXTFRAG:
		r.extfrag++;
		return 0;
	case KMEM_PCP_DRAIN:
		r.drained++;
		return 0;
	default:
		break;
	}
	if (in_order(ev, e))
		return -EINVAL;
	if (ev->kind == KMEM_PAGE_ALLOC)
		page_alloc(ev);
	else if (ev->kind == KMEM_PAGE_FREE && r.pages[ev->id].p)
		page_free(&r.pages[ev->id]);
	else if (ev->kind == KMEM_KMALLOC || ev->kind == KMEM_CACHE_ALLOC)
		object_alloc(ev);
	else if (ev->kind == KMEM_OBJECT_FREE && r.objects[ev->id].p)
		object_free(&r.objects[ev->id]);
	return 0;
}

/* ---- what is shown ----------------------------------------------------------------------------- */

static void show_blocks(const char *who, const struct kmem_blocks *b)
{
	char line[200];
	size_t n = scnprintf(line, sizeof(line), "%-13s %-7s", who, b->zone);

	for (unsigned i = 0; i < KMEM_ORDERS; i++)
		n += scnprintf(line + n, sizeof(line) - n, " %6llu", (unsigned long long)b->n[i]);
	say("%s", line);
}

/* Our zones as they are now; the per-CPU lists are no blocks, as in /proc/buddyinfo. */
static void show_ours(const char *who)
{
	struct zone *z;

	for_each_populated_zone(z) {
		struct kmem_blocks b = {{0}};

		strscpy(b.zone, z->name, sizeof(b.zone));
		for (unsigned i = 0; i < KMEM_ORDERS; i++)
			b.n[i] = z->free_area[i].nr_free;
		show_blocks(who, &b);
	}
}

static void show_picture(void)
{
	char line[200];
	size_t n = scnprintf(line, sizeof(line), "%-13s %-7s", "free blocks", "zone");

	for (unsigned i = 0; i < KMEM_ORDERS; i++)
		n += scnprintf(line + n, sizeof(line) - n, " %6u", i);
	say("%s", line);
	for (unsigned i = 0; i < r.file.nbefore; i++)
		show_blocks("Linux before", &r.file.before[i]);
	for (unsigned i = 0; i < r.file.nafter; i++)
		show_blocks("Linux after", &r.file.after[i]);
}

static void show_counts(void)
{
	const struct kmem_file *f = &r.file;

	say("%u events: pages %llu allocated, %llu freed; objects %llu allocated, %llu freed", f->seen,
	    (unsigned long long)r.page_allocs, (unsigned long long)r.page_frees,
	    (unsigned long long)r.object_allocs, (unsigned long long)r.object_frees);
	say("there: %llu pages went from per-CPU lists to the buddy, %llu blocks of another type were "
	    "used, %llu pages became slabs, %llu frees of older things are left out",
	    (unsigned long long)r.drained, (unsigned long long)r.extfrag,
	    (unsigned long long)f->slab_pages, (unsigned long long)f->skipped);
	say("failed here and not there: %llu; the other way round: %llu", (unsigned long long)r.failed,
	    (unsigned long long)r.not_failed);
	say("other migratetype: %llu; other size class: %llu; not zeroed: %llu; damaged: %llu",
	    (unsigned long long)r.other_type, (unsigned long long)r.other_class,
	    (unsigned long long)r.not_zero, (unsigned long long)r.damaged);
}

/* ---- the run ----------------------------------------------------------------------------------- */

/* What still lives is given back; then as much is free as at the start. */
static void free_all(void)
{
	for (uint32_t i = 0; r.pages && i < r.file.page_ids; i++)
		if (r.pages[i].p)
			page_free(&r.pages[i]);
	for (uint32_t i = 0; r.objects && i < r.file.object_ids; i++)
		if (r.objects[i].p)
			object_free(&r.objects[i]);
	for (unsigned i = 0; i < r.ncaches; i++)
		kmem_cache_destroy(r.caches[i].c);
	vfree(r.pages);
	vfree(r.objects);
}

static uint64_t free_now(void)
{
	struct quire_counts c;

	quire_drain();
	quire_get_counts(&c);
	return c.free_pages + c.table_pages;
}

static int play(struct kmem_error *e)
{
	struct kmem_event ev;
	int err;

	r.pages = vzalloc(max(r.file.page_ids, 1u) * sizeof(struct block));
	r.objects = vzalloc(max(r.file.object_ids, 1u) * sizeof(struct block));
	if (!r.pages || !r.objects) {
		*e = (struct kmem_error){"no memory for the recording's numbers", r.file.line};
		return -ENOMEM;
	}
	show_picture();
	show_ours("Quire before");
	while ((err = kmem_next(&r.file, &ev, e)) > 0 && !(err = one_event(&ev, e)))
		;
	if (!err)
		show_ours("Quire after");
	return err;
}

static int verdict(uint64_t before)
{
	uint64_t after = free_now();
	long broken = check_phys();
	bool good = !r.failed && !r.other_type && !r.other_class && !r.not_zero && !r.damaged;

	if (after != before)
		say("%llu pages were free before, %llu after", (unsigned long long)before,
		    (unsigned long long)after);
	if (broken)
		say("%ld invariants are broken", broken);
	good = good && after == before && !broken;
	say("%s", good ? "replayed: as recorded, nothing lost" : "replayed: NOT as recorded");
	return good ? 0 : 1;
}

int kmem_replay(const char *text, size_t n, void (*line)(const char *line))
{
	struct kmem_error e = {"", 0};
	uint64_t before;
	int err;

	r = (struct replay){.say = line};
	if (kmem_open(&r.file, text, n, &e)) {
		say("line %u: %s", e.line, e.why);
		return 2;
	}
	say("Linux %s, %u MiB: %s", r.file.kernel, r.file.memory, r.file.command);
	for (unsigned i = 0; i < r.file.ngfp; i++)
		if (!read_gfp(i))
			return 2;
	before = free_now();
	err = play(&e);
	if (!err)
		show_counts();
	free_all();
	if (err) {
		say("line %u: %s", e.line, e.why);
		return 2;
	}
	return verdict(before);
}
