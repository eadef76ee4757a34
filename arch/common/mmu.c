/* SPDX-License-Identifier: MIT */
/*
 * Address spaces and the kernel's half of them, shared by the ports (hal_space_*, hal_tlb_flush,
 * hal_kernel_map). The kernel's tables are made once at boot. A space's top table holds copies of
 * the kernel's upper half, so every upper entry that may ever be needed is made then too, and what
 * is mapped later shows in every space. Nothing here knows an entry's bits (kmap.c asks the
 * encoder) or an instruction (arch.h has them).
 *
 * Each CPU has the space that it runs in mmu_running, and its bit in that space's mask of CPUs, set
 * before the root is loaded: whoever changes an entry looks at the mask after the change, so either he
 * sees the bit or the CPU's walks see the change. Leaves of a supervisor space may be global, so leaving
 * one flushes everything.
 */
#include "arch/common/mmu.h"
#include "arch/common/boot.h"
#include "lib/bug.h"
#include "lib/lockdep.h"
#include <quire/abi.h>
#include "arch.h"

struct mmu_info mmu_info;
struct kernel_layout mmu_layout;
struct kmap mmu_kernel;
struct arch_space *mmu_running[ARCH_CPUS_MAX];

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

/* Maps device registers with tables that k's alloc gives; NULL: it gave none, or there is no room. */
static void *map_device(const struct kmap *k, phys_addr_t pa, uint64_t size)
{
	static uintptr_t next = ARCH_DEVICE_BASE;
	phys_addr_t first = ALIGN_DOWN(pa, PAGE_BYTES);
	uint64_t bytes = ALIGN_UP(pa + size, PAGE_BYTES) - first;
	uintptr_t va = next;

	if (bytes > ARCH_DEVICE_BASE + ARCH_DEVICE_SIZE - PAGE_BYTES - next ||
	    kmap_map(k, va, first, bytes, kmap_prot(KMAP_R | KMAP_W, MT_DEVICE)))
		return NULL;
	next += bytes + PAGE_BYTES;
	if (mmu_info.caches_invalid)
		hal_kernel_flush(va, va + bytes);
	return (void *)(va + (pa - first));
}

void *mmu_map_device(phys_addr_t pa, uint64_t size)
{
	void *regs = map_device(&mmu_kernel, pa, size);

	if (!regs)
		boot_die("no room for device registers at 0x%lx", pa);
	return regs;
}

static pfn_t no_table(void *ctx)
{
	return PFN(UINT64_MAX);
}

/* After boot the firmware's memory is the core's. The first table of the range, which boot made for
 * the console or the timer, has room for 2 MiB of registers; that is all that there is. */
void *hal_map_device(phys_addr_t pa, uint64_t size)
{
	struct kmap k = mmu_kernel;

	k.alloc = no_table;
	k.leaf_levels = 1;
	return map_device(&k, pa, size);
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

static uint64_t cpus_of(const struct arch_space *s)
{
	return __atomic_load_n(&s->cpus, __ATOMIC_SEQ_CST);
}

void hal_space_switch(struct arch_space *s)
{
	unsigned cpu = hal_cpu_id();
	struct arch_space *left = mmu_running[cpu];
	uint64_t bit = 1ull << cpu;

	if (s == left)
		return;
	if (s && !(__atomic_load_n(&s->cpus, __ATOMIC_RELAXED) & bit))
		__atomic_fetch_or(&s->cpus, bit, __ATOMIC_SEQ_CST);
	__atomic_store_n(&mmu_running[cpu], s, __ATOMIC_SEQ_CST);
	arch_space_load(s, s ? s->root : mmu_kernel.root);
	if (!left)
		return;
	if (!left->user)
		arch_flush_all();
	if (ARCH_SPACE_LEAVES || !left->user)
		__atomic_fetch_and(&left->cpus, ~bit, __ATOMIC_SEQ_CST);
}

static void flush_here(const struct mmu_flush *f)
{
	uintptr_t at = f->start;

	if (f->n)
		for (uint64_t n = f->n; n; n--, at += f->step)
			arch_flush_page(f->s, at);
	else if (f->user)
		arch_flush_space(f->s);
	else
		arch_flush_all(); /* a supervisor space may hold global entries */
}

static void flush_called(void *arg)
{
	flush_here(arg);
}

/* Of all these CPUs; the one that we are on may be another one at the end. */
static void flush_cpus(uint64_t cpus, const struct mmu_flush *f)
{
	irqflags_t flags = hal_irq_save();
	uint64_t self = 1ull << hal_cpu_id(), others = cpus & ~self & smp_online_now();

	others = others ? arch_flush_now(others, f) : 0;
	if (likely(!others) || arch_flush_others(others, f)) {
		if (cpus & self)
			flush_here(f);
		hal_irq_restore(flags);
		return;
	}
	hal_irq_restore(flags);
	smp_call(others | (cpus & self), flush_called, (void *)f);
}

static bool cpu_runs(unsigned cpu, const struct arch_space *s)
{
	const struct arch_space *runs = __atomic_load_n(&mmu_running[cpu], __ATOMIC_SEQ_CST);

	return s ? runs == s : runs != NULL;
}

static void leave_space(void *arg)
{
	if (mmu_running[hal_cpu_id()] == arg)
		hal_space_switch(NULL);
}

void hal_space_destroy(struct arch_space *s)
{
	uint64_t running = 0;

	for (unsigned c = 0; c < hal_cpus; c++)
		if (cpu_runs(c, s))
			running |= 1ull << c;
	if (running)
		smp_call(running, leave_space, s);
	if (s->user && cpus_of(s) && arch_space_cached(s))
		flush_cpus(cpus_of(s), &(struct mmu_flush){.s = s, .user = true});
	*s = (struct arch_space){0};
}

void hal_tlb_flush(struct arch_space *s, uintptr_t start, uintptr_t end, unsigned level,
		   bool freed_tables)
{
	struct mmu_flush f = {.s = s, .start = start, .step = kmap_entry_size(level),
			      .user = s && s->user};
	uint64_t n = (end - start + f.step - 1) >> (ARCH_PAGE_SHIFT + level * ARCH_INDEX_BITS);

	lockdep_waits_for_cpus();
	if (s && !arch_space_cached(s))
		return;
	if (!n)
		return;
	if (n <= ARCH_FLUSH_MAX && !(ARCH_FLUSH_TABLES && freed_tables))
		f.n = n;
	flush_cpus(s ? cpus_of(s) : smp_online_now(), &f);
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
