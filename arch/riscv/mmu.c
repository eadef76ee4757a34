/* SPDX-License-Identifier: MIT */
/*
 * Kernel page tables of RISC-V: which mode, where the parts lie, what the hardware does by itself.
 * Spaces, flushes and kernel ranges are arch/common/mmu.c's, over arch.h.
 *
 * The upper half, the same in Sv48 and Sv57 (Sv57 needs one top entry for all of it):
 *
 *   0xffffaf8000000000  direct map, 64 TiB     0xfffff80000000000  vmalloc, 1 TiB
 *   0xfffff00000000000  vmemmap, 1 TiB         0xffffffff00000000  device registers
 *   0xffffffff80000000  the image
 *
 * Sv39 has 256 GiB: 128 GiB direct map at 0xffffffc000000000, 8 GiB vmemmap, 16 GiB vmalloc, and
 * the last two as above. The direct map holds RAM only, without what the firmware forbids, and
 * read-only where the image's text and constants lie.
 */
#include "lib/bits.h"
#include "arch.h"
#include "lib/string.h"
#include "sbi.h"

uintptr_t hal_direct_base = RV_EARLY_DIRECT_BASE;
uintptr_t hal_image_offset;
bool rv_probing;

static unsigned satp_mode;

static unsigned long satp_of(pfn_t root, unsigned long asid)
{
	return (unsigned long)satp_mode << SATP_MODE_SHIFT | asid << SATP_ASID_SHIFT | root.n;
}

unsigned long rv_kernel_satp(void)
{
	return satp_of(mmu_kernel.root, 0);
}

/* ---- spaces and code ------------------------------------------------------------------------- */

void arch_root_load(pfn_t root, uint32_t asid)
{
	csr_write(satp, satp_of(root, asid));
}

/* Without RFENCE all are called. */
void hal_icache_sync(const void *start, size_t n)
{
	asid_icache_sync(smp_online_now());
}

/* ---- boot ------------------------------------------------------------------------------------ */

static pfn_t boot_table(void *ctx)
{
	phys_addr_t pa = rv_boot_alloc(PAGE_SIZE, MEM_RESERVED, "kernel page tables",
				       RV_EARLY_DIRECT_SIZE);

	if (pa == UINT64_MAX)
		boot_die("no memory for the kernel's page tables");
	hal_clear_page(hal_phys_to_virt(pa));
	return PFN(pa >> ARCH_PAGE_SHIFT);
}

/* Each part with its rights; the first page of every stack stays a hole. */
static void map_image(void)
{
	mmu_map_image(__image_start, __text_end, KMAP_R | KMAP_X);
	mmu_map_image(__text_end, __rodata_end, KMAP_R);
	mmu_map_image(__rodata_end, riscv_boot_stack_guard, KMAP_R | KMAP_W);
	mmu_map_image(riscv_boot_stack_guard + PAGE_SIZE, riscv_panic_stack_guard,
		      KMAP_R | KMAP_W);
	mmu_map_image(riscv_panic_stack_guard + PAGE_SIZE, __image_end, KMAP_R | KMAP_W);
}

/* What of [start, end) is RAM that may be mapped: around the no-map ranges, outward to pages. */
static void map_ram(phys_addr_t start, phys_addr_t end)
{
	for (unsigned i = 0; i < rv_platform.nr_ranges; i++) {
		const struct rv_range *h = &rv_platform.ranges[i];
		phys_addr_t hole = ALIGN_DOWN(h->r.start, PAGE_SIZE);
		phys_addr_t hole_end = ALIGN_UP(h->r.end, PAGE_SIZE);

		if (!h->no_map || hole >= end || hole_end <= start)
			continue;
		if (start < hole)
			map_ram(start, hole);
		if (hole_end < end)
			map_ram(hole_end, end);
		return;
	}
	if (start < end)
		mmu_map_ram(start, end, __image_start, __rodata_end);
}

static void map_all_ram(void)
{
	/* table pages are taken while this runs, and add ranges behind: none of them is RAM */
	for (unsigned i = 0; i < rv_platform.nr_ranges; i++) {
		struct mem_range r = rv_platform.ranges[i].r;

		if (r.kind == MEM_RAM)
			map_ram(ALIGN_UP(r.start, PAGE_SIZE), ALIGN_DOWN(r.end, PAGE_SIZE));
	}
}

/* The early root of so many levels; each wider one holds the narrower in its last entry. */
static phys_addr_t early_root(unsigned levels)
{
	return hal_virt_to_phys(levels == 3   ? riscv_early_sv39
				: levels == 4 ? riscv_early_sv48
					      : riscv_early_sv57);
}

