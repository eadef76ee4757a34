/* SPDX-License-Identifier: MIT */
/*
 * Machine-wide memory reports in the formats of Linux 5.10's /proc: meminfo, vmstat, buddyinfo,
 * pagetypeinfo, zoneinfo (slabinfo is in slab_info.c). Numbers of things that do not exist here are
 * 0, so that programs that parse these files find every line they look for.
 */
#include "lib/printf.h"
#include "lib/string.h"
#include "mm/base/trace.h"
#include "mm/base/vmstat.h"
#include "mm/lru/lru.h"
#include "mm/migrate/compaction.h"
#include "mm/object/writeback.h"
#include "mm/phys/buddy.h"
#include "mm/phys/commit.h"
#include "mm/phys/page_alloc.h"
#include "mm/reclaim/vmscan.h"
#include "mm/slab/slab_def.h"
#include "mm/swap/swap.h"
#include "mm/vmalloc/vmalloc.h"
#include <quire/abi.h>

static unsigned long kb(unsigned long pages)
{
	return pages << (PAGE_SHIFT - 10);
}

/* ---- meminfo --------------------------------------------------------------------------------- */

/* The label fills sixteen columns, colon included, as programs expect. */
static void mem_line(quire_emit_fn emit, void *ctx, const char *name, unsigned long kilobytes)
{
	char label[24];

	ASSERT(name);
	scnprintf(label, sizeof(label), "%s:", name);
	emitf(emit, ctx, "%-16s%8lu kB\n", label, kilobytes);
}

static unsigned long item_kb(enum node_stat_item i)
{
	return kb(node_page_state(i));
}

static void show_mem_lru(quire_emit_fn emit, void *ctx)
{
	static const struct {
		const char *name;
		enum node_stat_item item;
	} lines[] = {
		{"Active(anon)", NR_ACTIVE_ANON},     {"Inactive(anon)", NR_INACTIVE_ANON},
		{"Active(file)", NR_ACTIVE_FILE},     {"Inactive(file)", NR_INACTIVE_FILE},
		{"Unevictable", NR_UNEVICTABLE},      {"Mlocked", NR_MLOCK},
	};

	mem_line(emit, ctx, "Active", item_kb(NR_ACTIVE_ANON) + item_kb(NR_ACTIVE_FILE));
	mem_line(emit, ctx, "Inactive", item_kb(NR_INACTIVE_ANON) + item_kb(NR_INACTIVE_FILE));
	for (unsigned i = 0; i < ARRAY_SIZE(lines); i++)
		mem_line(emit, ctx, lines[i].name, item_kb(lines[i].item));
}

static void show_mem_kernel(quire_emit_fn emit, void *ctx)
{
	unsigned long rec = item_kb(NR_SLAB_RECLAIMABLE), un = item_kb(NR_SLAB_UNRECLAIMABLE);

	mem_line(emit, ctx, "KReclaimable", rec);
	mem_line(emit, ctx, "Slab", rec + un);
	mem_line(emit, ctx, "SReclaimable", rec);
	mem_line(emit, ctx, "SUnreclaim", un);
	mem_line(emit, ctx, "KernelStack", node_page_state(NR_KERNEL_STACK_KB));
	mem_line(emit, ctx, "PageTables", item_kb(NR_PAGETABLE));
	mem_line(emit, ctx, "NFS_Unstable", 0);
	mem_line(emit, ctx, "Bounce", 0);
	mem_line(emit, ctx, "WritebackTmp", 0);
}

static void show_mem_huge(quire_emit_fn emit, void *ctx)
{
	static const char *const zero_kb[] = {"Percpu", "AnonHugePages", "ShmemHugePages",
					      "ShmemPmdMapped", "FileHugePages", "FilePmdMapped"};
	static const char *const zero_n[] = {"HugePages_Total", "HugePages_Free",
					     "HugePages_Rsvd", "HugePages_Surp"};

	for (unsigned i = 0; i < ARRAY_SIZE(zero_kb); i++)
		mem_line(emit, ctx, zero_kb[i], 0);
	for (unsigned i = 0; i < ARRAY_SIZE(zero_n); i++)
		emitf(emit, ctx, "%s:%*lu\n", zero_n[i], (int)(23 - strlen(zero_n[i])), 0ul);
	mem_line(emit, ctx, "Hugepagesize", kb(PAGEBLOCK_PAGES));
	mem_line(emit, ctx, "Hugetlb", 0);
}

