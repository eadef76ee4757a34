/* SPDX-License-Identifier: MIT */
/*
 * The checker of memory is checked: bits, counts, lists, flags and marks are broken by hand, each is
 * told of by its number and its name, and mended again.
 */
#include "breaking.h"
#include "space.h"

#include "mm/base/vmstat.h"
#include "mm/object/file_def.h"
#include "mm/phys/buddy.h"
#include "mm/slab/slab_def.h"

static long phys_told(void)
{
	forget_told();
	return check_phys();
}

#define BROKEN(text, do_it, undo_it) BREAK(phys_told(), "check: " text " (", do_it, undo_it)
#define SWAPPED(text, place, value)  SWAP(phys_told(), "check: " text " (", place, value)

static struct zone *const z = &zones[ZONE_DMA32];

/* RAM that ends in the middle of a section; free blocks of every order, and pages on lists. */
static void pages_up(void)
{
	struct page *p;

	machine_up(64 * MIB * (PS / 4096) + 4 * MIB, 2);
	for (unsigned o = 0; o < MAX_ORDER; o++) {
		p = alloc_pages(GFP_HIGHUSER_MOVABLE, o);
		cr_assert(p);
		__free_pages(p, o);
	}
	cr_assert_eq(phys_told(), 0, "%s", told);
}

static uint8_t *type_of(const struct pageblock *b)
{
	return &pageblock_types[b->pfn >> PAGEBLOCK_ORDER];
}

/* The first free block of an order, of the common type. */
static struct pageblock *loose(unsigned order)
{
	struct pageblock *b = ZONE_LOCKED(z, first_block(z, order, MIGRATE_MOVABLE));

	cr_assert(b, "order %u", order);
	return b;
}

/* A whole free pageblock and its neighbour, one block. */
static struct pageblock *pair(void)
{
	struct pageblock *b = loose(MAX_ORDER - 1);

	cr_assert(!(b->pfn & PAGEBLOCK_PAGES) && b->nr[MAX_ORDER - 1] == 1);
	return b;
}

/* An order of which a pageblock that is not whole has a free block. */
static struct pageblock *part(unsigned *order)
{
	*order = 0;
	while (*order < PAGEBLOCK_ORDER - 1 && !ZONE_LOCKED(z, first_block(z, *order, MIGRATE_MOVABLE)))
		++*order;
	return loose(*order);
}

Test(check_phys, lists_of_pageblocks)
{
	struct list_head *link, *head;
	struct free_area *a;
	struct pageblock *b;
	unsigned o;

	pages_up();
	b = part(&o);
	a = &z->free_area[o];
	link = block_link(b, o);
	head = &a->free_list[MIGRATE_MOVABLE];
	SWAPPED("I2 broken: a pageblock on the wrong list", *type_of(b), MIGRATE_UNMOVABLE);
	SWAPPED("I2 broken: a pageblock on the wrong list", b->nr[o], 0);
	SWAPPED("I2 broken: blocks of a pageblock, and its bits", b->nr[o], b->nr[o] + 1);
	BROKEN("I2 broken: pageblocks on lists of an order", list_del(link), list_add(link, head));
	BROKEN("I2 broken: a pageblock on the wrong list",
	       (list_del(link), list_add(link, &a->free_list[MIGRATE_UNMOVABLE])),
	       (list_del(link), list_add(link, head)));
	SWAPPED("I5 broken: types of an order", a->types, a->types ^ 1u << MIGRATE_MOVABLE);
	SWAPPED("I5 broken: types of an order", a->types, a->types ^ 1u << MIGRATE_ISOLATE);
	SWAPPED("I5 broken: nr_free of an order", a->nr_free, a->nr_free + 1);
	SWAPPED("I5 broken: free pages of a zone", z->nr_free, z->nr_free - 1);
	SWAPPED("I5 broken: pages set aside", z->nr_reserved_highatomic, PAGEBLOCK_PAGES);
	/* All that is free in it is on another type's lists, and that type is not for use. */
	SWAPPED("I5 broken: free pages of a zone", *type_of(b), MIGRATE_ISOLATE);
	SWAPPED("I5 broken: pages set aside", *type_of(b), MIGRATE_HIGHATOMIC);
	machine_down();
}

