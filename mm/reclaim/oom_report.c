/* SPDX-License-Identifier: MIT */
/*
 * What the OOM killer tells people, in Linux's words: who asked for what, how memory stands, which
 * processes there are. Line by line to os_log(), without memory of its own but the stack's.
 */
#include "mm/reclaim/oom.h"
#include "lib/printf.h"
#include "mm/base/mmzone.h"
#include "mm/base/vmstat.h"
#include "mm/phys/page_alloc.h"
#include "mm/swap/swap.h"

#define LINE 250

__attribute__((noinline)) void oom_log(const char *fmt, ...)
{
	char line[LINE];
	va_list ap;

	va_start(ap, fmt);
	vscnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	os_log(line);
}

/* ---- flags by name --------------------------------------------------------------------------- */

static const struct {
	gfp_t bits;
	const char *name;
} gfp_names[] = {
	{GFP_TRANSHUGE, "GFP_TRANSHUGE"},
	{GFP_TRANSHUGE_LIGHT, "GFP_TRANSHUGE_LIGHT"},
	{GFP_HIGHUSER_MOVABLE, "GFP_HIGHUSER_MOVABLE"},
	{GFP_HIGHUSER, "GFP_HIGHUSER"},
	{GFP_USER, "GFP_USER"},
	{GFP_KERNEL_ACCOUNT, "GFP_KERNEL_ACCOUNT"},
	{GFP_KERNEL, "GFP_KERNEL"},
	{GFP_NOFS, "GFP_NOFS"},
	{GFP_ATOMIC, "GFP_ATOMIC"},
	{GFP_NOIO, "GFP_NOIO"},
	{GFP_NOWAIT, "GFP_NOWAIT"},
	{GFP_DMA, "GFP_DMA"},
	{__GFP_HIGHMEM, "__GFP_HIGHMEM"},
	{GFP_DMA32, "GFP_DMA32"},
	{__GFP_HIGH, "__GFP_HIGH"},
	{__GFP_ATOMIC, "__GFP_ATOMIC"},
	{__GFP_IO, "__GFP_IO"},
	{__GFP_FS, "__GFP_FS"},
	{__GFP_NOWARN, "__GFP_NOWARN"},
	{__GFP_RETRY_MAYFAIL, "__GFP_RETRY_MAYFAIL"},
	{__GFP_NOFAIL, "__GFP_NOFAIL"},
	{__GFP_NORETRY, "__GFP_NORETRY"},
	{__GFP_COMP, "__GFP_COMP"},
	{__GFP_ZERO, "__GFP_ZERO"},
	{__GFP_NOMEMALLOC, "__GFP_NOMEMALLOC"},
	{__GFP_MEMALLOC, "__GFP_MEMALLOC"},
	{__GFP_HARDWALL, "__GFP_HARDWALL"},
	{__GFP_THISNODE, "__GFP_THISNODE"},
	{__GFP_RECLAIMABLE, "__GFP_RECLAIMABLE"},
	{__GFP_MOVABLE, "__GFP_MOVABLE"},
	{__GFP_ACCOUNT, "__GFP_ACCOUNT"},
	{__GFP_WRITE, "__GFP_WRITE"},
	{__GFP_RECLAIM, "__GFP_RECLAIM"},
	{__GFP_DIRECT_RECLAIM, "__GFP_DIRECT_RECLAIM"},
	{__GFP_KSWAPD_RECLAIM, "__GFP_KSWAPD_RECLAIM"},
};

/* The largest names first, as Linux has them. */
static void gfp_text(char *text, size_t size, gfp_t gfp)
{
	size_t n = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < ARRAY_SIZE(gfp_names); i++) {
		if ((gfp & gfp_names[i].bits) != gfp_names[i].bits || !gfp)
			continue;
		n += scnprintf(text + n, size - n, "%s%s", n ? "|" : "", gfp_names[i].name);
		gfp &= ~gfp_names[i].bits;
	}
}

/* ---- how memory stands ----------------------------------------------------------------------- */

static unsigned long zone_kb(unsigned long pages)
{
	return pages << (PAGE_SHIFT - 10);
}

