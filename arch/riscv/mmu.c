/* SPDX-License-Identifier: MIT */
/*
 * Kernel page tables, address spaces and translation caches of RISC-V.
 *
 * The upper half, the same in Sv48 and Sv57 (Sv57 needs one top entry for all of it):
 *
 *   0xffffaf8000000000  direct map, 64 TiB     0xfffff80000000000  vmalloc, 1 TiB
 *   0xfffff00000000000  vmemmap, 1 TiB         0xffffffff00000000  device registers of this file
 *   0xffffffff80000000  the image
 *
 * Sv39 has 256 GiB: 128 GiB direct map at 0xffffffc000000000, 8 GiB vmemmap, 16 GiB vmalloc, and
 * the last two as above. The direct map holds RAM only, without what the firmware forbids, and
 * read-only where the image's text and constants lie. Every top entry of the upper half that can
 * ever be used has its table before the first space copies it.
 *
 * ASIDs: a space gets one when it is switched to, if its generation is not the current one; when
 * they run out the generation counts up and everything is flushed once. ASID 0 is the kernel's
 * own (empty lower half). One hart: local fences reach every translation cache; the instruction
 * fence goes to all harts anyway.
 */
#include "arch/common/kmap.h"
#include "lib/bits.h"
#include "riscv.h"
#include "sbi.h"
#include <quire/abi.h>

#define DEVICE_BASE 0xffffffff00000000ul
#define DEVICE_SIZE (16ul << 20)

/* Beyond so many single fences one fence for the whole ASID is cheaper. */
#define FENCE_MAX 64

uintptr_t hal_direct_base = RV_EARLY_DIRECT_BASE;
uintptr_t hal_image_offset;
bool rv_probing;

static struct mmu_info info;
static struct kernel_layout layout;
static struct kmap kernel_map;
static unsigned satp_mode;
static uintptr_t device_next = DEVICE_BASE;

static const struct arch_space *running; /* NULL: the kernel's own tables */
static uint64_t asid_generation = 1;
static uint32_t asid_next = 1;

/* ---- fences ---------------------------------------------------------------------------------- */

static inline void fence_all(void)
{
	__asm__ volatile("sfence.vma" : : : "memory");
}

/* Entries of one ASID, tables included; global ones stay. */
static inline void fence_asid(unsigned long asid)
{
	__asm__ volatile("sfence.vma zero, %0" : : "r"(asid) : "memory");
}

/* The leaf of one address in one ASID. */
static inline void fence_page(uintptr_t va, unsigned long asid)
{
	__asm__ volatile("sfence.vma %0, %1" : : "r"(va), "r"(asid) : "memory");
}

/* The leaf of one address in every ASID, global ones too. */
static inline void fence_global(uintptr_t va)
{
	__asm__ volatile("sfence.vma %0, zero" : : "r"(va) : "memory");
}

static unsigned long satp_of(pfn_t root, unsigned long asid)
{
	return (unsigned long)satp_mode << SATP_MODE_SHIFT | asid << SATP_ASID_SHIFT | root.n;
}

/* ---- boot ------------------------------------------------------------------------------------ */

static pfn_t boot_table(void *ctx)
{
	phys_addr_t pa = rv_boot_alloc(PAGE_SIZE, MEM_RESERVED, "kernel page tables",
				       RV_EARLY_DIRECT_SIZE);

	(void)ctx;
	if (pa == UINT64_MAX)
		rv_die("no memory for the kernel's page tables");
	hal_clear_page(hal_phys_to_virt(pa));
	return PFN(pa >> ARCH_PAGE_SHIFT);
}

static void map_or_die(uintptr_t va, phys_addr_t pa, uint64_t size, unsigned prot)
{
	if (size && kmap_map(&kernel_map, va, pa, size, kmap_prot(prot, MT_WB)))
		rv_die("cannot map 0x%lx at 0x%lx", pa, va);
}

static void map_image_part(const char *from, const char *to, unsigned prot)
{
	map_or_die((uintptr_t)from, hal_virt_to_phys(from), (uint64_t)(to - from), prot);
}

