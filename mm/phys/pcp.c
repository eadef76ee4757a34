/* SPDX-License-Identifier: MIT */
/*
 * Per-CPU page lists (pcp), off the fast path: refill, drain, batch sizes and limits. Each CPU has
 * for each zone, type and kept order a ring of free blocks, last in, first out. Only its own CPU
 * touches it, with interrupts off; there is no lock and no atomic. A batch moves to or from the
 * buddy under one hold of the zone's lock. The slow path, compaction and exact counts need every
 * page, so they drain the lists of all CPUs first.
 */
#include "lib/bits.h"
#include "mm/base/trace.h"
#include "mm/base/vmstat.h"
#include "mm/phys/buddy.h"
#include "mm/phys/page_alloc.h"
#include "mm/phys/page_debug.h"
#include <quire/os.h>

/* Single pages: one more than 5.10's batch, which is one less than a power of two, so that they are
 * whole words of the buddy's bits as a rule. Few of the larger orders are kept: half of what fits,
 * so that both ways are batched. */
static unsigned slot_batch(const struct zone *z, unsigned slot)
{
	ASSERT_DEBUG(slot < PCP_ORDERS);
	return slot ? (z->pcp_blocks[slot] + 1u) / 2 : z->pcp_batch + 1u;
}

bool pcp_refill(struct zone *z, struct per_cpu_pages *pcp, unsigned slot, unsigned mt,
		unsigned alloc_flags)
{
	struct pcp_list *l = &pcp->list[slot][mt];
	unsigned n;

	assert_irqs_off();
	ASSERT_DEBUG(pcp == &z->pcp[hal_cpu_id()]);
	ASSERT_DEBUG(!pcp_count(pcp, slot, mt));
	/* Empty, so the ring may begin anywhere: at its start no batch wraps. */
	__atomic_store_n(&l->tail, 0, __ATOMIC_RELAXED);
	spin_lock(&z->lock);
	n = rmqueue_bulk(z, slot_order(slot), slot_batch(z, slot), pcp_entry(pcp, slot, mt, 0), mt,
			 alloc_flags);
	spin_unlock(&z->lock);
	__atomic_store_n(&l->head, n, __ATOMIC_RELAXED);
	return n != 0;
}

/* Single pages in stretches that do not wrap. */
static void free_singles(struct zone *z, struct per_cpu_pages *pcp, unsigned mt, unsigned tail,
			 unsigned n)
{
	assert_held(&z->lock);
	while (n) {
		unsigned room = PCP_CAPACITY - (tail & (PCP_CAPACITY - 1)), k = min(n, room);
		struct page **pages = pcp_entry(pcp, 0, mt, tail);

		free_single_pages(z, pages, k);
		for (unsigned i = 0; unlikely(trace_pages_on) && i < k; i++)
			trace_page_pcpu_drain(page_to_pfn(pages[i]).n, 0, mt);
		tail += k;
		n -= k;
	}
}

static void free_blocks(struct zone *z, struct per_cpu_pages *pcp, unsigned slot, unsigned mt,
			unsigned tail, unsigned n)
{
	unsigned order = slot_order(slot);

	assert_held(&z->lock);
	ASSERT_DEBUG(slot);
	while (n--) {
		struct page *page = *pcp_entry(pcp, slot, mt, tail++);

		set_pcp_flag(page, false);
		if (unlikely(!__free_one_page(page, z, order, get_pageblock_migratetype(page))))
			bad_page(page, "on a per-CPU list and in the buddy", 0);
		trace_page_pcpu_drain(page_to_pfn(page).n, order, mt);
	}
}

void free_pcppages_bulk(struct zone *z, struct per_cpu_pages *pcp, unsigned slot, unsigned mt,
			unsigned n)
{
	unsigned tail = pcp->list[slot][mt].tail;

	assert_irqs_off();
	ASSERT_DEBUG(pcp == &z->pcp[hal_cpu_id()]);
	n = min(n, pcp_count(pcp, slot, mt));
	spin_lock(&z->lock);
	if (likely(!slot))
		free_singles(z, pcp, mt, tail, n);
	else
		free_blocks(z, pcp, slot, mt, tail, n);
	spin_unlock(&z->lock);
	__atomic_store_n(&pcp->list[slot][mt].tail, tail + n, __ATOMIC_RELAXED);
}

