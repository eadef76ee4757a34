/* SPDX-License-Identifier: MIT */
/*
 * The MMU: the kernel's own tables, made once at boot, address spaces over them, TLB flushes, the
 * kernel ranges that the core maps later, and a walk of the live tables.
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
 * executable. The page below the boot stack is absent. A space's top table holds copies of the
 * kernel's upper half, so every upper entry that may ever be needed is made at boot.
 */
#include "x86.h"

#define DEVICE_BASE 0xffffffff40000000ull
#define TOP_ENTRIES (1u << ARCH_INDEX_BITS)
#define FLUSH_ONE_BY_ONE 33 /* more pages than this: one full flush is cheaper */

uintptr_t hal_direct_base; /* 0 on the boot tables, which map one to one */

static struct mmu_info info;
uintptr_t x86_user_end;
static struct kernel_layout layout;
static struct kmap kernel_map;
static uintptr_t next_device = DEVICE_BASE;
static struct arch_space *running; /* what CR3 holds; NULL: the kernel's own tables */

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
	/* as Linux: a program meets addresses beyond 47 bits only if it asks for them */
	return (1ul << 47) - PAGE_BYTES;
}

bool x86_canonical(uint64_t va)
{
	unsigned unused = 64 - info.va_bits;

	return (uint64_t)((int64_t)(va << unused) >> unused) == va;
}

/* ---- boot ------------------------------------------------------------------------------------ */

