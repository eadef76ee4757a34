/* SPDX-License-Identifier: MIT */
/*
 * Page debugging: page_owner, page_poison, debug_pagealloc, init_on_alloc and init_on_free,
 * bad-page reports. By Linux's boot parameters:
 *
 *   debug_pagealloc=on   every page of a block is looked at, when it leaves and when it comes back
 *   page_poison=1        free pages hold 0xaa; a write to one is found when the page is taken
 *   page_owner=on        the last allocation and free of each page: named in a report, and a text
 *   init_on_alloc=1      pages are zeroed when taken; init_on_free=1: when freed, and not again
 *   bad_page=panic|contain   what a corrupted page does; without it a build with NDEBUG contains
 *
 * Contained means: the page is never given out again, is counted, and the machine goes on.
 */
#include "mm/phys/page_debug.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "mm/base/param.h"
#include "mm/base/trace.h"
#include "mm/phys/memblock.h"
#include "mm/phys/page_alloc.h"
#include <quire/abi.h>
#include <quire/os.h>

static bool contain;
static unsigned long bad_seen, lost_pages;

struct page_owner {
	uint64_t alloc_ip, free_ip; /* 0: not yet */
	uint64_t ts_ns;		    /* of the allocation */
	uint32_t gfp, pid, free_pid;
	uint8_t order, mt;
	bool in_use;
};
static struct page_owner **owners; /* by section; NULL without page_owner=on */

static bool slow(uint32_t why)
{
	return __atomic_load_n(&page_slow, __ATOMIC_RELAXED) & why;
}

void page_debug_init(void)
{
	static const struct {
		const char *name;
		uint32_t why;
	} params[] = {
		{"debug_pagealloc", PAGE_SLOW_CHECK},	{"page_poison", PAGE_SLOW_POISON},
		{"page_owner", PAGE_SLOW_OWNER},	{"init_on_alloc", PAGE_SLOW_INIT_ALLOC},
		{"init_on_free", PAGE_SLOW_INIT_FREE},
	};
	char word[16];

	for (unsigned i = 0; i < ARRAY_SIZE(params); i++)
		page_slow_set(params[i].why, boot_param_bool(params[i].name, false));
	/* As 5.10 has it: poison is for finding bugs, and zeros would hide them. */
	if (slow(PAGE_SLOW_POISON))
		page_slow_set(PAGE_SLOW_INIT_ALLOC | PAGE_SLOW_INIT_FREE, false);
#ifdef NDEBUG
	contain = true;
#else
	contain = false;
#endif
	if (boot_param("bad_page", word, sizeof(word)))
		contain = !strcmp(word, "contain");
	bad_seen = lost_pages = 0;
}

void page_debug_exit(void)
{
	page_slow_set(~PAGE_SLOW_TRACE, false);
	owners = NULL;
}

unsigned long nr_bad_pages(void)
{
	return __atomic_load_n(&bad_seen, __ATOMIC_RELAXED);
}

unsigned long nr_lost_pages(void)
{
	return __atomic_load_n(&lost_pages, __ATOMIC_RELAXED);
}

/* ---- owners ---------------------------------------------------------------------------------- */

int page_owner_section(uint64_t section, uint64_t nr)
{
	ASSERT(section < nr);
	if (!slow(PAGE_SLOW_OWNER))
		return 0;
	if (!owners)
		owners = memblock_alloc_zeroed(nr * sizeof(*owners));
	if (!owners)
		return -ENOMEM;
	owners[section] = memblock_alloc_zeroed(SECTION_PAGES * sizeof(struct page_owner));
	return owners[section] ? 0 : -ENOMEM;
}

static struct page_owner *owner_of(const struct page *p)
{
	uint64_t pfn = page_to_pfn(p).n;

	return owners ? &owners[pfn >> SECTION_ORDER][pfn & (SECTION_PAGES - 1)] : NULL;
}

static void owner_alloc(struct page *page, unsigned order, gfp_t gfp, unsigned mt, uintptr_t ip)
{
	uint64_t now = os_clock_ns();

	ASSERT(owners);
	for (unsigned long i = 0; i < 1ul << order; i++) {
		struct page_owner *o = owner_of(page + i);

		o->alloc_ip = ip;
		o->ts_ns = now;
		o->gfp = gfp;
		o->pid = os_current_pid();
		o->order = order;
		o->mt = mt;
		o->in_use = true;
	}
}

static void owner_free(struct page *page, unsigned order, uintptr_t ip)
{
	ASSERT(owners);
	for (unsigned long i = 0; i < 1ul << order; i++) {
		struct page_owner *o = owner_of(page + i);

		o->free_ip = ip;
		o->free_pid = os_current_pid();
		o->in_use = false;
	}
}

void page_owner_split(struct page *page, unsigned order)
{
	for (unsigned long i = 0; owners && i < 1ul << order; i++)
		owner_of(page + i)->order = 0;
}

void page_owner_copy(struct page *to, const struct page *from)
{
	if (owners)
		*owner_of(to) = *owner_of(from);
}