/* Everything this CPU keeps goes back, where it can merge. */
void drain_local_pages(void)
{
	irqflags_t flags = hal_irq_save();
	struct zone *z;

	free_late_pages();
	for_each_populated_zone(z) {
		struct per_cpu_pages *pcp = &z->pcp[hal_cpu_id()];

		for (unsigned s = 0; s < PCP_ORDERS; s++)
			for (unsigned mt = 0; mt < MIGRATE_PCPTYPES; mt++)
				if (pcp_count(pcp, s, mt))
					free_pcppages_bulk(z, pcp, s, mt, PCP_CAPACITY);
	}
	hal_irq_restore(flags);
}

static void drain_on_cpu(void *arg)
{
	drain_local_pages();
}

void drain_all_pages(void)
{
	unsigned n = hal_cpu_count();

	os_preempt(1); /* the others are those that this one is not */
	drain_local_pages();
	/* With interrupts off we may not wait for other CPUs: then their lists stay. */
	if (n > 1 && !hal_irqs_off())
		hal_ipi_call(n < 64 ? (1ull << n) - 1 : ~0ull, drain_on_cpu, NULL);
	os_preempt(-1);
}

unsigned long nr_free_pcp(const struct zone *z)
{
	unsigned long sum = 0;

	if (!z->pcp)
		return 0;
	for (unsigned c = 0; c < hal_cpu_count(); c++)
		for (unsigned s = 0; s < PCP_ORDERS; s++)
			for (unsigned mt = 0; mt < MIGRATE_PCPTYPES; mt++)
				sum += (unsigned long)pcp_count(&z->pcp[c], s, mt) << slot_order(s);
	for (unsigned i = 0; late_frees && i < hal_cpu_count() * LATE_FREES; i++) {
		struct page **slot = &late_frees[i / LATE_FREES].page[i % LATE_FREES];
		struct page *page = __atomic_load_n(slot, __ATOMIC_RELAXED);

		sum += page && page_zone(page) == z;
	}
	return sum;
}

/* What the fast paths of the lists moved, as part of an event's sum. */
static uint64_t pcp_events(unsigned item)
{
	uint64_t sum = 0;
	struct zone *z;

	for_each_populated_zone(z)
		for (unsigned c = 0; c < hal_cpu_count(); c++) {
			if (item == PGALLOC_DMA + z->idx)
				sum += __atomic_load_n(&z->pcp[c].allocs, __ATOMIC_RELAXED);
			else if (item == PGFREE)
				sum += __atomic_load_n(&z->pcp[c].frees, __ATOMIC_RELAXED);
		}
	return sum;
}

uint64_t sum_vm_event(enum vm_event_item e)
{
	return cpu_vm_events(e) + pcp_events(e);
}

/*
 * 5.10's zone_batchsize(): a thousandth of the zone, at most 1 MiB, a quarter of that, one less
 * than a power of two (an even batch aliases with cache colours); six batches at most. Of larger
 * orders so many that they tie up as much again, and huge pages only where one is nothing: a
 * 65,536th of the zone each.
 */
void zone_pcp_setup(struct zone *z)
{
	unsigned long batch = min(z->managed_pages / 1024, (1ul << 20) / PAGE_SIZE) / 4;

	ASSERT(z->pcp);
	batch = max(batch, 1ul);
	batch = (1ul << ilog2(batch + batch / 2)) - 1;
	batch = clamp(batch, 1ul, 63ul);
	z->pcp_batch = batch;
	z->pcp_high = 6 * batch;
	for (unsigned c = 0; c < hal_cpu_count(); c++)
		__atomic_store_n(&z->pcp[c].high, z->pcp_high, __ATOMIC_RELAXED);
	for (unsigned s = 1; s < PCP_ORDERS - 1; s++)
		z->pcp_blocks[s] = min(z->pcp_high >> (s + 2), PCP_BLOCKS);
	z->pcp_blocks[PCP_ORDERS - 1] = min(z->managed_pages >> 16, 4ul);
}
