/* SPDX-License-Identifier: MIT */
/*
 * quire_init() and quire_exit(): start and end of the whole core, in the order in which its rooms
 * need each other; and the public names of plain memory. It can be started and ended any number of
 * times.
 */
#include "lib/printf.h"
#include "mm/base/fail_inject.h"
#include "mm/base/param.h"
#include "mm/base/trace.h"
#include "mm/base/vmstat.h"
#include "mm/fault/fault.h"
#include "mm/lru/spaces.h"
#include "mm/object/writeback.h"
#include "mm/phys/kmap.h"
#include "mm/phys/memblock.h"
#include "mm/phys/page_alloc.h"
#include "mm/reclaim/oom.h"
#include "mm/reclaim/vmscan.h"
#include "mm/slab/slab_def.h"
#include "mm/space/mm.h"
#include "mm/swap/swap.h"
#include "mm/vmalloc/vmalloc.h"
#include <quire/abi.h>
#include <quire/os.h>

#define SPACES_LEAST 16u

static unsigned long start_free; /* pages free once the buddy was up, plus what joined later */
static bool running;

/* In the buddy and on per-CPU lists: exact without draining, as long as the machine is quiet. */
static unsigned long free_now(void)
{
	unsigned long sum = nr_free_buddy();
	struct zone *z;

	ASSERT(max_pfn);
	for_each_populated_zone(z)
		sum += nr_free_pcp(z);
	return sum;
}

/* The result of a step of the start; the log says which one failed. */
static int step(const char *what, int err)
{
	char line[96];

	if (err == -ENOMEM)
		scnprintf(line, sizeof(line), "start: no memory for %s", what);
	else if (err)
		scnprintf(line, sizeof(line), "start: %s: error %d", what, -err);
	if (err)
		os_log(line);
	return err;
}

/* One copy of the counters for each CPU. */
static int counters_init(void)
{
	struct vm_cpu_stat *s = memblock_alloc_zeroed(hal_cpu_count() * sizeof(*s));

	ASSERT(hal_cpu_count());
	if (!s)
		return -ENOMEM;
	vmstat_init(s);
	return 0;
}

/* Spaces that have lists of their own: one for each MiB. */
static unsigned nr_spaces(void)
{
	uint64_t start, end, pages = 0;

	for (start = 0; memblock_next_memory(&start, &end); start = end)
		pages += end - start;
	return (unsigned)clamp(pages >> (20 - PAGE_SHIFT), (uint64_t)SPACES_LEAST, (uint64_t)NR_SPACES);
}

/* The lists of pages, and one batch for each CPU. */
static int lists_init(void)
{
	struct lru_batch *b = memblock_alloc_zeroed(hal_cpu_count() * sizeof(*b));
	unsigned n = nr_spaces();
	struct lru_space *s = memblock_alloc_zeroed(n * sizeof(*s));

	ASSERT(hal_cpu_count());
	if (!b || !s)
		return -ENOMEM;
	lru_init(b);
	spaces_init(s, n);
	reclaim_policy_init();
	return 0;
}

/* Everything that hands out frames, in order; each stands on the one before. */
static int init_memory(void)
{
	int err = step("the list of the machine's memory", memblock_init());

	ASSERT(!running);
	if (!err)
		err = step("the kernel's page tables", kmap_reserve_tables());
	if (!err)
		err = step("the CPUs' counters", counters_init());
	if (!err)
		err = step("the lists of pages", lists_init());
	if (!err)
		err = step("struct pages and zones", mem_init());
	if (!err)
		err = step("the slab allocator's frame numbers", slab_frames_init());
	if (!err)
		err = step("the page of zeros", mem_init_free());
	return err;
}

static void exit_memory(void)
{
	ASSERT(!running);
	kmap_use_buddy(false);
	mem_exit();
	vmstat_exit();
	memblock_exit();
}

/* What runs over the buddy. Undoes itself on an error. */
static int init_rooms(const struct quire_config *cfg)
{
	int err = step("the slab allocator", slab_init());

	ASSERT(!running);
	if (err)
		return err;
	err = step("vmalloc", vmalloc_init());
	if (err)
		goto slab;
	swap_init();
	err = step("the trace ring", trace_init(cfg->trace_ring, cfg->trace_ring_size));
	if (err)
		goto swap;
	err = step("files and the page cache", filemap_init());
	if (err)
		goto trace;
	fault_init();
	err = step("address spaces", mm_virt_init());
	if (!err)
		return 0;
	filemap_exit();
trace:
	trace_exit();
swap:
	swap_exit();
	vmalloc_exit();
slab:
	slab_exit();
	return err;
}

