/* SPDX-License-Identifier: MIT */
/*
 * x86-64 MMU: where the kernel's parts lie, its own tables, made once at boot, and a walk of the
 * live tables. Spaces, flushes and kernel ranges are arch/common/mmu.c's, over arch.h.
 *
 *                   4 levels             5 levels
 *   user            0 .. 2^47 - 1 page   0 .. 2^56 - 1 page
 *   direct map      0xffff888000000000   0xff11000000000000   all RAM and nothing else
 *   vmalloc         0xffffc90000000000   0xffa0000000000000
 *   vmemmap         0xffffea0000000000   0xffd4000000000000
 *   devices         0xffffffff40000000 on
 *   image           0xffffffff80000000 + physical address
 *
 * The image's text is read-only there and in the direct map; nothing is both writable and
 * executable. The page below the boot stack is absent.
 */
#include "arch.h"

uintptr_t hal_direct_base; /* 0 on the boot tables, which map one to one */

bool x86_canonical(uint64_t va)
{
	unsigned unused = 64 - mmu_info.va_bits;

	return (uint64_t)((int64_t)(va << unused) >> unused) == va;
}

/* ---- boot ------------------------------------------------------------------------------------ */

static void choose_layout(bool la57)
{
	mmu_info = (struct mmu_info){
		.levels = la57 ? 5 : 4,
		.va_bits = la57 ? 57 : 48,
		.user_end = (1ul << (la57 ? 56 : 47)) - PAGE_BYTES,
		.hw_accessed_dirty = true,
	};
	mmu_layout = la57 ? (struct kernel_layout){
		.direct_base = 0xff11000000000000,
		.vmalloc_base = 0xffa0000000000000,
		.vmalloc_end = 0xffa0008000000000,
		.vmemmap_base = 0xffd4000000000000,
		.vmemmap_end = 0xffd4010000000000,
	} : (struct kernel_layout){
		.direct_base = 0xffff888000000000,
		.vmalloc_base = 0xffffc90000000000,
		.vmalloc_end = 0xffffc98000000000,
		.vmemmap_base = 0xffffea0000000000,
		.vmemmap_end = 0xffffeb0000000000,
	};
}

/* Highest physical address the layout has room for: struct page for each frame in vmemmap's
 * 1 TiB, and the direct map's own range. */
#define DIRECT_SPACE ((uint64_t)1 << 46)

static void direct_map(void)
{
	for (unsigned i = 0; i < x86_nspans; i++) {
		struct x86_span *s = &x86_spans[i];

		if (!s->ram)
			continue;
		if (s->end > DIRECT_SPACE) {
			boot_log("boot: RAM %#lx-%#lx lies beyond %#lx, left out",
				 max(s->start, DIRECT_SPACE), s->end, DIRECT_SPACE);
			s->end = max(s->start, DIRECT_SPACE);
		}
		if (s->start < s->end)
			mmu_map_ram(s->start, s->end, __text_start, __rodata_end);
	}
}

void x86_mmu_init(void)
{
	choose_layout(read_cr4() & CR4_LA57);
	mmu_kernel = (struct kmap){
		.root = x86_early_page(NULL),
		.levels = mmu_info.levels,
		.leaf_levels = x86_has_1g ? 7 : 3,
		.alloc = x86_early_page,
	};
	if (mmu_kernel.root.n == UINT64_MAX)
		boot_die("no room for the kernel's page tables");

	mmu_map_image(__text_start, __text_end, KMAP_R | KMAP_X);
	mmu_map_image(__rodata_start, __rodata_end, KMAP_R);
	mmu_map_image(__data_start, __boot_stack_guard, KMAP_R | KMAP_W);
	mmu_map_image(__boot_stack_guard + PAGE_BYTES, __image_end, KMAP_R | KMAP_W);
	direct_map();
	mmu_reserve_ranges();

	write_cr3(mmu_kernel.root.n << ARCH_PAGE_SHIFT);
	/* the boot tables' global entries, if any, go with the toggle */
	arch_flush_all();
	hal_direct_base = mmu_layout.direct_base;
	mmu_kernel.table_offset = mmu_layout.direct_base;
}

/* Instruction fetch is coherent with stores; only the compiler must not move them. */
void hal_icache_sync(const void *start, size_t n)
{
	__asm__ volatile("" : : : "memory");
}