Test(check_phys, bits_of_free_frames)
{
	struct pageblock *b;
	struct page *f;
	unsigned o, i = 0;

	pages_up();
	b = part(&o);
	while (!(b->free[i / 64] >> (i & 63) & 1))
		i++;
	f = pfn_to_page(PFN(b->pfn + i));
	SWAPPED("I2 broken: blocks of a pageblock, and its bits", b->free[i / 64],
		b->free[i / 64] ^ 1ull << (i & 63));
	SWAPPED("I5 broken: free pages of a zone", b->free[i / 64],
		b->free[i / 64] ^ 1ull << (i & 63));
	/* The lists and the bits, even if the sum agrees. */
	BROKEN("I5 broken: free pages of a zone", (b->free[i / 64] ^= 1ull << (i & 63), z->nr_free--),
	       (b->free[i / 64] ^= 1ull << (i & 63), z->nr_free++));
	SWAPPED("I3 broken: a frame of a free block is in use", f->_refcount, 1);
	SWAPPED("I3 broken: a frame of a free block is in use", f->_mapcount, 0);
	SWAPPED("I3 broken: a frame of a free block is in use", f->flags, f->flags | 1ul << PG_dirty);
	SWAPPED("I3 broken: a frame of a free block is in use", f->flags, f->flags ^ 3ul << PG_zone0);
	machine_down();
}

/* A section with a hole in it, of which no zone knows. */
Test(check_phys, bits_where_no_zone_is)
{
	static const struct mem_range r[] = {{0, 4 * MIB, MEM_RAM, "low"},
					     {32 * MIB, 96 * MIB, MEM_RAM, "high"}};
	struct pageblock *b;

	machine_up_cfg(&(struct fake_config){.ranges = r, .nranges = ARRAY_SIZE(r)}, NULL);
	b = pfn_to_block(8 * MIB >> PAGE_SHIFT);
	SWAPPED("I1 broken: frames marked free, and on free lists", b->free[0], 1);
	SWAPPED("I1 broken: frames marked free, and on free lists", b->free[0], ~0ull);
	machine_down();
}

Test(check_phys, whole_pageblocks)
{
	struct pageblock *b;

	pages_up();
	b = pair();
	SWAPPED("I2 broken: a whole pageblock, and its bits", b->free[3], 0);
	SWAPPED("I2 broken: a whole pageblock, and its bits", b[1].free[3], 0);
	SWAPPED("I2 broken: a whole pageblock, and its bits", b[1].nr[PAGEBLOCK_ORDER], 1);
	SWAPPED("I2 broken: the largest block, unaligned or of two types", *type_of(b + 1),
		MIGRATE_UNMOVABLE);
	SWAPPED("I2 broken: the largest block, unaligned or of two types", b[1].nr[MAX_ORDER - 1], 1);
	/* Halves on the list of halves: of one type, of two that may mix, of two that must not. */
	BROKEN("I4 broken: two free halves not merged",
	       (b->nr[MAX_ORDER - 1] = 0, b->nr[PAGEBLOCK_ORDER] = b[1].nr[PAGEBLOCK_ORDER] = 1),
	       (b->nr[MAX_ORDER - 1] = 1, b->nr[PAGEBLOCK_ORDER] = b[1].nr[PAGEBLOCK_ORDER] = 0));
	BROKEN("I4 broken: two free halves not merged",
	       (b->nr[MAX_ORDER - 1] = 0, b->nr[PAGEBLOCK_ORDER] = b[1].nr[PAGEBLOCK_ORDER] = 1,
		*type_of(b) = MIGRATE_UNMOVABLE),
	       (b->nr[MAX_ORDER - 1] = 1, b->nr[PAGEBLOCK_ORDER] = b[1].nr[PAGEBLOCK_ORDER] = 0,
		*type_of(b) = MIGRATE_MOVABLE));
	for (unsigned i = 0; i < 2; i++) {
		cr_assert_eq(set_migratetype_isolate(pfn_to_page(PFN(b[i].pfn))), 0);
		cr_expect_eq(b[i].nr[PAGEBLOCK_ORDER], 1);
		cr_expect_eq(phys_told(), 0, "%s", told);
		unset_migratetype_isolate(pfn_to_page(PFN(b[i].pfn)), MIGRATE_MOVABLE);
		cr_expect_eq(b->nr[MAX_ORDER - 1], 1);
	}
	/* Both isolated are alike, too. */
	for (unsigned i = 0; i < 2; i++)
		cr_assert_eq(set_migratetype_isolate(pfn_to_page(PFN(b[i].pfn))), 0);
	cr_expect_eq(phys_told(), 0, "%s", told);
	BROKEN("I4 broken: two free halves not merged",
	       (b->nr[MAX_ORDER - 1] = 0, b->nr[PAGEBLOCK_ORDER] = b[1].nr[PAGEBLOCK_ORDER] = 1),
	       (b->nr[MAX_ORDER - 1] = 1, b->nr[PAGEBLOCK_ORDER] = b[1].nr[PAGEBLOCK_ORDER] = 0));
	for (unsigned i = 0; i < 2; i++)
		unset_migratetype_isolate(pfn_to_page(PFN(b[i].pfn)), MIGRATE_MOVABLE);
	machine_down();
}