/* Each part with its rights; the first page of every stack stays a hole. */
static void map_image(void)
{
	map_image_part(__image_start, __text_end, KMAP_R | KMAP_X);
	map_image_part(__text_end, __rodata_end, KMAP_R);
	map_image_part(__rodata_end, riscv_boot_stack_guard, KMAP_R | KMAP_W);
	map_image_part(riscv_boot_stack_guard + PAGE_SIZE, riscv_panic_stack_guard,
		       KMAP_R | KMAP_W);
	map_image_part(riscv_panic_stack_guard + PAGE_SIZE, __image_end, KMAP_R | KMAP_W);
}

static void map_direct(phys_addr_t start, phys_addr_t end, unsigned prot)
{
	if (start < end)
		map_or_die(layout.direct_base + start, start, end - start, prot);
}

/* What of [start, end) is RAM that may be mapped: around the no-map ranges, outward to pages. */
static void map_ram(phys_addr_t start, phys_addr_t end)
{
	phys_addr_t ro_start = hal_virt_to_phys(__image_start);
	phys_addr_t ro_end = hal_virt_to_phys(__rodata_end);

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
	if (ro_start >= end || ro_end <= start) {
		map_direct(start, end, KMAP_R | KMAP_W);
		return;
	}
	map_direct(start, max(start, ro_start), KMAP_R | KMAP_W);
	map_direct(max(start, ro_start), min(end, ro_end), KMAP_R);
	map_direct(min(end, ro_end), end, KMAP_R | KMAP_W);
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

	fence_all();
	csr_write(satp, v);
	fence_all();
	return csr_read(satp) == v;
}

static unsigned probe_asid_bits(void)
{
	unsigned long v = csr_read(satp);
	unsigned long got;

	csr_write(satp, v | (unsigned long)SATP_ASID_MASK << SATP_ASID_SHIFT);
	got = csr_read(satp) >> SATP_ASID_SHIFT & SATP_ASID_MASK;
	csr_write(satp, v);
	fence_all();
	return hweight64(got);
}

static void choose_layout(unsigned levels)
{
	info.levels = levels;
	info.va_bits = ARCH_PAGE_SHIFT + levels * ARCH_INDEX_BITS;
	info.user_end = 1ul << (info.va_bits - 1);
	info.caches_invalid = true; /* nothing says that this machine does not */
	info.needs_bbm = false;
	satp_mode = SATP_MODE_SV39 + levels - 3;
	if (levels == 3) {
		layout.direct_base = RV_EARLY_DIRECT_BASE;
		layout.vmemmap_base = 0xffffffe000000000ul;
		layout.vmemmap_end = layout.vmemmap_base + (8ul << 30);
		layout.vmalloc_base = 0xffffffe800000000ul;
		layout.vmalloc_end = layout.vmalloc_base + (16ul << 30);
		return;
	}
	layout.direct_base = 0xffffaf8000000000ul;
	layout.vmemmap_base = 0xfffff00000000000ul;
	layout.vmemmap_end = layout.vmemmap_base + (1ul << 40);
	layout.vmalloc_base = 0xfffff80000000000ul;
	layout.vmalloc_end = layout.vmalloc_base + (1ul << 40);
}

/* Does a store to a clean page set A and D, or fault? The page is an early table, done with. */
static bool probe_hw_ad(void)
{
	struct pte_desc d = kmap_prot(KMAP_R | KMAP_W, MT_WB);
	uintptr_t va = device_next;
	int faulted;

	d.accessed = d.dirty = false;
	if (kmap_map(&kernel_map, va, hal_virt_to_phys(riscv_early_image), PAGE_SIZE, d))
		rv_die("cannot map a page to probe");
	fence_all();
	rv_probing = true;
	faulted = riscv_probe_store((void *)va);
	rv_probing = false;
	d = kmap_lookup(&kernel_map, va, NULL);
	(void)kmap_unmap(&kernel_map, va, PAGE_SIZE);
	fence_all();
	return !faulted && d.accessed && d.dirty;
}

