/* SPDX-License-Identifier: MIT */
/*
 * quire_check() of physical memory (frames, buddy, per-CPU lists, slabs, page cache): walks
 * everything and compares it with what the counters claim. Each check cites its number in
 * docs/invariants.md. It takes the locks of what it looks at, one at a time, and changes nothing;
 * the machine should be quiet, or amounts that move between two locks may seem to disagree.
 */
#include "lib/printf.h"
#include "mm/base/vmstat.h"
#include "mm/lru/spaces.h"
#include "mm/object/file_def.h"
#include "mm/phys/buddy.h"
#include "mm/phys/page_alloc.h"
#include "mm/phys/page_debug.h"
#include "mm/report/check.h"
#include "mm/slab/slab_def.h"
#include "mm/swap/swap.h"
#include "mm/vmalloc/vmalloc.h"
#include <quire/os.h>

struct tally {
	long broken;
	uint64_t buddy, pcp, slab, cached, reserved, listed, batched;
	unsigned long in_spaces[MAX_NR_ZONES][NR_LRU_LISTS]; /* on lists of kinds, by flags */
	unsigned long of_kind[NR_KINDS], ring;
};

/* Counts each breach, names the first ones. */
static void broken(struct tally *t, const char *inv, const char *what, uint64_t a, uint64_t b)
{
	char line[128];

	ASSERT(inv);
	/* The first few tell what happened; thousands would bury them. */
	if (t->broken++ >= 16)
		return;
	scnprintf(line, sizeof(line), "check: %s broken: %s (%#llx, %#llx)", inv, what,
		  (unsigned long long)a, (unsigned long long)b);
	os_log(line);
}

/* I2: what one list links. Returns blocks; *linked: pageblocks. zone->lock held. */
static unsigned long check_list(struct tally *t, struct zone *z, unsigned order, unsigned mt,
				unsigned long *linked)
{
	const struct free_area *a = &z->free_area[order];
	unsigned long n = 0;
	struct list_head *at;

	assert_held(&z->lock);
	ASSERT(order < MAX_ORDER && mt < MIGRATE_TYPES);
	list_for_each(at, &a->free_list[mt]) {
		struct pageblock *b = link_block(at, order);

		if (!b->nr[order] || block_type(b) != mt)
			broken(t, "I2", "a pageblock on the wrong list", b->pfn, order);
		n += b->nr[order];
		++*linked;
	}
	if ((a->types >> mt & 1) != (n != 0))
		broken(t, "I5", "types of an order", order, a->types);
	return n;
}

/* I3: the frames that the bits call free. */
static void check_free_frames(struct tally *t, struct zone *z, struct pageblock *b)
{
	assert_held(&z->lock);
	for (unsigned i = 0; i < PAGEBLOCK_PAGES; i++) {
		const struct page *f = pfn_to_page(PFN(b->pfn + i));

		if (b->free[i / 64] >> (i & 63) & 1 && (!page_is_clean(f, 0) || page_zone(f) != z))
			broken(t, "I3", "a frame of a free block is in use", b->pfn + i, f->flags);
	}
}