Test(check_phys, per_cpu_lists)
{
	struct per_cpu_pages *pcp;
	irqflags_t flags;
	struct page *p, **at;

	/* So large that free pageblocks are kept, too. */
	machine_up(512 * MIB * (PS / 4096), 2);
	for (unsigned slot = 0; slot < PCP_ORDERS; slot++) {
		unsigned o = slot_order(slot);
		struct pcp_list *l;

		p = alloc_pages(GFP_HIGHUSER_MOVABLE, o);
		__free_pages(p, o);
		cr_assert(page_test(p, PG_pcp));
		pcp = &page_zone(p)->pcp[0];
		l = &pcp->list[slot][MIGRATE_MOVABLE];
		at = pcp_entry(pcp, slot, MIGRATE_MOVABLE, l->head - 1);
		cr_assert_eq(*at, p);
		SWAPPED("I6 broken: per-CPU list too long", l->head,
			l->tail + (slot ? PCP_BLOCKS : PCP_CAPACITY) + 1);
		SWAPPED("I6 broken: blocks marked per-CPU, and on such lists", l->head, l->head - 1);
		for (unsigned j = 0; j < 1u << o; j += 1 + j) {
			uint64_t pfn = page_to_pfn(p).n + j;
			uint64_t *word = &pfn_to_block(pfn)->free[pfn / 64 & (PAGEBLOCK_WORDS - 1)];

			SWAPPED("I6 broken: a page on a per-CPU list is in use", p[j]._refcount, 1);
			SWAPPED("I6 broken: a page on a per-CPU list is in use", p[j].flags,
				p[j].flags ^ 1ul << PG_pcp);
			SWAPPED("I6 broken: a page on a per-CPU list is in use", p[j].flags,
				p[j].flags ^ 1ul << PG_zone0);
			SWAPPED("I6 broken: a page on a per-CPU list is in use", *word,
				*word ^ 1ull << (pfn & 63));
		}
	}
	/* One page on the lists of two CPUs. */
	p = alloc_pages(GFP_HIGHUSER_MOVABLE, 0);
	__free_pages(p, 0);
	pcp = &page_zone(p)->pcp[1];
	flags = hal_irq_save();
	BROKEN("I6 broken: blocks marked per-CPU, and on such lists",
	       pcp_push(pcp, 0, MIGRATE_MOVABLE, p), pcp_pop(pcp, 0, MIGRATE_MOVABLE));
	hal_irq_restore(flags);
	machine_down();
}

Test(check_phys, pages_that_wait_to_be_freed)
{
	struct page *p = NULL, *q;
	uint64_t pfn, *word;

	machine_up_cfg(&(struct fake_config){.ram = 64 * MIB * (PS / 4096)},
		       &(struct quire_config){.params = "late_free=1"});
	q = alloc_pages(GFP_KERNEL, 0);
	__free_pages(q, 0);
	for (unsigned i = 0; i < LATE_FREES && !p; i++)
		p = late_frees[0].page[i];
	cr_assert_eq(p, q);
	pfn = page_to_pfn(p).n;
	word = &pfn_to_block(pfn)->free[pfn / 64 & (PAGEBLOCK_WORDS - 1)];
	SWAPPED("I6 broken: a page that waits to be freed is free", p->_refcount, 0);
	SWAPPED("I6 broken: a page that waits to be freed is free", p->flags,
		p->flags | 1ul << PG_pcp);
	SWAPPED("I6 broken: a page that waits to be freed is free", *word, *word | 1ull << (pfn & 63));
	machine_down();
}