void quire_show_meminfo(quire_emit_fn emit, void *ctx)
{
	const struct kernel_layout *l = hal_kernel_layout();
	long committed = vm_memory_committed();

	mem_line(emit, ctx, "MemTotal", kb(totalram_pages()));
	mem_line(emit, ctx, "MemFree", kb(nr_free_buddy()));
	mem_line(emit, ctx, "MemAvailable", kb(si_mem_available()));
	mem_line(emit, ctx, "Buffers", 0);
	mem_line(emit, ctx, "Cached", item_kb(NR_FILE_PAGES) - min(item_kb(NR_FILE_PAGES), kb(total_swapcache_pages())));
	mem_line(emit, ctx, "SwapCached", kb(total_swapcache_pages()));
	show_mem_lru(emit, ctx);
	mem_line(emit, ctx, "SwapTotal", kb(total_swap_pages()));
	mem_line(emit, ctx, "SwapFree", kb(max(get_nr_swap_pages(), 0l)));
	mem_line(emit, ctx, "Dirty", item_kb(NR_FILE_DIRTY));
	mem_line(emit, ctx, "Writeback", item_kb(NR_WRITEBACK));
	mem_line(emit, ctx, "AnonPages", item_kb(NR_ANON_MAPPED));
	mem_line(emit, ctx, "Mapped", item_kb(NR_FILE_MAPPED));
	mem_line(emit, ctx, "Shmem", item_kb(NR_SHMEM));
	show_mem_kernel(emit, ctx);
	mem_line(emit, ctx, "CommitLimit", kb(vm_commit_limit()));
	mem_line(emit, ctx, "Committed_AS", kb(committed > 0 ? committed : 0));
	emitf(emit, ctx, "VmallocTotal:   %8lu kB\n",
	      (unsigned long)(l->vmalloc_end - l->vmalloc_base) >> 10);
	mem_line(emit, ctx, "VmallocUsed", kb(vmalloc_nr_pages()));
	mem_line(emit, ctx, "VmallocChunk", 0);
	show_mem_huge(emit, ctx);
}

/* ---- vmstat ---------------------------------------------------------------------------------- */

#define ZONE_STATS 17 /* of the table's lines are a zone's, the others the node's */

