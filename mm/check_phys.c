/* SPDX-License-Identifier: MIT */
/*
 * The checker of the physical half: walks everything and compares it with what the counters claim.
 * Each check cites its number in docs/invariants.md. It takes the locks of what it looks at, one
 * at a time, and changes nothing; the machine should be quiet, or amounts that move between two
 * locks may seem to disagree.
 */
#include "lib/printf.h"
#include "mm/file_def.h"
#include "mm/os.h"
#include "mm/page_alloc.h"
#include "mm/slab_def.h"
#include "mm/vmalloc.h"
#include "mm/vmstat.h"

struct tally {
	long broken;
	uint64_t buddy, pcp, slab, cached, reserved;
};

/* Counts each breach, names the first ones. */
static void broken(struct tally *t, const char *inv, const char *what, uint64_t a, uint64_t b)
{
	char line[128];

	/* The first few tell what happened; thousands would bury them. */
	if (t->broken++ >= 16)
		return;
	scnprintf(line, sizeof(line), "check: %s broken: %s (%#llx, %#llx)", inv, what,
		  (unsigned long long)a, (unsigned long long)b);
	os_log(line);
}

/* I2, I3, I4: one free block; zone->lock held. */
static void check_block(struct tally *t, struct zone *z, struct page *p, unsigned order)
{
	uint64_t pfn = page_to_pfn(p).n;
	struct page *buddy;

	if (!page_test(p, PG_buddy) || p->private != order)
		broken(t, "I2", "a block on the wrong list", pfn, order);
	if (pfn & ((1ull << order) - 1) || page_zone(p) != z)
		broken(t, "I2", "a block unaligned or in another zone", pfn, order);
	for (uint64_t i = 0; i < 1ull << order; i++) {
		struct page *f = p + i;

		if (f->_refcount || f->_mapcount != -1 || (i && page_test(f, PG_buddy)))
			broken(t, "I3", "a frame of a free block is in use", pfn + i, order);
	}
	if (order < MAX_ORDER - 1) {
		buddy = pfn_to_page(PFN(pfn ^ (1ull << order)));
		if (page_test(buddy, PG_buddy) && buddy->private == order &&
		    page_zone(buddy) == z)
			broken(t, "I4", "two free halves not merged", pfn, order);
	}
}

/* I5: what lists hold and what counters claim. */
static void check_zone_buddy(struct tally *t, struct zone *z)
{
	unsigned long pages = 0;
	irqflags_t flags;

	spin_lock_irqsave(&z->lock, flags);
	for (unsigned o = 0; o < MAX_ORDER; o++) {
		unsigned long n = 0;

		for (unsigned mt = 0; mt < MIGRATE_TYPES; mt++) {
			struct page *p;

			list_for_each_entry(p, &z->free_area[o].free_list[mt], lru) {
				check_block(t, z, p, o);
				n++;
			}
		}
		if (n != z->free_area[o].nr_free)
			broken(t, "I5", "nr_free of an order", n, z->free_area[o].nr_free);
		pages += n << o;
	}
	if (pages != z->nr_free)
		broken(t, "I5", "free pages of a zone", pages, z->nr_free);
	spin_unlock_irqrestore(&z->lock, flags);
	t->buddy += pages;
}

/* I6. Other CPUs' lists are read as they are: the machine is quiet. */
static void check_zone_pcp(struct tally *t, struct zone *z)
{
	for (unsigned c = 0; c < hal_cpu_count(); c++)
		for (unsigned mt = 0; mt < MIGRATE_PCPTYPES; mt++) {
			struct per_cpu_pages *pcp = &z->pcp[c];

			if (pcp->count[mt] > PCP_CAPACITY) {
				broken(t, "I6", "per-CPU list too long", c, pcp->count[mt]);
				continue;
			}
			for (unsigned i = 0; i < pcp->count[mt]; i++) {
				struct page *p = pcp->pages[mt][i];

				if (!page_test(p, PG_pcp) || p->_refcount ||
				    page_zone(p) != z)
					broken(t, "I6", "a page on a per-CPU list is in use",
					       page_to_pfn(p).n, c);
			}
			t->pcp += pcp->count[mt];
		}
}