Test(check_phys, frames_in_one_state)
{
	struct page *p, *b;
	struct kmem_cache *c;
	void *o;

	pages_up();
	p = alloc_pages(GFP_KERNEL, 0);
	BROKEN("I6 broken: blocks marked per-CPU, and on such lists", page_set(p, PG_pcp),
	       page_clear(p, PG_pcp));
	BROKEN("I11 broken: slab frames, and caches' pages", page_set(p, PG_slab),
	       page_clear(p, PG_slab));
	SWAPPED("I7 broken: a count below zero", p->_refcount, -1);
	SWAPPED("I7 broken: a count below zero", p->_mapcount, -2);
	SWAPPED("I7 broken: more mappings than references", p->_mapcount, 1);
	BROKEN("I1 broken: a reserved frame in use", page_set(zero_page, PG_pcp),
	       page_clear(zero_page, PG_pcp));
	BROKEN("I1 broken: a reserved frame in use", page_set(zero_page, PG_slab),
	       page_clear(zero_page, PG_slab));
	__free_pages(p, 0);
	/* A block and its later pages. */
	b = alloc_pages(GFP_KERNEL | __GFP_COMP, 2);
	SWAPPED("I8 broken: a tail without its head", b[3].mapping, NULL);
	SWAPPED("I8 broken: a tail without its head", b[3].mapping, b + 1);
	SWAPPED("I8 broken: a tail without its head", b[3].mapping, b + 3);
	BROKEN("I8 broken: a tail without its head", page_clear(b, PG_head), page_set(b, PG_head));
	SWAPPED("I8 broken: a tail without its head", b->private, 1);
	/* A head it is, but of what comes later. */
	p = alloc_pages(GFP_KERNEL | __GFP_COMP, 2);
	SWAPPED("I8 broken: a tail without its head", min(b, p)[3].mapping, max(b, p));
	__free_pages(p, 2);
	__free_pages(b, 2);
	o = kmalloc(100, GFP_KERNEL);
	b = compound_head(virt_to_page(o));
	c = b->mapping;
	SWAPPED("I11 broken: slab frames, and caches' pages", c->nr_pages, c->nr_pages + 1);
	SWAPPED("I11 broken: slab frames, and caches' pages", b->flags, b->flags ^ 1ul << PG_slab);
	BREAK(phys_told(), "check: I10 broken: kmalloc-", c->nr_free++, c->nr_free--);
	kfree(o);
	machine_down();
}

Test(check_phys, marks_and_sums)
{
	pages_up();
	SWAPPED("I9 broken: managed, present, spanned", z->managed_pages, z->present_pages + 1);
	SWAPPED("I9 broken: managed, present, spanned", z->present_pages, z->spanned_pages + 1);
	SWAPPED("I9 broken: watermarks", z->watermark[WMARK_MIN], z->watermark[WMARK_LOW] + 1);
	SWAPPED("I9 broken: watermarks", z->watermark[WMARK_HIGH], z->watermark[WMARK_LOW] - 1);
	SWAPPED("I9 broken: more free than managed", z->managed_pages, z->nr_free - 1);
	for (unsigned i = 0; i < PS; i += PS - 1)
		SWAPPED("I13 broken: the zero page was written to",
			((char *)page_address(zero_page))[i], 1);
	machine_down();
}

Test(check_phys, pages_of_files)
{
	struct address_space *m;
	struct quire_file *f;
	struct page *page;

	space_up();
	f = file_new(8, FRW);
	mmap_file(AT(0), 8, RW, MAP_SHARED | FIX, f, 0);
	load_at(AT(2));
	page = pfn_to_page(PFN(pfn_at(AT(2))));
	m = page->mapping;
	cr_assert_eq(phys_told(), 0, "%s", told);
	SWAPPED("I14 broken: a cached page elsewhere", page->mapping, m + 1);
	SWAPPED("I14 broken: a cached page elsewhere", page->index, 3);
	SWAPPED("I15 broken: a cached page with too few references", page->_refcount,
		page_mapcount(page));
	SWAPPED("I14 broken: nrpages", m->nrpages, m->nrpages + 1);
	BROKEN("I14 broken: cached pages, and their counter", mod_node_page_state(NR_FILE_PAGES, 1),
	       mod_node_page_state(NR_FILE_PAGES, -1));
	quire_file_put(f);
	space_down();
}

/* Thousands would bury what happened: the first sixteen are told, all are counted. */
Test(check_phys, not_all_is_told)
{
	struct pageblock *b;

	pages_up();
	b = pair();
	for (unsigned i = 0; i < 20; i++)
		pfn_to_page(PFN(b->pfn + i))->_refcount = 1;
	cr_expect_eq(phys_told(), 20);
	cr_expect_eq(lines, 16, "%u", lines);
	for (unsigned i = 0; i < 20; i++)
		pfn_to_page(PFN(b->pfn + i))->_refcount = 0;
	machine_down();
}