/* 5.10's names in its order; item: what is counted here, or -1: always 0. */
static const struct {
	const char *name;
	int item;
} stat_names[] = {
	{"nr_zone_inactive_anon", NR_INACTIVE_ANON},
	{"nr_zone_active_anon", NR_ACTIVE_ANON},
	{"nr_zone_inactive_file", NR_INACTIVE_FILE},
	{"nr_zone_active_file", NR_ACTIVE_FILE},
	{"nr_zone_unevictable", NR_UNEVICTABLE},
	{"nr_zone_write_pending", -1},
	{"nr_mlock", NR_MLOCK},
	{"nr_page_table_pages", NR_PAGETABLE},
	{"nr_bounce", -1},
	{"nr_zspages", -1},
	{"nr_free_cma", -1},
	{"numa_hit", -1},
	{"numa_miss", -1},
	{"numa_foreign", -1},
	{"numa_interleave", -1},
	{"numa_local", -1},
	{"numa_other", -1},
	{"nr_inactive_anon", NR_INACTIVE_ANON},
	{"nr_active_anon", NR_ACTIVE_ANON},
	{"nr_inactive_file", NR_INACTIVE_FILE},
	{"nr_active_file", NR_ACTIVE_FILE},
	{"nr_unevictable", NR_UNEVICTABLE},
	{"nr_slab_reclaimable", NR_SLAB_RECLAIMABLE},
	{"nr_slab_unreclaimable", NR_SLAB_UNRECLAIMABLE},
	{"nr_isolated_anon", NR_ISOLATED_ANON},
	{"nr_isolated_file", NR_ISOLATED_FILE},
	{"workingset_nodes", WORKINGSET_NODES},
	{"workingset_refault_anon", WORKINGSET_REFAULT_ANON},
	{"workingset_refault_file", WORKINGSET_REFAULT_FILE},
	{"workingset_activate_anon", WORKINGSET_ACTIVATE_ANON},
	{"workingset_activate_file", WORKINGSET_ACTIVATE_FILE},
	{"workingset_restore_anon", WORKINGSET_RESTORE_ANON},
	{"workingset_restore_file", WORKINGSET_RESTORE_FILE},
	{"workingset_nodereclaim", WORKINGSET_NODERECLAIM},
	{"nr_anon_pages", NR_ANON_MAPPED},
	{"nr_mapped", NR_FILE_MAPPED},
	{"nr_file_pages", NR_FILE_PAGES},
	{"nr_dirty", NR_FILE_DIRTY},
	{"nr_writeback", NR_WRITEBACK},
	{"nr_writeback_temp", -1},
	{"nr_shmem", NR_SHMEM},
	{"nr_shmem_hugepages", -1},
	{"nr_shmem_pmdmapped", -1},
	{"nr_file_hugepages", -1},
	{"nr_file_pmdmapped", -1},
	{"nr_anon_transparent_hugepages", -1},
	{"nr_vmscan_write", -1},
	{"nr_vmscan_immediate_reclaim", -1},
	{"nr_dirtied", NR_DIRTIED},
	{"nr_written", NR_WRITTEN},
	{"nr_kernel_misc_reclaimable", -1},
	{"nr_foll_pin_acquired", NR_FOLL_PIN_ACQUIRED},
	{"nr_foll_pin_released", NR_FOLL_PIN_RELEASED},
	{"nr_kernel_stack", NR_KERNEL_STACK_KB},
};