/* Tries the mode in satp itself: an unsupported one leaves satp as it was. */
static bool mode_works(unsigned levels)
{
	unsigned long mode = SATP_MODE_SV39 + levels - 3;
	unsigned long v = mode << SATP_MODE_SHIFT | early_root(levels) >> ARCH_PAGE_SHIFT;

	arch_flush_all();
	csr_write(satp, v);
	arch_flush_all();
	return csr_read(satp) == v;
}

static unsigned probe_asid_bits(void)
{
	unsigned long v = csr_read(satp);
	unsigned long got;

	csr_write(satp, v | (unsigned long)SATP_ASID_MASK << SATP_ASID_SHIFT);
	got = csr_read(satp) >> SATP_ASID_SHIFT & SATP_ASID_MASK;
	csr_write(satp, v);
	arch_flush_all();
	return hweight64(got);
}

static void choose_layout(unsigned levels)
{
	mmu_info.levels = levels;
	mmu_info.va_bits = ARCH_PAGE_SHIFT + levels * ARCH_INDEX_BITS;
	mmu_info.user_end = 1ul << (mmu_info.va_bits - 1);
	mmu_info.caches_invalid = true; /* nothing says that this machine does not */
	mmu_info.needs_bbm = false;
	satp_mode = SATP_MODE_SV39 + levels - 3;
	if (levels == 3) {
		mmu_layout.direct_base = RV_EARLY_DIRECT_BASE;
		mmu_layout.vmemmap_base = 0xffffffe000000000ul;
		mmu_layout.vmemmap_end = mmu_layout.vmemmap_base + (8ul << 30);
		mmu_layout.vmalloc_base = 0xffffffe800000000ul;
		mmu_layout.vmalloc_end = mmu_layout.vmalloc_base + (16ul << 30);
		return;
	}
	mmu_layout.direct_base = 0xffffaf8000000000ul;
	mmu_layout.vmemmap_base = 0xfffff00000000000ul;
	mmu_layout.vmemmap_end = mmu_layout.vmemmap_base + (1ul << 40);
	mmu_layout.vmalloc_base = 0xfffff80000000000ul;
	mmu_layout.vmalloc_end = mmu_layout.vmalloc_base + (1ul << 40);
}

/* Does a store to a clean page set A and D, or fault? The page is an early table, done with. */
static bool probe_hw_ad(void)
{
	struct pte_desc d = kmap_prot(KMAP_R | KMAP_W, MT_WB);
	uintptr_t va = ARCH_DEVICE_BASE; /* where devices will be */
	int faulted;

	d.accessed = d.dirty = false;
	if (kmap_map(&mmu_kernel, va, hal_virt_to_phys(riscv_early_image), PAGE_SIZE, d))
		boot_die("cannot map a page to probe");
	arch_flush_all();
	rv_probing = true;
	faulted = riscv_probe_store((void *)va);
	rv_probing = false;
	d = kmap_lookup(&mmu_kernel, va, NULL);
	(void)kmap_unmap(&mmu_kernel, va, PAGE_SIZE);
	arch_flush_all();
	return !faulted && d.accessed && d.dirty;
}

static void build_tables(void)
{
	mmu_kernel.levels = mmu_info.levels;
	mmu_kernel.leaf_levels = (1u << mmu_info.levels) - 1;
	mmu_kernel.table_offset = RV_EARLY_DIRECT_BASE;
	mmu_kernel.alloc = boot_table;
	mmu_kernel.root = boot_table(NULL);
	map_image();
	map_all_ram();
	mmu_reserve_ranges();
}

/* asid_bits=N: fewer than there are, for tests of what happens when they run out. Without twice as many
 * as there are harts, none are used. */
static void choose_asids(void)
{
	uint64_t want = probe_asid_bits();
	char word[8];

	if (boot_option(rv_platform.cmdline, "asid_bits", word, sizeof(word)) &&
	    (parse_u64(word, &want) || want > 16))
		boot_die("asid_bits=: 0 to 16");
	want = min(want, (uint64_t)probe_asid_bits());
	mmu_info.asid_bits = asid_usable((unsigned)want, hal_cpus);
	asid_start(mmu_info.asid_bits);
}

void rv_mmu_init(unsigned want_sv)
{
	unsigned levels = want_sv == 57 ? 5 : want_sv == 39 ? 3 : 4;

	while (levels > 3 && !mode_works(levels))
		levels--;
	choose_layout(levels);
	rv_clip_ram(mmu_layout.vmemmap_base - mmu_layout.direct_base);
	choose_asids();
	build_tables();
	arch_flush_all();
	csr_write(satp, rv_kernel_satp());
	arch_flush_all();
	hal_direct_base = mmu_layout.direct_base;
	mmu_kernel.table_offset = mmu_layout.direct_base;
	mmu_info.hw_accessed_dirty = probe_hw_ad();
}