int quire_init(const struct quire_config *cfg)
{
	static const struct quire_config none;
	int err;

	if (running)
		return step("the core runs already", -EBUSY);
	init_config = cfg ? *cfg : none;
	fail_inject_init();
	err = init_memory();
	if (!err) {
		kmap_use_buddy(true);
		start_free = free_now();
		err = init_rooms(&init_config);
	}
	if (err) {
		exit_memory();
		return err;
	}
	running = true;
	return 0;
}

int quire_threads_start(void)
{
	ASSERT(running);
	int err = step("the reaper", oom_reaper_start());

	if (!err) {
		kswapd_run();
		flusher_run();
	}
	return err;
}

void quire_threads_stop(void)
{
	flusher_stop();
	kswapd_stop();
	oom_reaper_stop();
}

/* In reverse. Pages that are still missing from the free ones afterwards were leaked. */
long quire_exit(void)
{
	char line[96];
	unsigned long left;
	long held;

	if (!running)
		return 0;
	quire_threads_stop();
	running = false;
	mm_virt_exit();
	filemap_exit();
	trace_exit();
	swap_exit();
	vmalloc_exit();
	slab_exit();
	left = lru_exit();
	if (left) {
		scnprintf(line, sizeof(line), "mem: %lu pages are still on lists at the end", left);
		os_log(line);
	}
	held = (long)(start_free - free_now() - kmap_table_pages());
	if (held) {
		scnprintf(line, sizeof(line), "mem: %ld pages are still held at the end", held);
		os_log(line);
	}
	fail_inject_exit();
	exit_memory();
	return held;
}

void quire_free_boot_data(const void *start, size_t n)
{
	phys_addr_t at = hal_virt_to_phys(start);
	unsigned long before = totalram_pages();

	ASSERT(running);
	if (!n)
		return;
	/* Only whole pages: what shares the first or last one may still be in use. */
	free_reserved_area((at + PAGE_SIZE - 1) >> PAGE_SHIFT, (at + n) >> PAGE_SHIFT);
	start_free += totalram_pages() - before;
}

/* ---- memory for the kernel itself ------------------------------------------------------------ */

/* The public flags are few on purpose; the rest is the core's business. */
static gfp_t public_gfp(unsigned gfp)
{
	gfp_t g = gfp & QUIRE_GFP_ATOMIC ? GFP_ATOMIC : GFP_KERNEL;

	return gfp & QUIRE_GFP_ZERO ? g | __GFP_ZERO : g;
}

void *quire_kmalloc(size_t n, unsigned gfp)
{
	return kmalloc(n, public_gfp(gfp));
}

void quire_kfree(const void *p)
{
	kfree(p);
}

void *quire_alloc_pages(unsigned order, unsigned gfp)
{
	return (void *)__get_free_pages(public_gfp(gfp), order);
}

void quire_free_pages(void *p, unsigned order)
{
	free_pages((uintptr_t)p, order);
}

void quire_drain(void)
{
	might_sleep();
	vmalloc_drain();
	slab_drain();
	drain_all_pages();
}

uint64_t quire_inject_seen(enum quire_inject kind)
{
	return kind == QUIRE_INJECT_PAGE ? page_allocs_seen() : slab_allocs_seen();
}

static unsigned long reserved_pages(void)
{
	unsigned long sum = 0;
	struct zone *z;

	for_each_populated_zone(z)
		sum += z->present_pages - z->managed_pages;
	return sum;
}

void quire_get_counts(struct quire_counts *c)
{
	*c = (struct quire_counts){
		.free_pages = free_now(),
		.managed_pages = totalram_pages(),
		.reserved_pages = reserved_pages(),
		.cache_pages = node_page_state(NR_FILE_PAGES) - total_swapcache_pages(),
		.table_pages = node_page_state(NR_PAGETABLE) + kmap_table_pages(),
		.slab_pages = node_page_state(NR_SLAB_RECLAIMABLE) +
			      node_page_state(NR_SLAB_UNRECLAIMABLE),
		.shmem_pages = node_page_state(NR_SHMEM),
		.swap_pages = total_swap_pages(),
		.free_swap_pages = (uint64_t)max(get_nr_swap_pages(), 0l),
		.minor_faults = sum_vm_event(PGFAULT) - sum_vm_event(PGMAJFAULT),
		.major_faults = sum_vm_event(PGMAJFAULT),
		.code_disagreements = sum_vm_event(CODE_DISAGREEMENTS),
		.unmapped_entries = sum_vm_event(UNMAP_ENTRIES),
		.unmap_flushes = sum_vm_event(UNMAP_FLUSHES),
	};
}