static void choose_layout(bool la57)
{
	info = (struct mmu_info){
		.levels = la57 ? 5 : 4,
		.va_bits = la57 ? 57 : 48,
		.user_end = (1ul << (la57 ? 56 : 47)) - PAGE_BYTES,
		.hw_accessed_dirty = true,
	};
	x86_user_end = info.user_end;
	layout = la57 ? (struct kernel_layout){
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

static void must(int err)
{
	if (err)
		x86_die("no room for the kernel's page tables");
}

/* RAM [start, end) into the direct map, all of it with the same rights. */
static void direct_piece(uint64_t start, uint64_t end, unsigned prot)
{
	if (start < end)
		must(kmap_map(&kernel_map, layout.direct_base + start, start, end - start,
			      kmap_prot(prot, MT_WB)));
}

/* One RAM span; the part of it that holds the image's text and constants is read-only. */
static void direct_span(uint64_t start, uint64_t end)
{
	uint64_t ro = clamp(hal_virt_to_phys(__text_start), start, end);
	uint64_t ro_end = clamp(hal_virt_to_phys(__rodata_end), start, end);

	direct_piece(start, ro, KMAP_R | KMAP_W);
	direct_piece(ro, ro_end, KMAP_R);
	direct_piece(ro_end, end, KMAP_R | KMAP_W);
}

static void direct_map(void)
{
	for (unsigned i = 0; i < x86_nspans; i++) {
		struct x86_span *s = &x86_spans[i];

		if (!s->ram)
			continue;
		if (s->end > DIRECT_SPACE) {
			x86_log("quire: boot: RAM %#lx-%#lx lies beyond %#lx, left out",
				max(s->start, DIRECT_SPACE), s->end, DIRECT_SPACE);
			s->end = max(s->start, DIRECT_SPACE);
		}
		direct_span(s->start, s->end);
	}
}

static void image_piece(const char *start, const char *end, unsigned prot)
{
	if (start < end)
		must(kmap_map(&kernel_map, (uintptr_t)start, hal_virt_to_phys(start),
			      (uint64_t)(end - start), kmap_prot(prot, MT_WB)));
}

void x86_mmu_init(void)
{
	choose_layout(read_cr4() & CR4_LA57);
	kernel_map = (struct kmap){
		.root = x86_early_page(NULL),
		.levels = info.levels,
		.leaf_levels = x86_has_1g ? 7 : 3,
		.alloc = x86_early_page,
	};
	must(kernel_map.root.n == UINT64_MAX);

	image_piece(__text_start, __text_end, KMAP_R | KMAP_X);
	image_piece(__rodata_start, __rodata_end, KMAP_R);
	image_piece(__data_start, __boot_stack_guard, KMAP_R | KMAP_W);
	image_piece(__boot_stack_guard + PAGE_BYTES, __image_end, KMAP_R | KMAP_W);
	direct_map();
	must(kmap_reserve(&kernel_map, layout.vmalloc_base,
			  layout.vmalloc_end - layout.vmalloc_base));
	must(kmap_reserve(&kernel_map, layout.vmemmap_base,
			  layout.vmemmap_end - layout.vmemmap_base));

	write_cr3(kernel_map.root.n << ARCH_PAGE_SHIFT);
	/* the boot tables' global entries, if any, go with the toggle */
	write_cr4(read_cr4() & ~CR4_PGE);
	write_cr4(read_cr4() | CR4_PGE);
	hal_direct_base = layout.direct_base;
	kernel_map.table_offset = layout.direct_base;
}

volatile void *x86_map_device(uint64_t pa)
{
	uintptr_t va = next_device;

	must(kmap_map(&kernel_map, va, pa & ~(PAGE_BYTES - 1), PAGE_BYTES,
		      kmap_prot(KMAP_R | KMAP_W, MT_DEVICE)));
	next_device += 2 * PAGE_BYTES; /* an absent page between any two */
	return (volatile void *)(va + (pa & (PAGE_BYTES - 1)));
}

/* ---- flushes --------------------------------------------------------------------------------- */

static void invlpg(uintptr_t va)
{
	__asm__ volatile("invlpg (%0)" : : "r"(va) : "memory");
}

static void flush_all_global(void)
{
	uint64_t cr4 = read_cr4();

	write_cr4(cr4 & ~CR4_PGE);
	write_cr4(cr4);
}

void hal_tlb_flush(struct arch_space *s, uintptr_t start, uintptr_t end, unsigned level,
		   bool freed_tables)
{
	uint64_t step = kmap_entry_size(level);
	uint64_t n = (end - start + step - 1) / step;

	/* a space that does not run left nothing behind: loading CR3 dropped it. One page's
	 * invlpg also drops what is cached of upper levels, so freed tables need no more. */
	(void)freed_tables;
	if (s && s != running)
		return;
	if (n <= FLUSH_ONE_BY_ONE)
		for (uintptr_t va = start; n; n--, va += step)
			invlpg(va);
	else if (s && s->user)
		write_cr3(read_cr3());
	else
		flush_all_global(); /* a supervisor space may hold global entries */
}

void hal_icache_sync(const void *start, size_t n)
{
	/* instruction fetch is coherent with stores here; only the compiler must not move them */
	(void)start;
	(void)n;
	__asm__ volatile("" : : : "memory");
}

/* ---- spaces ---------------------------------------------------------------------------------- */

int hal_space_init(struct arch_space *s, pfn_t root, bool user)
{
	const pteval_t *from = hal_phys_to_virt(kernel_map.root.n << ARCH_PAGE_SHIFT);
	pteval_t *to = hal_phys_to_virt(root.n << ARCH_PAGE_SHIFT);

	for (unsigned i = TOP_ENTRIES / 2; i < TOP_ENTRIES; i++)
		hal_pte_set(&to[i], hal_pte_get(&from[i]));
	*s = (struct arch_space){.root = root, .user = user};
	return 0;
}

void hal_space_destroy(struct arch_space *s)
{
	if (running == s) {
		irqflags_t f = hal_irq_save();

		hal_space_switch(NULL);
		hal_irq_restore(f);
	}
	s->cpus = 0;
}

void hal_space_switch(struct arch_space *s)
{
	bool supervisor = running && !running->user;

	if (s == running)
		return;
	if (running)
		running->cpus &= ~(1ull << hal_cpu_id());
	if (s)
		s->cpus |= 1ull << hal_cpu_id();
	running = s;
	write_cr3((s ? s->root.n : kernel_map.root.n) << ARCH_PAGE_SHIFT);
	if (supervisor)
		flush_all_global(); /* its leaves may be global, which CR3 does not drop */
}

bool x86_in_user_space(void)
{
	return running && running->user;
}

/* ---- kernel ranges --------------------------------------------------------------------------- */

static bool in_range(uintptr_t va, uint64_t size, uintptr_t base, uintptr_t end)
{
	return va >= base && va < end && size <= end - va;
}

int hal_kernel_map(uintptr_t va, pfn_t pfn, size_t npages, unsigned prot, enum mem_type mt,
		   table_alloc_fn alloc, void *ctx)
{
	struct kmap k = kernel_map;
	uint64_t size = (uint64_t)npages << ARCH_PAGE_SHIFT;
	bool vmemmap = in_range(va, size, layout.vmemmap_base, layout.vmemmap_end);

	if (!vmemmap && !in_range(va, size, layout.vmalloc_base, layout.vmalloc_end))
		return -EINVAL;
	if ((prot & KMAP_W) && (prot & KMAP_X))
		return -EINVAL;
	k.alloc = alloc;
	k.ctx = ctx;
	if (!vmemmap)
		k.leaf_levels = 1; /* it may be unmapped in other pieces than it was mapped */
	return kmap_map(&k, va, pfn.n << ARCH_PAGE_SHIFT, size, kmap_prot(prot, mt));
}

void hal_kernel_unmap(uintptr_t va, size_t npages)
{
	(void)kmap_unmap(&kernel_map, va, (uint64_t)npages << ARCH_PAGE_SHIFT);
}

/* Kernel entries are global: they outlive a change of CR3. */
void hal_kernel_flush(uintptr_t start, uintptr_t end)
{
	if ((end - start) >> ARCH_PAGE_SHIFT > FLUSH_ONE_BY_ONE) {
		flush_all_global();
		return;
	}
	for (; start < end; start += PAGE_BYTES)
		invlpg(start);
}

/* ---- user copies ----------------------------------------------------------------------------- */

size_t x86_copy_to(void *dst, const void *src, size_t n);
size_t x86_copy_from(void *dst, const void *src, size_t n);
size_t x86_user_clear(void *dst, size_t n);

static bool user_range(uintptr_t va, size_t n)
{
	return va <= info.user_end && n <= info.user_end - va;
}

size_t hal_copy_from_user(void *dst, uintptr_t src, size_t n)
{
	return user_range(src, n) ? x86_copy_from(dst, (const void *)src, n) : n;
}

size_t hal_copy_to_user(uintptr_t dst, const void *src, size_t n)
{
	return user_range(dst, n) ? x86_copy_to((void *)dst, src, n) : n;
}

size_t hal_clear_user(uintptr_t dst, size_t n)
{
	return user_range(dst, n) ? x86_user_clear((void *)dst, n) : n;
}

uintptr_t x86_fixup(uintptr_t ip)
{
	for (const struct x86_ex_entry *e = __ex_table_start; e < __ex_table_end; e++)
		if (e->ip == ip)
			return e->fixup;
	return 0;
}

/* ---- a look at the live tables --------------------------------------------------------------- */

struct dump {
	void (*fn)(uintptr_t va, phys_addr_t pa, size_t size, struct pte_desc d, void *ctx);
	void *ctx;
};

/* Raw bits, not arch_pte_decode(): this tells what the hardware does, even with a word that no
 * encoder wrote. rights: RW and US of the way so far, and NX if any level forbids execution. */
static void dump_table(const struct dump *d, phys_addr_t table, uintptr_t va, unsigned level,
		       pteval_t rights)
{
	const pteval_t *entries = hal_phys_to_virt(table);
	unsigned n = level == info.levels - 1 ? TOP_ENTRIES / 2 : TOP_ENTRIES;

	for (unsigned i = 0; i < n; i++) {
		pteval_t v = hal_pte_get(&entries[i]);
		uint64_t size = kmap_entry_size(level);
		pteval_t both = (rights & v & (X86_PTE_RW | X86_PTE_US)) |
				((rights | v) & X86_PTE_NX);

		if (!(v & X86_PTE_P))
			continue;
		if (level && !(v & X86_PTE_PS)) {
			dump_table(d, v & X86_PTE_FRAME, va + i * size, level - 1, both);
		} else if (both & X86_PTE_US) {
			struct pte_desc leaf = {
				.kind = PTE_LEAF,
				.pfn = PFN((v & X86_PTE_FRAME & ~(size - 1)) >> ARCH_PAGE_SHIFT),
				.r = true,
				.w = both & X86_PTE_RW,
				.x = !(both & X86_PTE_NX),
				.user = true,
				.global = v & X86_PTE_G,
			};

			x86_soft_decode(v, &leaf);
			d->fn(va + i * size, leaf.pfn.n << ARCH_PAGE_SHIFT, size, leaf, d->ctx);
		}
	}
}

void hal_dump_user(void (*fn)(uintptr_t va, phys_addr_t pa, size_t size, struct pte_desc d,
			      void *ctx),
		   void *ctx)
{
	const struct dump d = {fn, ctx};

	dump_table(&d, read_cr3() & X86_PTE_FRAME, 0, info.levels - 1, X86_PTE_RW | X86_PTE_US);
}