/* One line for each block in use, in the words of Linux's page_owner file. */
void quire_show_page_owner(quire_emit_fn emit, void *ctx)
{
	for (uint64_t pfn = 0; owners && pfn < max_pfn; pfn++) {
		const struct page_owner *o;

		if (!pfn_valid(PFN(pfn))) {
			pfn |= SECTION_PAGES - 1;
			continue;
		}
		o = owner_of(pfn_to_page(PFN(pfn)));
		if (!o->in_use)
			continue;
		emitf(emit, ctx,
		      "Page allocated via order %u, mask %#x, pid %u, ts %llu ns\n"
		      "PFN %llu type %s Block %llu type %s Flags %#lx\n %#llx\n\n",
		      o->order, o->gfp, o->pid, (unsigned long long)o->ts_ns,
		      (unsigned long long)pfn, migratetype_names[o->mt],
		      (unsigned long long)pfn >> PAGEBLOCK_ORDER,
		      migratetype_names[get_pageblock_migratetype(pfn_to_page(PFN(pfn)))],
		      pfn_to_page(PFN(pfn))->flags, (unsigned long long)o->alloc_ip);
		pfn += (1ull << o->order) - 1;
	}
}

/* ---- bad pages ------------------------------------------------------------------------------- */

static void report_bad(const char *line, unsigned long lost)
{
	__atomic_fetch_add(&bad_seen, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&lost_pages, lost, __ATOMIC_RELAXED);
	if (!contain)
		os_panic(line);
	os_log(line);
}

void bad_page(const struct page *p, const char *why, unsigned long lost)
{
	const struct page_owner *o = owner_of(p);
	char line[320];
	size_t n;

	ASSERT(why);
	n = scnprintf(line, sizeof(line),
		      "BUG: Bad page state in process %s  pfn:%05llx: %s: flags %#lx refcount %d "
		      "mapcount %d mapping %p; %lu frames lost",
		      os_current_comm(), (unsigned long long)page_to_pfn(p).n, why, p->flags,
		      p->_refcount, p->_mapcount + 1, p->mapping, lost);
	if (o && o->alloc_ip)
		n += scnprintf(line + n, sizeof(line) - n,
			       "; allocated by %#llx (pid %u, order %u, gfp %#x)",
			       (unsigned long long)o->alloc_ip, o->pid, o->order, o->gfp);
	if (o && o->free_ip)
		scnprintf(line + n, sizeof(line) - n, "; last freed by %#llx (pid %u)",
			  (unsigned long long)o->free_ip, o->free_pid);
	report_bad(line, lost);
}

void bad_block(const struct pageblock *b, unsigned order, unsigned long lost)
{
	char line[128];

	assert_held(&page_zone(pfn_to_page(PFN(b->pfn)))->lock);
	ASSERT(order < MAX_ORDER);
	scnprintf(line, sizeof(line),
		  "BUG: Bad free list: no block of order %u in the pageblock at pfn:%05llx; "
		  "%lu frames lost", order, (unsigned long long)b->pfn, lost);
	report_bad(line, lost);
}

/* ---- contents -------------------------------------------------------------------------------- */

/* The first byte that is not the pattern, or -1. */
static long poison_broken(const struct page *page)
{
	const unsigned char *p = page_address(page);

	for (unsigned long i = 0; i < PAGE_SIZE; i++)
		if (p[i] != PAGE_POISON)
			return (long)i;
	return -1;
}

static void clear_block(struct page *page, unsigned order)
{
	char *p = page_address(page);

	for (unsigned long i = 0; i < 1ul << order; i++)
		hal_clear_page(p + (i << PAGE_SHIFT));
}

/* What is written into free pages, if anything. They are readable now. */
static void fill_free(struct page *page, unsigned order)
{
	/* A slab's objects were poisoned one by one. */
	hal_unpoison(page_address(page), PAGE_SIZE << order);
	if (slow(PAGE_SLOW_POISON))
		memset(page_address(page), PAGE_POISON, PAGE_SIZE << order);
	else if (slow(PAGE_SLOW_INIT_FREE))
		clear_block(page, order);
}

bool page_debug_alloc(struct page *page, unsigned order, gfp_t gfp, unsigned mt, uintptr_t ip,
		      bool *clear)
{
	ASSERT(order < MAX_ORDER);
	if (slow(PAGE_SLOW_INIT_FREE))
		*clear = false; /* it already is */
	else if (slow(PAGE_SLOW_INIT_ALLOC))
		*clear = true;
	for (unsigned long i = 0; i < 1ul << order; i++) {
		struct page *p = page + i;

		if (slow(PAGE_SLOW_CHECK) && i && !page_is_clean(p, 0)) {
			bad_page(p, "handed out while in use", 1ul << order);
			return false;
		}
		if (slow(PAGE_SLOW_POISON) && poison_broken(p) >= 0) {
			bad_page(p, "written to while it was free", 1ul << order);
			return false;
		}
	}
	if (owners)
		owner_alloc(page, order, gfp, mt, ip);
	trace_page_alloc(page_to_pfn(page).n, order, gfp, mt);
	return true;
}

bool page_debug_free(struct page *page, unsigned order, uintptr_t ip)
{
	ASSERT(order < MAX_ORDER);
	trace_page_free(page_to_pfn(page).n, order);
	if (slow(PAGE_SLOW_CHECK))
		for (unsigned long i = 1; i < 1ul << order; i++)
			if (!page_is_clean(page + i, page[i].flags & 1ul << PG_tail) ||
			    (page[i].mapping && !page_test(&page[i], PG_tail))) {
				bad_page(page + i, "freed while in use", 1ul << order);
				return false;
			}
	if (owners)
		owner_free(page, order, ip);
	fill_free(page, order);
	return true;
}

void page_debug_boot(struct page *page, unsigned order)
{
	ASSERT(order < MAX_ORDER);
	if (slow(PAGE_SLOW_POISON | PAGE_SLOW_INIT_FREE))
		fill_free(page, order);
}
