/* SPDX-License-Identifier: MIT */
/*
 * Page-table pages for the kernel's own address range: what hal_kernel_map() calls, before the
 * buddy is up and afterwards. They are never freed, for other spaces may have copied the entries
 * above them; they are remembered, so that a second start in the same machine leaves them alone.
 * A caller of hal_kernel_map() holds kmap_mutex (mm/vmalloc/vmalloc.c), or is alone (start-up).
 */
#include "mm/phys/kmap.h"
#include "mm/phys/memblock.h"
#include "mm/phys/page_alloc.h"
#include <quire/abi.h>

#define KMAP_TABLES_MAX 1024 /* each maps 2 MiB of kernel range: room for 128 GiB of RAM */

static pfn_t kmap_tables[KMAP_TABLES_MAX];
static unsigned kmap_nr_tables, kmap_nr_from_buddy;
static bool kmap_buddy;

void kmap_use_buddy(bool up)
{
	kmap_buddy = up;
	if (up)
		kmap_nr_from_buddy = 0;
}

unsigned long kmap_table_pages(void)
{
	return kmap_nr_from_buddy;
}

int kmap_reserve_tables(void)
{
	ASSERT(!kmap_buddy);
	for (unsigned i = 0; i < kmap_nr_tables; i++) {
		phys_addr_t at = (phys_addr_t)kmap_tables[i].n << PAGE_SHIFT;

		if (memblock_reserve(at, at + PAGE_SIZE))
			return -ENOMEM;
	}
	return 0;
}

pfn_t kmap_table_alloc(void *ctx)
{
	pfn_t pfn = PFN(UINT64_MAX);
	void *p;

	ASSERT(kmap_nr_tables <= KMAP_TABLES_MAX);
	if (kmap_nr_tables == KMAP_TABLES_MAX)
		return pfn;
	p = kmap_buddy ? (void *)get_zeroed_page(GFP_KERNEL) : memblock_alloc_zeroed(PAGE_SIZE);
	if (p) {
		pfn = PFN(hal_virt_to_phys(p) >> PAGE_SHIFT);
		kmap_nr_from_buddy += kmap_buddy;
		kmap_tables[kmap_nr_tables++] = pfn;
	}
	return pfn;
}