/* I1, I7: every frame is in exactly one state. */
static void check_frames(struct tally *t)
{
	uint64_t in_buddy = 0, in_pcp = 0, in_slab = 0;

	for (uint64_t pfn = 0; pfn < max_pfn; pfn++) {
		struct page *p;

		if (!pfn_valid(PFN(pfn))) {
			pfn |= SECTION_PAGES - 1;
			continue;
		}
		p = pfn_to_page(PFN(pfn));
		if (page_test(p, PG_buddy)) {
			in_buddy += 1ull << p->private;
			pfn += (1ull << p->private) - 1;
			continue;
		}
		if (page_test(p, PG_reserved)) {
			t->reserved++;
			if (page_test(p, PG_pcp) || page_test(p, PG_slab))
				broken(t, "I1", "a reserved frame in use", pfn, p->flags);
			continue;
		}
		in_pcp += page_test(p, PG_pcp);
		if (page_test(p, PG_slab))
			in_slab += 1ull << compound_order(p);
		if (p->_refcount < 0 || p->_mapcount < -1)
			broken(t, "I7", "a count below zero", pfn, p->_refcount);
		if (page_mapcount(p) > p->_refcount && !page_test(p, PG_slab))
			broken(t, "I7", "more mappings than references", pfn, p->_mapcount + 1);
		if (page_test(p, PG_tail) && !page_test(p->mapping, PG_head))
			broken(t, "I8", "a tail without its head", pfn, 0);
	}
	if (in_buddy != t->buddy)
		broken(t, "I1", "frames marked free, and on free lists", in_buddy, t->buddy);
	if (in_pcp != t->pcp)
		broken(t, "I6", "frames marked per-CPU, and on such lists", in_pcp, t->pcp);
	if (in_slab != t->slab)
		broken(t, "I11", "slab frames, and caches' pages", in_slab, t->slab);
}

/* I10 of every cache; their pages are summed up for I11. */
static void check_slabs(struct tally *t)
{
	struct kmem_cache *c;

	list_for_each_entry(c, &slab_caches, list) {
		long bad = slab_check(c);

		if (bad)
			broken(t, "I10", c->name, bad, c->nr_slabs);
		t->slab += c->nr_pages;
	}
}

/* I14, I15: one file's pages know where they belong. */
static void check_mapping(struct tally *t, struct address_space *m)
{
	unsigned long n = 0;
	struct page *page;
	uint64_t index;

	spin_lock(&m->i_lock);
	radix_for_each(&m->i_pages, page, index) {
		n++;
		if (page->mapping != m || page->index != index)
			broken(t, "I14", "a cached page elsewhere", page_to_pfn(page).n, index);
		if (page_count(page) < 1 + page_mapcount(page))
			broken(t, "I15", "a cached page with too few references",
			       page_to_pfn(page).n, page_count(page));
	}
	if (n != m->nrpages)
		broken(t, "I14", "nrpages", n, m->nrpages);
	spin_unlock(&m->i_lock);
	t->cached += n;
}

/* I14 over all files, and their sum against the global counter. */
static void check_files(struct tally *t)
{
	struct quire_inode *inode = NULL;

	while ((inode = inode_next(inode)) != NULL)
		check_mapping(t, &inode->i_mapping);
	if (t->cached != node_page_state(NR_FILE_PAGES))
		broken(t, "I14", "cached pages, and their counter", t->cached,
		       node_page_state(NR_FILE_PAGES));
}

/* I9. */
static void check_marks(struct tally *t, struct zone *z)
{
	if (z->managed_pages > z->present_pages || z->present_pages > z->spanned_pages)
		broken(t, "I9", "managed, present, spanned", z->managed_pages, z->present_pages);
	if (z->watermark[WMARK_MIN] > z->watermark[WMARK_LOW] ||
	    z->watermark[WMARK_LOW] > z->watermark[WMARK_HIGH])
		broken(t, "I9", "watermarks", z->watermark[WMARK_MIN], z->watermark[WMARK_LOW]);
	if (z->nr_free + nr_free_pcp(z) > z->managed_pages)
		broken(t, "I9", "more free than managed", z->nr_free, z->managed_pages);
}

/* I13: the shared page of zeros still is one. */
static void check_zero_page(struct tally *t)
{
	const uint64_t *p = page_address(zero_page);

	for (unsigned i = 0; i < PAGE_SIZE / 8; i++)
		if (p[i]) {
			broken(t, "I13", "the zero page was written to", i, p[i]);
			return;
		}
}

long check_phys(void)
{
	struct tally t = {0};
	struct zone *z;

	for_each_populated_zone(z) {
		check_marks(&t, z);
		check_zone_buddy(&t, z);
		check_zone_pcp(&t, z);
	}
	check_slabs(&t);
	check_frames(&t);
	check_files(&t);
	check_zero_page(&t);
	return t.broken + check_vmap_areas();
}