static void build_tables(void)
{
	kernel_map.levels = info.levels;
	kernel_map.leaf_levels = (1u << info.levels) - 1;
	kernel_map.table_offset = RV_EARLY_DIRECT_BASE;
	kernel_map.alloc = boot_table;
	kernel_map.root = boot_table(NULL);
	map_image();
	map_all_ram();
	if (kmap_reserve(&kernel_map, layout.vmemmap_base,
			 layout.vmemmap_end - layout.vmemmap_base) ||
	    kmap_reserve(&kernel_map, layout.vmalloc_base,
			 layout.vmalloc_end - layout.vmalloc_base) ||
	    kmap_reserve(&kernel_map, DEVICE_BASE, DEVICE_SIZE))
		rv_die("cannot reserve the kernel's ranges");
}

void rv_mmu_init(unsigned want_sv)
{
	unsigned levels = want_sv == 57 ? 5 : want_sv == 39 ? 3 : 4;

	while (levels > 3 && !mode_works(levels))
		levels--;
	choose_layout(levels);
	rv_clip_ram(layout.vmemmap_base - layout.direct_base);
	info.asid_bits = probe_asid_bits();
	build_tables();
	fence_all();
	csr_write(satp, satp_of(kernel_map.root, 0));
	fence_all();
	hal_direct_base = layout.direct_base;
	kernel_map.table_offset = layout.direct_base;
	info.hw_accessed_dirty = probe_hw_ad();
}

void *rv_map_device(phys_addr_t pa, uint64_t size)
{
	phys_addr_t first = ALIGN_DOWN(pa, PAGE_SIZE);
	uint64_t bytes = ALIGN_UP(pa + size, PAGE_SIZE) - first;
	uintptr_t va = device_next;

	if (va + bytes > DEVICE_BASE + DEVICE_SIZE ||
	    kmap_map(&kernel_map, va, first, bytes, kmap_prot(KMAP_R | KMAP_W, MT_DEVICE)))
		rv_die("cannot map device registers at 0x%lx", pa);
	device_next += bytes;
	fence_all();
	return (void *)(va + (pa - first));
}

const struct mmu_info *hal_mmu_info(void)
{
	return &info;
}

const struct kernel_layout *hal_kernel_layout(void)
{
	return &layout;
}

uintptr_t hal_stack_top(void)
{
	/* programs for Sv48 may count on 47 bits; wider addresses only for who asks for them */
	return min(info.user_end, 1ul << 47);
}

/* ---- address spaces -------------------------------------------------------------------------- */

int hal_space_init(struct arch_space *s, pfn_t root, bool user)
{
	const pteval_t *from = hal_phys_to_virt(kernel_map.root.n << ARCH_PAGE_SHIFT);
	pteval_t *to = hal_phys_to_virt(root.n << ARCH_PAGE_SHIFT);
	unsigned entries = 1u << ARCH_INDEX_BITS;

	for (unsigned i = entries / 2; i < entries; i++)
		hal_pte_set(&to[i], from[i]);
	*s = (struct arch_space){.root = root, .user = user};
	return 0;
}

static bool asid_valid(const struct arch_space *s)
{
	return s->generation == asid_generation;
}

static void asid_assign(struct arch_space *s)
{
	if (asid_next >= 1u << info.asid_bits) {
		asid_generation++;
		asid_next = 1;
		fence_all();
	}
	s->asid = asid_next++;
	s->generation = asid_generation;
}

void hal_space_switch(struct arch_space *s)
{
	bool supervisor = running && !running->user;

	if (s && info.asid_bits && !asid_valid(s))
		asid_assign(s);
	csr_write(satp, s ? satp_of(s->root, s->asid) : satp_of(kernel_map.root, 0));
	if (supervisor)
		fence_all(); /* its leaves may be global: no ASID keeps them apart */
	else if (!info.asid_bits)
		fence_asid(0);
	running = s;
	if (s)
		s->cpu_mask |= 1ull << hal_cpu_id();
}

bool rv_in_user_space(void)
{
	return running && running->user;
}

void hal_space_destroy(struct arch_space *s)
{
	irqflags_t flags = hal_irq_save();

	if (running == s)
		hal_space_switch(NULL);
	else if (asid_valid(s))
		fence_asid(s->asid);
	hal_irq_restore(flags);
	*s = (struct arch_space){0};
}