/* Events, in the same way; balloons are left out. */
static const struct {
	const char *name;
	int event;
} event_names[] = {
	{"pgpgin", PGPGIN},
	{"pgpgout", PGPGOUT},
	{"pswpin", PSWPIN},
	{"pswpout", PSWPOUT},
	{"pgalloc_dma", PGALLOC_DMA},
	{"pgalloc_dma32", PGALLOC_DMA32},
	{"pgalloc_normal", PGALLOC_NORMAL},
	{"pgalloc_movable", PGALLOC_MOVABLE},
	{"allocstall_dma", ALLOCSTALL_DMA},
	{"allocstall_dma32", ALLOCSTALL_DMA32},
	{"allocstall_normal", ALLOCSTALL_NORMAL},
	{"allocstall_movable", ALLOCSTALL_MOVABLE},
	{"pgskip_dma", -1},
	{"pgskip_dma32", -1},
	{"pgskip_normal", -1},
	{"pgskip_movable", -1},
	{"pgfree", PGFREE},
	{"pgactivate", PGACTIVATE},
	{"pgdeactivate", PGDEACTIVATE},
	{"pglazyfree", PGLAZYFREE},
	{"pgfault", PGFAULT},
	{"pgmajfault", PGMAJFAULT},
	{"pglazyfreed", PGLAZYFREED},
	{"pgrefill", PGREFILL},
	{"pgreuse", -1},
	{"pgsteal_kswapd", PGSTEAL_KSWAPD},
	{"pgsteal_direct", PGSTEAL_DIRECT},
	{"pgscan_kswapd", PGSCAN_KSWAPD},
	{"pgscan_direct", PGSCAN_DIRECT},
	{"pgscan_direct_throttle", PGSCAN_DIRECT_THROTTLE},
	{"pgscan_anon", PGSCAN_ANON},
	{"pgscan_file", PGSCAN_FILE},
	{"pgsteal_anon", PGSTEAL_ANON},
	{"pgsteal_file", PGSTEAL_FILE},
	{"zone_reclaim_failed", -1},
	{"pginodesteal", PGINODESTEAL},
	{"slabs_scanned", SLABS_SCANNED},
	{"kswapd_inodesteal", KSWAPD_INODESTEAL},
	{"kswapd_low_wmark_hit_quickly", KSWAPD_LOW_WMARK_HIT_QUICKLY},
	{"kswapd_high_wmark_hit_quickly", KSWAPD_HIGH_WMARK_HIT_QUICKLY},
	{"pageoutrun", PAGEOUTRUN},
	{"pgrotated", PGROTATED},
	{"drop_pagecache", DROP_PAGECACHE},
	{"drop_slab", DROP_SLAB},
	{"oom_kill", OOM_KILL},
	{"numa_pte_updates", -1},
	{"numa_huge_pte_updates", -1},
	{"numa_hint_faults", -1},
	{"numa_hint_faults_local", -1},
	{"numa_pages_migrated", -1},
	{"pgmigrate_success", PGMIGRATE_SUCCESS},
	{"pgmigrate_fail", PGMIGRATE_FAIL},
	{"thp_migration_success", -1},
	{"thp_migration_fail", -1},
	{"thp_migration_split", -1},
	{"compact_migrate_scanned", COMPACTMIGRATE_SCANNED},
	{"compact_free_scanned", COMPACTFREE_SCANNED},
	{"compact_isolated", COMPACTISOLATED},
	{"compact_stall", COMPACTSTALL},
	{"compact_fail", COMPACTFAIL},
	{"compact_success", COMPACTSUCCESS},
	{"compact_daemon_wake", KCOMPACTD_WAKE},
	{"compact_daemon_migrate_scanned", KCOMPACTD_MIGRATE_SCANNED},
	{"compact_daemon_free_scanned", KCOMPACTD_FREE_SCANNED},
	{"htlb_buddy_alloc_success", -1},
	{"htlb_buddy_alloc_fail", -1},
	{"unevictable_pgs_culled", UNEVICTABLE_PGCULLED},
	{"unevictable_pgs_scanned", UNEVICTABLE_PGSCANNED},
	{"unevictable_pgs_rescued", UNEVICTABLE_PGRESCUED},
	{"unevictable_pgs_mlocked", UNEVICTABLE_PGMLOCKED},
	{"unevictable_pgs_munlocked", UNEVICTABLE_PGMUNLOCKED},
	{"unevictable_pgs_cleared", UNEVICTABLE_PGCLEARED},
	{"unevictable_pgs_stranded", UNEVICTABLE_PGSTRANDED},
	{"thp_fault_alloc", -1},
	{"thp_fault_fallback", -1},
	{"thp_fault_fallback_charge", -1},
	{"thp_collapse_alloc", -1},
	{"thp_collapse_alloc_failed", -1},
	{"thp_file_alloc", -1},
	{"thp_file_fallback", -1},
	{"thp_file_fallback_charge", -1},
	{"thp_file_mapped", -1},
	{"thp_split_page", -1},
	{"thp_split_page_failed", -1},
	{"thp_deferred_split_page", -1},
	{"thp_split_pmd", -1},
	{"thp_split_pud", -1},
	{"thp_zero_page_alloc", -1},
	{"thp_zero_page_alloc_failed", -1},
	{"thp_swpout", -1},
	{"thp_swpout_fallback", -1},
	{"swap_ra", SWAP_RA},
	{"swap_ra_hit", SWAP_RA_HIT},
};