/* I2, I4: counts against bits, which cannot tell of unmerged halves below a pageblock. */
static void check_block(struct tally *t, struct zone *z, struct pageblock *b,
			unsigned long linked[MAX_ORDER])
{
	const struct pageblock *n = b->pfn & PAGEBLOCK_PAGES ? b - 1 : b + 1;
	bool full = block_nr_free(b) == PAGEBLOCK_PAGES;
	unsigned whole = b->nr[PAGEBLOCK_ORDER] +
			 (b->pfn & PAGEBLOCK_PAGES ? b - 1 : b)->nr[MAX_ORDER - 1];

	assert_held(&z->lock);
	for (unsigned o = 0; o < PAGEBLOCK_ORDER; o++)
		if (b->nr[o] != block_count(b, o))
			broken(t, "I2", "blocks of a pageblock, and its bits", b->pfn, o);
	for (unsigned o = 0; o < MAX_ORDER; o++)
		linked[o] += b->nr[o] != 0;
	if (whole != full)
		broken(t, "I2", "a whole pageblock, and its bits", b->pfn, whole);
	if (b->nr[MAX_ORDER - 1] && (b->pfn & PAGEBLOCK_PAGES || block_type(n) != block_type(b)))
		broken(t, "I2", "the largest block, unaligned or of two types", b->pfn, 0);
	if (b->nr[PAGEBLOCK_ORDER] && n->nr[PAGEBLOCK_ORDER] &&
	    (block_type(b) == block_type(n) ||
	     (block_type(b) < MIGRATE_PCPTYPES && block_type(n) < MIGRATE_PCPTYPES)))
		broken(t, "I4", "two free halves not merged", b->pfn, PAGEBLOCK_ORDER);
	check_free_frames(t, z, b);
}

/* I2, I5: what bits, lists and counters claim. */
static void check_zone_buddy(struct tally *t, struct zone *z)
{
	unsigned long pages = 0, isolated = 0, on_lists[MAX_ORDER] = {0}, in_bits[MAX_ORDER] = {0};
	unsigned long listed = 0, highatomic = 0;
	irqflags_t flags;

	spin_lock_irqsave(&z->lock, flags);
	for (unsigned o = 0; o < MAX_ORDER; o++) {
		unsigned long n = 0;

		for (unsigned mt = 0; mt < MIGRATE_TYPES; mt++)
			n += check_list(t, z, o, mt, &on_lists[o]);
		if (n != z->free_area[o].nr_free)
			broken(t, "I5", "nr_free of an order", n, z->free_area[o].nr_free);
		listed += n << o;
	}
	for (uint64_t pfn = ALIGN_DOWN(z->zone_start_pfn, (uint64_t)PAGEBLOCK_PAGES);
	     pfn < z->zone_start_pfn + z->spanned_pages; pfn += PAGEBLOCK_PAGES) {
		struct pageblock *b;

		if (!pfn_valid(PFN(pfn)))
			continue;
		b = pfn_to_block(pfn);
		check_block(t, z, b, in_bits);
		pages += block_nr_free(b);
		isolated += block_type(b) == MIGRATE_ISOLATE ? block_nr_free(b) : 0;
		highatomic += block_type(b) == MIGRATE_HIGHATOMIC ? PAGEBLOCK_PAGES : 0;
	}
	for (unsigned o = 0; o < MAX_ORDER; o++)
		if (on_lists[o] != in_bits[o])
			broken(t, "I2", "pageblocks on lists of an order", on_lists[o], in_bits[o]);
	if (pages != listed || pages - isolated != z->nr_free)
		broken(t, "I5", "free pages of a zone", pages - isolated, z->nr_free);
	if (highatomic != z->nr_reserved_highatomic)
		broken(t, "I5", "pages set aside", highatomic, z->nr_reserved_highatomic);
	spin_unlock_irqrestore(&z->lock, flags);
	t->buddy += pages;
}

/* I6: one CPU's list of one order and type. */
static void check_pcp_list(struct tally *t, struct zone *z, struct per_cpu_pages *pcp,
			   unsigned slot, unsigned mt)
{
	unsigned n = pcp_count(pcp, slot, mt), tail = pcp->list[slot][mt].tail;

	ASSERT(slot < PCP_ORDERS && mt < MIGRATE_PCPTYPES);
	if (n > (slot ? PCP_BLOCKS : PCP_CAPACITY)) {
		broken(t, "I6", "per-CPU list too long", slot, n);
		return;
	}
	for (unsigned i = 0; i < n; i++) {
		struct page *p = *pcp_entry(pcp, slot, mt, tail + i);

		for (unsigned j = 0; j < 1u << slot_order(slot); j++)
			if (!page_is_clean(p + j, j ? 0 : 1ul << PG_pcp) || PageBuddy(p + j) ||
			    page_zone(p + j) != z)
				broken(t, "I6", "a page on a per-CPU list is in use",
				       page_to_pfn(p).n + j, p[j].flags);
	}
	t->pcp += n;
}