/* The kernel's own range, or a supervisor space's, whose leaves may be global. */
static void flush_supervisor(uintptr_t start, uintptr_t end, uint64_t step, bool freed_tables)
{
	if (freed_tables || (end - start) / step > FENCE_MAX) {
		fence_all();
		return;
	}
	for (uintptr_t va = start; va < end; va += step)
		fence_global(va);
}

/* A space without a current ASID has nothing cached: it will be given a flushed one. */
void hal_tlb_flush(struct arch_space *s, uintptr_t start, uintptr_t end, unsigned level,
		   bool freed_tables)
{
	uint64_t step = kmap_entry_size(level);

	if (!s || !s->user) {
		flush_supervisor(start, end, step, freed_tables);
		return;
	}
	if (info.asid_bits && !asid_valid(s))
		return;
	if (freed_tables || (end - start) / step > FENCE_MAX) {
		fence_asid(s->asid);
		return;
	}
	for (uintptr_t va = start; va < end; va += step)
		fence_page(va, s->asid);
}

/* The hart's own fetches, then those of every other hart the firmware has started for us. */
void hal_icache_sync(const void *start, size_t n)
{
	(void)start;
	(void)n;
	__asm__ volatile("fence rw, rw\n\tfence.i" : : : "memory");
	(void)sbi_call(SBI_RFENCE, SBI_RFENCE_I, 0, -1ul, 0);
}

/* ---- the kernel half ------------------------------------------------------------------------- */

int hal_kernel_map(uintptr_t va, pfn_t pfn, size_t npages, unsigned prot, enum mem_type mt,
		   table_alloc_fn alloc, void *ctx)
{
	struct kmap k = kernel_map;
	int err;

	ASSERT(!((prot & KMAP_W) && (prot & KMAP_X)));
	k.alloc = alloc;
	k.ctx = ctx;
	/* parts of vmalloc's mappings come and go; a large leaf could not be split */
	if (va >= layout.vmalloc_base && va < layout.vmalloc_end)
		k.leaf_levels = 1;
	err = kmap_map(&k, va, pfn.n << ARCH_PAGE_SHIFT, npages << ARCH_PAGE_SHIFT,
		       kmap_prot(prot, mt));
	flush_supervisor(va, va + npages * PAGE_SIZE, PAGE_SIZE, false);
	return err;
}

void hal_kernel_unmap(uintptr_t va, size_t npages)
{
	int err = kmap_unmap(&kernel_map, va, npages << ARCH_PAGE_SHIFT);

	ASSERT(!err);
}

void hal_kernel_flush(uintptr_t start, uintptr_t end)
{
	flush_supervisor(start, end, PAGE_SIZE, false);
}

/* ---- the dump -------------------------------------------------------------------------------- */

struct dump {
	void (*fn)(uintptr_t va, phys_addr_t pa, size_t size, struct pte_desc d, void *ctx);
	void *ctx;
};

static void dump_table(const struct dump *du, pfn_t table, unsigned level, uintptr_t va,
		       unsigned entries)
{
	const pteval_t *t = hal_phys_to_virt(table.n << ARCH_PAGE_SHIFT);

	for (unsigned i = 0; i < entries; i++, va += kmap_entry_size(level)) {
		struct pte_desc d = arch_pte_decode(hal_pte_get(&t[i]), level);

		if (d.kind == PTE_TABLE)
			dump_table(du, d.pfn, level - 1, va, 1u << ARCH_INDEX_BITS);
		else if (d.kind == PTE_LEAF && d.user)
			du->fn(va, d.pfn.n << ARCH_PAGE_SHIFT, kmap_entry_size(level), d, du->ctx);
	}
}

void hal_dump_user(void (*fn)(uintptr_t va, phys_addr_t pa, size_t size, struct pte_desc d,
			      void *ctx),
		   void *ctx)
{
	struct dump du = {fn, ctx};
	unsigned long satp = csr_read(satp);
	unsigned levels = (unsigned)(satp >> SATP_MODE_SHIFT) - SATP_MODE_SV39 + 3;

	dump_table(&du, PFN(satp & ((1ull << ARCH_PFN_BITS) - 1)), levels - 1, 0,
		   1u << (ARCH_INDEX_BITS - 1));
}