void quire_show_vmstat(quire_emit_fn emit, void *ctx)
{
	unsigned long background, most;

	global_dirty_limits(&background, &most);
	emitf(emit, ctx, "nr_free_pages %lu\n", nr_free_buddy());
	for (unsigned i = 0; i < ARRAY_SIZE(stat_names); i++)
		emitf(emit, ctx, "%s %lu\n", stat_names[i].name,
		      stat_names[i].item < 0 ?
			      0ul :
			      node_page_state((enum node_stat_item)stat_names[i].item));
	emitf(emit, ctx, "nr_dirty_threshold %lu\nnr_dirty_background_threshold %lu\n", most, background);
	for (unsigned i = 0; i < ARRAY_SIZE(event_names); i++)
		emitf(emit, ctx, "%s %llu\n", event_names[i].name,
		      event_names[i].event < 0 ?
			      0ull :
			      (unsigned long long)sum_vm_event(
				      (enum vm_event_item)event_names[i].event));
	emitf(emit, ctx, "nr_unstable 0\n");
}

/* ---- the buddy ------------------------------------------------------------------------------- */

static unsigned long free_blocks(const struct zone *z, unsigned order)
{
	assert_held(&z->lock);
	return z->free_area[order].nr_free;
}

/* Those of one type only. */
static unsigned long free_blocks_of_type(const struct zone *z, unsigned order, unsigned mt)
{
	struct list_head *at;
	unsigned long n = 0;

	assert_held(&z->lock);
	list_for_each(at, &z->free_area[order].free_list[mt])
		n += link_block(at, order)->nr[order];
	return n;
}

void quire_show_buddyinfo(quire_emit_fn emit, void *ctx)
{
	struct zone *z;

	for_each_populated_zone(z) {
		unsigned long n[MAX_ORDER];
		irqflags_t flags;

		spin_lock_irqsave(&z->lock, flags);
		for (unsigned o = 0; o < MAX_ORDER; o++)
			n[o] = free_blocks(z, o);
		spin_unlock_irqrestore(&z->lock, flags);
		emitf(emit, ctx, "Node %d, zone %8s ", 0, z->name);
		for (unsigned o = 0; o < MAX_ORDER; o++)
			emitf(emit, ctx, "%6lu ", n[o]);
		emitf(emit, ctx, "\n");
	}
}

static void count_free_types(struct zone *z, unsigned mt, unsigned long n[MAX_ORDER])
{
	irqflags_t flags;

	ASSERT(mt < MIGRATE_TYPES);
	spin_lock_irqsave(&z->lock, flags);
	for (unsigned o = 0; o < MAX_ORDER; o++)
		n[o] = free_blocks_of_type(z, o, mt);
	spin_unlock_irqrestore(&z->lock, flags);
}

/* A pageblock belongs to the zone of its first frame. */
static void show_block_counts(struct zone *z, quire_emit_fn emit, void *ctx)
{
	uint64_t pfn = ALIGN_DOWN(z->zone_start_pfn, (uint64_t)PAGEBLOCK_PAGES);
	unsigned long n[MIGRATE_TYPES] = {0};

	ASSERT(populated_zone(z));
	for (; pfn < z->zone_start_pfn + z->spanned_pages; pfn += PAGEBLOCK_PAGES)
		if (pfn_valid(PFN(pfn)) && page_zone(pfn_to_page(PFN(pfn))) == z)
			n[get_pageblock_migratetype(pfn_to_page(PFN(pfn)))]++;
	emitf(emit, ctx, "Node %d, zone %8s ", 0, z->name);
	for (unsigned mt = 0; mt < MIGRATE_TYPES; mt++)
		emitf(emit, ctx, "%12lu ", n[mt]);
	emitf(emit, ctx, "\n");
}

void quire_show_pagetypeinfo(quire_emit_fn emit, void *ctx)
{
	struct zone *z;

	emitf(emit, ctx, "Page block order: %d\nPages per block:  %lu\n\n", PAGEBLOCK_ORDER,
	      PAGEBLOCK_PAGES);
	emitf(emit, ctx, "%-43s ", "Free pages count per migrate type at order");
	for (int o = 0; o < MAX_ORDER; o++)
		emitf(emit, ctx, "%6d ", o);
	emitf(emit, ctx, "\n");
	for_each_populated_zone(z)
		for (unsigned mt = 0; mt < MIGRATE_TYPES; mt++) {
			unsigned long n[MAX_ORDER];

			count_free_types(z, mt, n);
			emitf(emit, ctx, "Node %4d, zone %8s, type %12s ", 0, z->name,
			      migratetype_names[mt]);
			for (unsigned o = 0; o < MAX_ORDER; o++)
				emitf(emit, ctx, "%6lu ", n[o]);
			emitf(emit, ctx, "\n");
		}
	emitf(emit, ctx, "\n%-23s", "Number of blocks type ");
	for (unsigned mt = 0; mt < MIGRATE_TYPES; mt++)
		emitf(emit, ctx, "%12s ", migratetype_names[mt]);
	emitf(emit, ctx, "\n");
	for_each_populated_zone(z)
		show_block_counts(z, emit, ctx);
}