/* What waits to be freed has the reference that its owner dropped. */
static void check_late_frees(struct tally *t)
{
	for (unsigned i = 0; late_frees && i < hal_cpu_count() * LATE_FREES; i++) {
		struct page *p = late_frees[i / LATE_FREES].page[i % LATE_FREES];

		if (p && (page_count(p) < 1 || PageBuddy(p) || page_test(p, PG_pcp)))
			broken(t, "I6", "a page that waits to be freed is free", page_to_pfn(p).n,
			       p->flags);
	}
}

/* Other CPUs' lists are read as they are: the machine is quiet. */
static void check_zone_pcp(struct tally *t, struct zone *z)
{
	ASSERT(z->pcp);
	for (unsigned c = 0; c < hal_cpu_count(); c++)
		for (unsigned slot = 0; slot < PCP_ORDERS; slot++)
			for (unsigned mt = 0; mt < MIGRATE_PCPTYPES; mt++)
				check_pcp_list(t, z, &z->pcp[c], slot, mt);
}

/* I8. */
static bool is_tail_of(const struct page *p, const struct page *head)
{
	return head && p != head &&
	       (unsigned long)(p - head) < 1ul << compound_order(head);
}

/* I40: the pages of one list belong there, and its size is theirs. */
static void check_lru_list(struct tally *t, enum lru_list l)
{
	unsigned long nr[MAX_NR_ZONES] = {0};
	struct page *page;

	assert_held(&node_lruvec.lru_lock);
	list_for_each_entry(page, &node_lruvec.lists[l], lru) {
		nr[page_zonenum(page)]++;
		t->listed++;
		if ((page->flags & (PAGE_FLAGS_ON_LRU | 1ul << PG_inspace)) != 1ul << PG_lru ||
		    !page_test(page, PG_listed) || page_lru(page) != l)
			broken(t, "I40", "a page on the wrong list", page_to_pfn(page).n,
			       page->flags);
	}
	for (unsigned z = 0; z < MAX_NR_ZONES; z++)
		if (nr[z] + t->in_spaces[z][l] != lru_size[z][l])
			broken(t, "I40", "pages of a list, and its size", nr[z] + t->in_spaces[z][l],
			       lru_size[z][l]);
}

/* One page of a list of kinds. */
static void check_page_of_kind(struct tally *t, const struct page *page, const struct lru_space *sp,
			       enum page_kind kind)
{
	unsigned long f = page->flags;
	bool base = kind <= KIND_AGED;

	t->listed++;
	t->in_spaces[page_zonenum(page)][page_lru(page)]++;
	if ((f & (PAGE_FLAGS_ON_LRU | 1ul << PG_inspace)) != (1ul << PG_lru | 1ul << PG_inspace) ||
	    !(f >> PG_listed & 1) || page_kind(page) != kind || f >> PG_unevictable & 1)
		broken(t, "I43", "a page on the list of another kind", page_to_pfn(page).n, f);
	if ((sp && page_space(page) != sp) || base != (f >> PG_active & 1))
		broken(t, "I43", "a page on the list of another space", page_to_pfn(page).n, f);
}

static void check_space(struct tally *t, struct lru_space *sp)
{
	uint32_t all = 0;

	for (enum page_kind k = KIND_FILL; k <= NR_SPACE_KINDS; k++) {
		struct page *page;
		uint32_t n = 0;

		list_for_each_entry(page, space_list(sp, k), lru) {
			check_page_of_kind(t, page, sp, k);
			n++;
		}
		if (n != sp->count[k])
			broken(t, "I43", "pages of a kind of a space", sp->count[k], n);
	}
	for (enum page_kind k = KIND_FILL; k < NR_KINDS; k++) {
		all += sp->count[k];
		t->of_kind[k] += sp->count[k];
	}
	if (all != sp->all || (all && !sp->used))
		broken(t, "I43", "pages of a space", sp->all, all);
	if (list_empty(&sp->debtor) != !(sp->debt + sp->excess))
		broken(t, "I43", "who owes is not among the debtors", sp->number, sp->debt);
	t->ring += pages_of(sp) > 0;
}

