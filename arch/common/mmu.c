/* SPDX-License-Identifier: MIT */
/*
 * Address spaces and the kernel's half of them, shared by the ports (hal_space_*, hal_tlb_flush,
 * hal_kernel_map). The kernel's tables are made once at boot. A space's top table holds copies of
 * the kernel's upper half, so every upper entry that may ever be needed is made then too, and what
 * is mapped later shows in every space. Nothing here knows an entry's bits (kmap.c asks the
 * encoder) or an instruction (arch.h has them).
 *
 * One CPU runs. What it runs is mmu_running; leaves of a supervisor space may be global, so
 * leaving one flushes everything.
 */
#include "arch/common/mmu.h"
#include "arch/common/boot.h"
#include "lib/bug.h"
#include <quire/abi.h>
#include "arch.h"

struct mmu_info mmu_info;
struct kernel_layout mmu_layout;
struct kmap mmu_kernel;
struct arch_space *mmu_running;

const struct mmu_info *hal_mmu_info(void)
{
	return &mmu_info;
}

const struct kernel_layout *hal_kernel_layout(void)
{
	return &mmu_layout;
}

/* As on Linux: a program meets wider addresses only if it asks for them. */
uintptr_t hal_stack_top(void)
{
	return min(mmu_info.user_end, ARCH_STACK_TOP);
}

/* ---- boot ------------------------------------------------------------------------------------ */

static void map_or_die(uintptr_t va, phys_addr_t pa, uint64_t size, struct pte_desc proto)
{
	if (size && kmap_map(&mmu_kernel, va, pa, size, proto))
		boot_die("cannot map 0x%lx at 0x%lx", pa, va);
}

void mmu_map_image(const char *start, const char *end, unsigned prot)
{
	map_or_die((uintptr_t)start, hal_virt_to_phys(start), (uint64_t)(end - start),
		   kmap_prot(prot, MT_WB));
}

static void map_direct(phys_addr_t start, phys_addr_t end, unsigned prot)
{
	map_or_die(mmu_layout.direct_base + start, start, end - start, kmap_prot(prot, MT_WB));
}

void mmu_map_ram(phys_addr_t start, phys_addr_t end, const char *ro, const char *ro_end)
{
	phys_addr_t from = clamp(hal_virt_to_phys(ro), start, end);
	phys_addr_t to = clamp(hal_virt_to_phys(ro_end), start, end);

	map_direct(start, from, KMAP_R | KMAP_W);
	map_direct(from, to, KMAP_R);
	map_direct(to, end, KMAP_R | KMAP_W);
}

static void reserve(uintptr_t start, uintptr_t end)
{
	if (kmap_reserve(&mmu_kernel, start, end - start))
		boot_die("no room for the kernel's page tables");
}

void mmu_reserve_ranges(void)
{
	reserve(mmu_layout.vmalloc_base, mmu_layout.vmalloc_end);
	reserve(mmu_layout.vmemmap_base, mmu_layout.vmemmap_end);
	reserve(ARCH_DEVICE_BASE, ARCH_DEVICE_BASE + ARCH_DEVICE_SIZE);
}

void *mmu_map_device(phys_addr_t pa, uint64_t size)
{
	static uintptr_t next = ARCH_DEVICE_BASE;
	phys_addr_t first = ALIGN_DOWN(pa, PAGE_BYTES);
	uint64_t bytes = ALIGN_UP(pa + size, PAGE_BYTES) - first;
	uintptr_t va = next;

	next += bytes + PAGE_BYTES;
	if (next > ARCH_DEVICE_BASE + ARCH_DEVICE_SIZE)
		boot_die("no room for device registers at 0x%lx", pa);
	map_or_die(va, first, bytes, kmap_prot(KMAP_R | KMAP_W, MT_DEVICE));
	if (mmu_info.caches_invalid)
		hal_kernel_flush(va, va + bytes);
	return (void *)(va + (pa - first));
}

/* ---- address spaces -------------------------------------------------------------------------- */

int hal_space_init(struct arch_space *s, pfn_t root, bool user)
{
	const pteval_t *from = hal_phys_to_virt(mmu_kernel.root.n << ARCH_PAGE_SHIFT);
	pteval_t *to = hal_phys_to_virt(root.n << ARCH_PAGE_SHIFT);
	unsigned entries = 1u << ARCH_INDEX_BITS;

	/* the kernel's top entries were made at boot and never change: a plain read */
	for (unsigned i = entries / 2; i < entries; i++)
		hal_pte_set(&to[i], from[i]);
	*s = (struct arch_space){.root = root, .user = user};
	return 0;
}

void hal_space_switch(struct arch_space *s)
{
	const struct arch_space *left = mmu_running;

	if (s == left)
		return;
	arch_space_load(s, s ? s->root : mmu_kernel.root);
	mmu_running = s;
	if (left && !left->user)
		arch_flush_all();
}

void hal_space_destroy(struct arch_space *s)
{
	irqflags_t flags = hal_irq_save();

	if (mmu_running == s)
		hal_space_switch(NULL);
	else if (s->user && arch_space_cached(s))
		arch_flush_space(s);
	hal_irq_restore(flags);
	*s = (struct arch_space){0};
}

void hal_tlb_flush(struct arch_space *s, uintptr_t start, uintptr_t end, unsigned level,
		   bool freed_tables)
{
	uint64_t step = kmap_entry_size(level);
	uint64_t n = (end - start + step - 1) >> (ARCH_PAGE_SHIFT + level * ARCH_INDEX_BITS);

	if (s && !arch_space_cached(s))
		return;
	if (n <= ARCH_FLUSH_MAX && !(ARCH_FLUSH_TABLES && freed_tables))
		for (; n; n--, start += step)
			arch_flush_page(s, start);
	else if (s && s->user)
		arch_flush_space(s);
	else
		arch_flush_all(); /* a supervisor space may hold global entries */
}

/* ---- the kernel half ------------------------------------------------------------------------- */

static bool in_range(uintptr_t va, uint64_t size, uintptr_t base, uintptr_t end)
{
	return va >= base && va < end && size <= end - va;
}

int hal_kernel_map(uintptr_t va, pfn_t pfn, size_t npages, unsigned prot, enum mem_type mt,
		   table_alloc_fn alloc, void *ctx)
{
	struct kmap k = mmu_kernel;
	uint64_t size = (uint64_t)npages << ARCH_PAGE_SHIFT;
	bool vmemmap = in_range(va, size, mmu_layout.vmemmap_base, mmu_layout.vmemmap_end);
	int err;

	if (!vmemmap && !in_range(va, size, mmu_layout.vmalloc_base, mmu_layout.vmalloc_end))
		return -EINVAL;
	if ((prot & KMAP_W) && (prot & KMAP_X))
		return -EINVAL;
	k.alloc = alloc;
	k.ctx = ctx;
	if (!vmemmap)
		k.leaf_levels = 1; /* it may be unmapped in other pieces than it was mapped */
	err = kmap_map(&k, va, pfn.n << ARCH_PAGE_SHIFT, size, kmap_prot(prot, mt));
	if (mmu_info.caches_invalid)
		hal_kernel_flush(va, va + size);
	return err;
}

void hal_kernel_unmap(uintptr_t va, size_t npages)
{
	int err = kmap_unmap(&mmu_kernel, va, (uint64_t)npages << ARCH_PAGE_SHIFT);

	ASSERT(!err);
}

void hal_kernel_flush(uintptr_t start, uintptr_t end)
{
	hal_tlb_flush(NULL, start, end, 0, false);
}