/* ---- zoneinfo -------------------------------------------------------------------------------- */

static void show_zone_pcp(struct zone *z, quire_emit_fn emit, void *ctx)
{
	ASSERT(z->pcp);
	emitf(emit, ctx, "  pagesets");
	for (unsigned c = 0; c < hal_cpu_count(); c++) {
		unsigned n = 0;

		for (unsigned i = 0; i < PCP_ORDERS; i++)
			for (unsigned mt = 0; mt < MIGRATE_PCPTYPES; mt++)
				n += pcp_count(&z->pcp[c], i, mt) << slot_order(i);
		emitf(emit, ctx,
		      "\n    cpu: %u\n              count: %u\n              high:  %u\n"
		      "              batch: %u\n  vm stats threshold: 0",
		      c, n, z->pcp_high, z->pcp_batch);
	}
	emitf(emit, ctx,
	      "\n  node_unreclaimable:  %d\n  start_pfn:           %llu\n",
	      kswapd_hopeless(), (unsigned long long)z->zone_start_pfn);
}

/* An empty zone is shown too, without the part that only a populated one has. */
static void show_zone(struct zone *z, bool first, quire_emit_fn emit, void *ctx)
{
	emitf(emit, ctx, "Node %d, zone %8s", 0, z->name);
	if (first) { /* the node's own numbers stand with its first zone */
		emitf(emit, ctx, "\n  per-node stats");
		for (unsigned i = ZONE_STATS; i < ARRAY_SIZE(stat_names); i++)
			emitf(emit, ctx, "\n      %-12s %lu", stat_names[i].name,
			      stat_names[i].item < 0 ?
				      0ul :
				      node_page_state((enum node_stat_item)stat_names[i].item));
	}
	emitf(emit, ctx,
	      "\n  pages free     %lu\n        min      %lu\n        low      %lu\n"
	      "        high     %lu\n        spanned  %lu\n        present  %lu\n"
	      "        managed  %lu\n        protection: (%lu",
	      READ_ONCE(z->nr_free), READ_ONCE(z->watermark[WMARK_MIN]),
	      READ_ONCE(z->watermark[WMARK_LOW]), READ_ONCE(z->watermark[WMARK_HIGH]), z->spanned_pages, z->present_pages, z->managed_pages,
	      z->lowmem_reserve[0]);
	for (unsigned i = 1; i < MAX_NR_ZONES; i++)
		emitf(emit, ctx, ", %lu", z->lowmem_reserve[i]);
	emitf(emit, ctx, ")");
	if (!populated_zone(z)) {
		emitf(emit, ctx, "\n");
		return;
	}
	emitf(emit, ctx, "\n      nr_free_pages %lu\n", READ_ONCE(z->nr_free));
	for (unsigned l = 0; l < NR_LRU_LISTS; l++)
		emitf(emit, ctx, "      %-12s %lu\n", stat_names[l].name,
		      zone_lru_size(z, (enum lru_list)l));
	show_zone_pcp(z, emit, ctx);
}

void quire_show_zoneinfo(quire_emit_fn emit, void *ctx)
{
	bool first = true;

	for (unsigned i = 0; i < MAX_NR_ZONES; i++) {
		show_zone(&zones[i], first && populated_zone(&zones[i]), emit, ctx);
		first = first && !populated_zone(&zones[i]);
	}
}