/* I43: the lists of spaces. */
static void check_spaces(struct tally *t)
{
	unsigned long pages = 0, ring = 0;
	struct list_head *at;

	assert_held(&node_lruvec.lru_lock);
	for (unsigned i = 0; i < lru_spaces_known(); i++)
		check_space(t, lru_space_of(i));
	for (enum page_kind k = KIND_FILL; k < NR_KINDS; k++) {
		struct page *page;
		unsigned long n = 0;

		if (k > NR_SPACE_KINDS) {
			list_for_each_entry(page, space_list(NULL, k), lru) {
				check_page_of_kind(t, page, NULL, k);
				n++;
			}
			if (n != node_spaces.nr[k])
				broken(t, "I43", "pages on a list of the node", node_spaces.nr[k], n);
		}
		if (t->of_kind[k] != node_spaces.nr[k])
			broken(t, "I43", "pages of a kind", node_spaces.nr[k], t->of_kind[k]);
		pages += node_spaces.nr[k];
	}
	list_for_each(at, &node_spaces.ring)
		ring++;
	if (pages != node_spaces.pages || ring != t->ring || ring != node_spaces.nr_ring)
		broken(t, "I43", "spaces that have pages", node_spaces.nr_ring, ring);
}

/* I40: lists, and the batches of all CPUs. */
static void check_lists(struct tally *t)
{
	irqflags_t flags;

	spin_lock_irqsave(&node_lruvec.lru_lock, flags);
	check_spaces(t);
	for (unsigned l = 0; l < NR_LRU_LISTS; l++)
		check_lru_list(t, (enum lru_list)l);
	for (unsigned i = 0; i < hal_cpu_count() * LRU_BATCH; i++) {
		struct page *page = __atomic_load_n(lru_slot(i), __ATOMIC_ACQUIRE);

		if (!page)
			continue;
		t->batched++;
		if (page->slot != i || (page->flags & PAGE_FLAGS_ON_LRU) != 1ul << PG_batched)
			broken(t, "I40", "a page in a batch", page_to_pfn(page).n, page->flags);
	}
	spin_unlock_irqrestore(&node_lruvec.lru_lock, flags);
}