static void show_zones(void)
{
	struct zone *z;

	for_each_populated_zone(z)
		oom_log("Node 0 %s free:%lukB min:%lukB low:%lukB high:%lukB reserved_highatomic:%luKB present:%lukB managed:%lukB free_pcp:%lukB",
			z->name, zone_kb(READ_ONCE(z->nr_free)), zone_kb(READ_ONCE(z->watermark[WMARK_MIN])),
			zone_kb(READ_ONCE(z->watermark[WMARK_LOW])),
			zone_kb(READ_ONCE(z->watermark[WMARK_HIGH])),
			zone_kb(READ_ONCE(z->nr_reserved_highatomic)), zone_kb(z->present_pages),
			zone_kb(z->managed_pages), zone_kb(nr_free_pcp(z)));
}

static void show_mem(void)
{
	oom_log("Mem-Info:");
	oom_log("active_anon:%lu inactive_anon:%lu active_file:%lu inactive_file:%lu unevictable:%lu",
		node_page_state(NR_ACTIVE_ANON), node_page_state(NR_INACTIVE_ANON),
		node_page_state(NR_ACTIVE_FILE), node_page_state(NR_INACTIVE_FILE),
		node_page_state(NR_UNEVICTABLE));
	oom_log(" dirty:%lu writeback:%lu slab_reclaimable:%lu slab_unreclaimable:%lu",
		node_page_state(NR_FILE_DIRTY), node_page_state(NR_WRITEBACK),
		node_page_state(NR_SLAB_RECLAIMABLE), node_page_state(NR_SLAB_UNRECLAIMABLE));
	oom_log(" anon:%lu mapped:%lu shmem:%lu pagetables:%lu kernel_stack:%lukB free:%lu",
		node_page_state(NR_ANON_MAPPED), node_page_state(NR_FILE_MAPPED),
		node_page_state(NR_SHMEM), node_page_state(NR_PAGETABLE),
		node_page_state(NR_KERNEL_STACK_KB), nr_free_buddy());
	show_zones();
	oom_log("%lu total pagecache pages", node_page_state(NR_FILE_PAGES));
	oom_log("%lu pages in swap cache", total_swapcache_pages());
	oom_log("Free swap  = %lukB", zone_kb((unsigned long)max(get_nr_swap_pages(), 0l)));
	oom_log("Total swap = %lukB", zone_kb(total_swap_pages()));
	oom_log("%lu pages RAM", totalram_pages());
}

/* ---- processes ------------------------------------------------------------------------------- */

static void dump_task(void *owner, void *ctx)
{
	struct os_owner_facts f;
	const struct mm_struct *mm;

	if (!os_owner_facts(owner, &f))
		return;
	mm = to_mm(f.mm);
	if (!f.unkillable)
		oom_log("[%7u] %5u %5u %8lu %8lu %8lu %8lu         %5d %s", f.pid, f.uid, f.pid,
			READ_ONCE(mm->total_vm), get_mm_rss(mm), READ_ONCE(mm->pgtables_bytes),
			get_mm_counter(mm, MM_SWAPENTS), f.oom_score_adj, f.comm);
	mmdrop(to_mm(f.mm));
}

static void dump_tasks(void)
{
	oom_log("Tasks state (memory values in pages):");
	oom_log("[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name");
	os_for_each_owner(dump_task, NULL);
}

/* Of who asks; 0 for a kernel thread. */
static int own_adj(void)
{
	void *owner = os_current_owner();
	struct os_owner_facts f;

	if (!owner || !os_owner_facts(owner, &f))
		return 0;
	mmdrop(to_mm(f.mm));
	return f.oom_score_adj;
}

void dump_header(const struct oom_control *oc, const struct os_owner_facts *victim)
{
	char flags[120];

	gfp_text(flags, sizeof(flags), oc->gfp);
	oom_log("%s invoked oom-killer: gfp_mask=%#x(%s), order=%u, oom_score_adj=%d",
		os_current_comm(), oc->gfp, flags, oc->order, own_adj());
	show_mem();
	if (READ_ONCE(vm_sysctl.oom_dump_tasks))
		dump_tasks();
	if (victim)
		oom_log("oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),task=%s,pid=%u,uid=%u",
			victim->comm, victim->pid, victim->uid);
}