/* I1, I7: every frame is in exactly one state. */
static void check_frames(struct tally *t)
{
	uint64_t in_buddy = 0, in_pcp = 0, in_slab = 0, on_lists = 0, in_batches = 0;
	uint64_t mlocked = 0;

	for (uint64_t pfn = 0; pfn < max_pfn; pfn++) {
		struct page *p;

		if (!(pfn & (SECTION_PAGES - 1)) && !pfn_valid(PFN(pfn))) {
			pfn |= SECTION_PAGES - 1;
			continue;
		}
		/* Where 64 frames in a row are free there is nothing more to see. */
		if (!(pfn & 63) && !~pfn_to_block(pfn)->free[pfn / 64 & (PAGEBLOCK_WORDS - 1)]) {
			in_buddy += 64;
			pfn |= 63;
			continue;
		}
		p = pfn_to_page(PFN(pfn));
		if (PageBuddy(p)) {
			in_buddy++;
			continue;
		}
		if (page_test(p, PG_reserved)) {
			t->reserved++;
			if (page_test(p, PG_pcp) || page_test(p, PG_slab))
				broken(t, "I1", "a reserved frame in use", pfn, p->flags);
			continue;
		}
		in_pcp += page_test(p, PG_pcp);
		on_lists += page_test(p, PG_lru);
		in_batches += page_test(p, PG_batched);
		mlocked += page_test(p, PG_mlocked);
		if (page_test(p, PG_mlocked) ? !page_test(p, PG_unevictable)
					     : page_test(p, PG_unevictable) && !file_keeps(p))
			broken(t, "I40", "locked, and not in the list of those that stay", pfn,
			       p->flags);
		if (page_test(p, PG_slab))
			in_slab += 1ull << compound_order(p);
		if (p->_refcount < 0 || p->_mapcount < -1)
			broken(t, "I7", "a count below zero", pfn, p->_refcount);
		if (page_mapcount(p) > p->_refcount)
			broken(t, "I7", "more mappings than references", pfn, p->_mapcount + 1);
		if (page_test(p, PG_tail) && !is_tail_of(p, p->mapping))
			broken(t, "I8", "a tail without its head", pfn, 0);
	}
	if (in_buddy != t->buddy)
		broken(t, "I1", "frames marked free, and on free lists", in_buddy, t->buddy);
	if (in_pcp != t->pcp)
		broken(t, "I6", "blocks marked per-CPU, and on such lists", in_pcp, t->pcp);
	if (mlocked != node_page_state(NR_MLOCK))
		broken(t, "I40", "locked pages, and their counter", mlocked,
		       node_page_state(NR_MLOCK));
	if (on_lists != t->listed || in_batches != t->batched)
		broken(t, "I40", "pages marked as listed or in a batch, and those that are",
		       on_lists + in_batches, t->listed + t->batched);
	if (in_slab != t->slab)
		broken(t, "I11", "slab frames, and caches' pages", in_slab, t->slab);
}

/* I10 of every cache; their pages are summed up for I11. */
static void check_slabs(struct tally *t)
{
	struct kmem_cache *c;

	mutex_lock(&slab_mutex);
	list_for_each_entry(c, cache_list(), list) {
		long bad = slab_check(c);

		if (bad)
			broken(t, "I10", c->name, bad, c->nr_slabs);
		t->slab += c->nr_pages;
	}
	mutex_unlock(&slab_mutex);
}

/* I14, I15: one file's pages know where they belong. */
static void check_mapping(struct tally *t, struct address_space *m)
{
	unsigned long n = 0, shadows = 0;
	struct page *page;
	uint64_t index;

	spin_lock(&m->i_lock);
	radix_for_each(locked_pages(m), page, index) {
		if (radix_is_value(page)) {
			shadows++;
			continue;
		}
		n++;
		if (page->mapping != m || page->index != index)
			broken(t, "I14", "a cached page elsewhere", page_to_pfn(page).n, index);
		if (page_count(page) < 1 + page_mapcount(page))
			broken(t, "I15", "a cached page with too few references",
			       page_to_pfn(page).n, page_count(page));
	}
	if (!mapping_shmem(m) && locked_pages(m)->nr_value_nodes != m->nr_shadow_nodes)
		broken(t, "I14", "nodes of a file with shadows alone", locked_pages(m)->nr_value_nodes,
		       m->nr_shadow_nodes);
	if (shadows != (mapping_shmem(m) ? m->nr_swapped : m->nr_shadows))
		broken(t, "I14", "slots of a file without a page", shadows,
		       mapping_shmem(m) ? m->nr_swapped : m->nr_shadows);
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
	if (t->cached + total_swapcache_pages() != node_page_state(NR_FILE_PAGES))
		broken(t, "I14", "cached pages, and their counter", t->cached,
		       node_page_state(NR_FILE_PAGES));
}

/* I9. */
static void check_marks(struct tally *t, struct zone *z)
{
	ASSERT(populated_zone(z));
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

	ASSERT(zero_page);
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

	might_sleep();
	for_each_populated_zone(z) {
		check_marks(&t, z);
		check_zone_buddy(&t, z);
		check_zone_pcp(&t, z);
	}
	check_late_frees(&t);
	check_slabs(&t);
	check_lists(&t);
	check_frames(&t);
	check_files(&t);
	check_zero_page(&t);
	return t.broken + check_vmap_areas() + check_swap();
}
