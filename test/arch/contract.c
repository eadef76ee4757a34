/* SPDX-License-Identifier: MIT */
/*
 * The contract test (contract.h). Each test is one function that says what it found wrong through
 * CHECK; docs/hal.md names the law that it holds the machine to. User memory is reached by
 * hal_copy_*_user() alone, tables are built by hand, so nothing of mm/ is needed or believed.
 */
#include "test/arch/contract.h"

#include "lib/bits.h"
#include "lib/printf.h"
#include <quire/abi.h>

#define PAGE	((uintptr_t)1 << ARCH_PAGE_SHIFT)
#define ENTRIES (1u << ARCH_INDEX_BITS)
#define MAX_RANGES 64
#define VA	(1ull << 32) /* where the tests map: low enough for every machine */
#define SCRATCH (3ull << 32)

static const char *failure;
static int failure_line;

#define CHECK(cond)                              \
	do {                                     \
		if (!(cond)) {                   \
			failure = #cond;         \
			failure_line = __LINE__; \
			return;                  \
		}                                \
	} while (0)

/* ---- memory to test with --------------------------------------------------------------------- */

static struct mem_range ranges[MAX_RANGES];
static unsigned nranges;
static phys_addr_t bump;

static void note_range(const struct mem_range *r, void *ctx)
{
	unsigned *seen = ctx;

	++*seen;
	if (nranges < MAX_RANGES)
		ranges[nranges++] = *r;
}

/* The end of a range that is not RAM and overlaps [a, b), or 0. */
static phys_addr_t blocked(phys_addr_t a, phys_addr_t b)
{
	for (unsigned i = 0; i < nranges; i++)
		if (ranges[i].kind != MEM_RAM && ranges[i].start < b && a < ranges[i].end)
			return ranges[i].end;
	return 0;
}

static bool inside_ram(phys_addr_t a, phys_addr_t b)
{
	for (unsigned i = 0; i < nranges; i++)
		if (ranges[i].kind == MEM_RAM && ranges[i].start <= a && b <= ranges[i].end)
			return true;
	return false;
}

static phys_addr_t ram_end(void)
{
	phys_addr_t end = 0;

	for (unsigned i = 0; i < nranges; i++)
		if (ranges[i].kind == MEM_RAM && ranges[i].end > end)
			end = ranges[i].end;
	return end;
}

/* n zeroed bytes of free RAM, aligned to n (a power of two); UINT64_MAX: there is none. */
static phys_addr_t take(uint64_t n)
{
	phys_addr_t a = (bump + n - 1) & ~(n - 1), next;

	while (a + n <= ram_end()) {
		next = blocked(a, a + n);
		if (!next && inside_ram(a, a + n)) {
			bump = a + n;
			for (uint64_t off = 0; off < n; off += PAGE)
				hal_clear_page(hal_phys_to_virt(a + off));
			return a;
		}
		a = next ? (next + n - 1) & ~(n - 1) : a + n;
	}
	return UINT64_MAX;
}

static pfn_t page_frame(void)
{
	return PFN(take(PAGE) >> ARCH_PAGE_SHIFT);
}

static void *kva(pfn_t pfn)
{
	return hal_phys_to_virt(pfn.n << ARCH_PAGE_SHIFT);
}

static pfn_t give_table(void *ctx)
{
	return page_frame();
}

/* ---- tables by hand -------------------------------------------------------------------------- */

static struct arch_space space;

static pteval_t *entry_in(pfn_t table, uintptr_t va, unsigned level)
{
	unsigned shift = ARCH_PAGE_SHIFT + level * ARCH_INDEX_BITS;

	return (pteval_t *)kva(table) + ((va >> shift) & (ENTRIES - 1));
}

/* The entry of va at that level, tables made on the way. */
static pteval_t *slot(struct arch_space *s, uintptr_t va, unsigned level)
{
	pfn_t table = s->root;

	for (unsigned l = hal_mmu_info()->levels - 1; l > level; l--) {
		pteval_t *e = entry_in(table, va, l);
		struct pte_desc d = arch_pte_decode(hal_pte_get(e), l);

		if (d.kind == PTE_NONE) {
			d = (struct pte_desc){.kind = PTE_TABLE, .pfn = page_frame()};
			hal_pte_set(e, arch_pte_encode(d, l));
			hal_pt_published(s, va);
		}
		table = d.pfn;
	}
	return entry_in(table, va, level);
}

static struct pte_desc user_leaf(pfn_t pfn, bool w)
{
	return (struct pte_desc){.kind = PTE_LEAF, .pfn = pfn, .r = true, .w = w, .user = true,
				 .accessed = true, .dirty = w};
}

static void map_desc(uintptr_t va, struct pte_desc d)
{
	hal_pte_set(slot(&space, va, 0), arch_pte_encode(d, 0));
	if (d.kind == PTE_LEAF)
		hal_pt_published(&space, va);
}

static pfn_t map_page(uintptr_t va, bool w)
{
	pfn_t pfn = page_frame();

	map_desc(va, user_leaf(pfn, w));
	return pfn;
}

static void unmap_page(uintptr_t va)
{
	hal_pte_xchg(slot(&space, va, 0), 0);
	hal_tlb_flush(&space, va, va + PAGE, 0, false);
}

static struct pte_desc live(uintptr_t va)
{
	return arch_pte_decode(hal_pte_get(slot(&space, va, 0)), 0);
}

static void switch_to(struct arch_space *s)
{
	irqflags_t flags = hal_irq_save();

	hal_space_switch(s);
	hal_irq_restore(flags);
}

static bool put(uintptr_t va, uint64_t v)
{
	return hal_copy_to_user(va, &v, sizeof(v)) == 0;
}

static bool get(uintptr_t va, uint64_t *v)
{
	*v = 0;
	return hal_copy_from_user(v, va, sizeof(*v)) == 0;
}

static bool holds(uintptr_t va, uint64_t want)
{
	uint64_t v;

	return get(va, &v) && v == want;
}

/* ---- faults ---------------------------------------------------------------------------------- */

static struct fault_info last_fault;
static unsigned faults;
static bool (*on_fault)(const struct fault_info *fi);

bool contract_fault(const struct fault_info *fi)
{
	last_fault = *fi;
	faults++;
	return on_fault && on_fault(fi);
}

bool contract_scratch_user(uintptr_t *va)
{
	*va = SCRATCH;
	if (live(SCRATCH).kind == PTE_NONE)
		map_page(SCRATCH, true);
	return true;
}

/* ---- what there is --------------------------------------------------------------------------- */

static void test_mmu_info(void)
{
	const struct mmu_info *i = hal_mmu_info();

	CHECK(i->levels >= 2 && i->levels <= ARCH_MAX_LEVELS);
	CHECK(i->va_bits == ARCH_PAGE_SHIFT + i->levels * ARCH_INDEX_BITS);
	CHECK(i->user_end % PAGE == 0 && i->user_end > VA);
	CHECK(i->user_end <= 1ull << (i->va_bits - 1));
	CHECK(hal_mmu_info() == i);
}

static void test_layout(void)
{
	const struct kernel_layout *l = hal_kernel_layout();

	CHECK(l->vmemmap_base % PAGE == 0 && l->vmemmap_base < l->vmemmap_end);
	CHECK(l->vmalloc_base % PAGE == 0 && l->vmalloc_base < l->vmalloc_end);
	CHECK(l->vmemmap_end <= l->vmalloc_base || l->vmalloc_end <= l->vmemmap_base);
	/* room for a struct page of 64 bytes for every frame */
	CHECK((l->vmemmap_end - l->vmemmap_base) / 64 >= ram_end() >> ARCH_PAGE_SHIFT);
	CHECK(hal_phys_to_virt(0) == (void *)l->direct_base);
}

static void test_ranges(void)
{
	unsigned ram = 0;

	CHECK(nranges > 0 && nranges < MAX_RANGES);
	for (unsigned i = 0; i < nranges; i++) {
		CHECK(ranges[i].start < ranges[i].end);
		ram += ranges[i].kind == MEM_RAM;
	}
	CHECK(ram > 0);
	CHECK(take(PAGE) != UINT64_MAX);
}

static void test_direct_map(void)
{
	phys_addr_t prev = 0;

	for (unsigned i = 0; i < 16; i++) {
		phys_addr_t pa = take(PAGE);
		volatile uint64_t *p = hal_phys_to_virt(pa);

		CHECK(hal_virt_to_phys((void *)p) == pa);
		CHECK((uintptr_t)p == hal_kernel_layout()->direct_base + pa);
		*p = pa ^ 0x5a5a;
		if (prev)
			CHECK(*(volatile uint64_t *)hal_phys_to_virt(prev) == (prev ^ 0x5a5a));
		prev = pa;
	}
}

/* The last page of RAM is as usable as the first. */
static void test_last_frame(void)
{
	phys_addr_t a = (ram_end() & ~(PAGE - 1)) - PAGE;

	while (a && (blocked(a, a + PAGE) || !inside_ram(a, a + PAGE)))
		a -= PAGE;
	CHECK(a != 0);
	*(volatile uint64_t *)hal_phys_to_virt(a + PAGE - 8) = 77;
	CHECK(*(volatile uint64_t *)hal_phys_to_virt(a + PAGE - 8) == 77);
}

/* ---- processor ------------------------------------------------------------------------------- */

static void test_cpu(void)
{
	uint64_t c = hal_cycles();

	CHECK(hal_cpu_count() >= 1 && hal_cpu_id() < hal_cpu_count());
	for (int i = 0; i < 100; i++)
		hal_cpu_relax();
	CHECK(hal_cycles() >= c);
}

static void test_irq_nesting(void)
{
	bool before = hal_irqs_off();
	irqflags_t a = hal_irq_save(), b;

	CHECK(hal_irqs_off());
	b = hal_irq_save();
	CHECK(hal_irqs_off());
	hal_irq_restore(b);
	CHECK(hal_irqs_off());
	hal_irq_restore(a);
	CHECK(hal_irqs_off() == before);
}

static unsigned called;

static void call_me(void *arg)
{
	called += *(unsigned *)arg;
}

static void test_ipi_leaves_the_caller_out(void)
{
	unsigned one = 1, others = (unsigned)hweight64(hal_cpus_online()) - 1;

	called = 0;
	hal_ipi_call(1ull << hal_cpu_id(), call_me, &one);
	CHECK(called == 0);
	if (!hal_irqs_off() && others) {
		hal_ipi_call(~0ull, call_me, &one);
		CHECK(called == others);
	}
}

/* ---- pages ----------------------------------------------------------------------------------- */

static void test_clear_and_copy(void)
{
	unsigned char *a = kva(page_frame()), *b = kva(page_frame());

	for (unsigned i = 0; i < PAGE; i++)
		a[i] = i * 7 + 1;
	hal_copy_page(b, a);
	for (unsigned i = 0; i < PAGE; i++)
		CHECK(b[i] == (unsigned char)(i * 7 + 1));
	hal_clear_page(a);
	for (unsigned i = 0; i < PAGE; i++)
		CHECK(a[i] == 0 && b[i] == (unsigned char)(i * 7 + 1));
}

static void test_poison_is_undone(void)
{
	volatile unsigned char *p = kva(page_frame());

	hal_poison((void *)p, PAGE);
	hal_unpoison((void *)p, PAGE);
	p[0] = 1;
	p[PAGE - 1] = 2;
	hal_poison((void *)(p + 64), 128);
	hal_unpoison((void *)(p + 64), 128);
	p[64] = 3;
	CHECK(p[0] == 1 && p[PAGE - 1] == 2 && p[64] == 3);
}

static void test_icache_sync(void)
{
	unsigned char *p = kva(page_frame());

	hal_icache_sync(p, PAGE);
	hal_icache_sync(p + 4, 8);
	CHECK(p[0] == 0);
}

/* ---- live entries ---------------------------------------------------------------------------- */

static void test_pte_atomics(void)
{
	pteval_t *p = kva(page_frame()); /* a table that nobody walks */
	pteval_t a = arch_pte_encode(user_leaf(PFN(5), true), 0);
	pteval_t b = arch_pte_encode(user_leaf(PFN(6), false), 0);

	CHECK(hal_pte_get(p) == 0);
	hal_pte_set(p, a);
	CHECK(hal_pte_get(p) == a);
	CHECK(hal_pte_xchg(p, b) == a && hal_pte_get(p) == b);
	CHECK(hal_pte_cmpxchg(p, a, 0) == b && hal_pte_get(p) == b);
	CHECK(hal_pte_cmpxchg(p, b, a) == b && hal_pte_get(p) == a);
	CHECK(p[1] == 0);
}

static void test_pte_accessed_and_wrprotect(void)
{
	pteval_t *p = kva(page_frame()), a = arch_pte_encode(user_leaf(PFN(5), true), 0);
	struct pte_desc d;

	hal_pte_set(p, a);
	CHECK(hal_pte_clear_accessed(p, 0) == a);
	d = arch_pte_decode(hal_pte_get(p), 0);
	CHECK(d.kind == PTE_LEAF && !d.accessed && d.dirty && d.w && d.pfn.n == 5);
	hal_pte_set(p, a);
	CHECK(hal_pte_wrprotect(p, 0) == a);
	d = arch_pte_decode(hal_pte_get(p), 0);
	CHECK(d.kind == PTE_LEAF && d.accessed && d.dirty && !d.w && d.r && d.user);
	a = hal_pte_get(p);
	CHECK(hal_pte_wrprotect(p, 0) == a && hal_pte_get(p) == a);
}

/* ---- spaces ---------------------------------------------------------------------------------- */

static void test_map_by_hand(void)
{
	pfn_t pfn = map_page(VA, true);

	CHECK(put(VA, 0x1122334455667788ull));
	CHECK(*(volatile uint64_t *)kva(pfn) == 0x1122334455667788ull);
	*(volatile uint64_t *)kva(pfn) = 42;
	CHECK(holds(VA, 42));
	CHECK(put(VA + PAGE - 8, 43) && holds(VA + PAGE - 8, 43));
	unmap_page(VA);
	CHECK(!put(VA, 1));
	CHECK(*(volatile uint64_t *)kva(pfn) == 42);
}

static void test_copies_tell_the_rest(void)
{
	unsigned char buf[64];

	map_page(VA, true);
	for (unsigned i = 0; i < sizeof(buf); i++)
		buf[i] = i;
	/* the second page is not there: exactly its bytes are left */
	CHECK(hal_copy_to_user(VA + PAGE - 24, buf, 64) == 40);
	CHECK(hal_copy_from_user(buf, VA + PAGE - 24, 64) == 40);
	CHECK(hal_clear_user(VA + PAGE - 10, 64) == 54);
	CHECK(hal_copy_from_user(buf, VA + PAGE - 24, 24) == 0);
	CHECK(buf[0] == 0 && buf[13] == 13 && buf[14] == 0 && buf[23] == 0);
	CHECK(hal_copy_to_user(VA, buf, 0) == 0);
	unmap_page(VA);
}

static void test_copies_stay_below_user_end(void)
{
	uint64_t v = 1;
	uintptr_t end = hal_mmu_info()->user_end;

	faults = 0;
	CHECK(hal_copy_to_user(end, &v, 8) == 8);
	CHECK(hal_copy_to_user(end - 4, &v, 8) == 8);
	CHECK(hal_copy_from_user(&v, UINTPTR_MAX - 3, 8) == 8);
	if (hal_kernel_layout()->direct_base >= end) /* on a hosted machine it may lie anywhere */
		CHECK(hal_clear_user((uintptr_t)kva(space.root), 8) == 8);
	CHECK(hal_copy_to_user(VA, &v, SIZE_MAX) == SIZE_MAX);
	CHECK(faults == 0); /* refused before anything was touched */
}

static void test_two_spaces(void)
{
	struct arch_space other;
	pfn_t mine = map_page(VA, true), theirs = page_frame();

	CHECK(put(VA, 1));
	CHECK(hal_space_init(&other, page_frame(), true) == 0);
	hal_pte_set(slot(&other, VA, 0), arch_pte_encode(user_leaf(theirs, true), 0));
	hal_pt_published(&other, VA);
	switch_to(&other);
	CHECK(holds(VA, 0));
	CHECK(put(VA, 2));
	switch_to(&space);
	CHECK(holds(VA, 1));
	CHECK(*(volatile uint64_t *)kva(theirs) == 2 && *(volatile uint64_t *)kva(mine) == 1);
	switch_to(NULL);
	hal_space_destroy(&other);
	switch_to(&space);
	CHECK(holds(VA, 1));
	unmap_page(VA);
}

/* ---- faults and rights ----------------------------------------------------------------------- */

static pfn_t demand_frame;

static bool demand(const struct fault_info *fi)
{
	map_desc(fi->addr & ~(PAGE - 1), user_leaf(demand_frame, true));
	return true;
}

/* The code that the processor reported must not contradict what the core would derive. */
static bool code_is(uint32_t derived)
{
	return ((last_fault.raw_code ^ derived) & last_fault.raw_mask) == 0;
}

static void test_fault_is_resolved_and_told(void)
{
	demand_frame = page_frame();
	on_fault = demand;
	faults = 0;
	CHECK(put(VA + 0x123, 9));
	CHECK(faults == 1);
	CHECK(last_fault.addr == VA + 0x123 && last_fault.access == FAULT_WRITE);
	CHECK(!last_fault.user && last_fault.fixup != 0);
	CHECK(last_fault.kind == FAULT_TRANSLATION && code_is(FAULT_CODE_WRITE));
	on_fault = NULL;
	unmap_page(VA);
	faults = 0;
	CHECK(!holds(VA + 8, 9)); /* a copy may try the last bytes once more: faults are not counted */
	CHECK(faults > 0 && last_fault.addr == VA + 8 && last_fault.access == FAULT_READ);
	CHECK(code_is(0));
}

static void test_read_only(void)
{
	pfn_t pfn = map_page(VA, false);

	*(volatile uint64_t *)kva(pfn) = 5;
	CHECK(holds(VA, 5));
	faults = 0;
	CHECK(!put(VA, 6));
	CHECK(faults > 0 && last_fault.access == FAULT_WRITE);
	CHECK(code_is(FAULT_CODE_WRITE | FAULT_CODE_PRESENT));
	CHECK(holds(VA, 5));
	unmap_page(VA);
}

static void test_wrprotect_and_flush(void)
{
	pfn_t pfn = map_page(VA, true);

	CHECK(put(VA, 1));
	hal_pte_wrprotect(slot(&space, VA, 0), 0);
	hal_tlb_flush(&space, VA, VA + PAGE, 0, false);
	CHECK(!put(VA, 2) && holds(VA, 1));
	/* rights may come back without a flush: at worst one more fault */
	map_desc(VA, user_leaf(pfn, true));
	CHECK(put(VA, 3));
	unmap_page(VA);
}

static void test_frame_changes_through_absent(void)
{
	pfn_t old = map_page(VA, true), new;

	CHECK(put(VA, 1));
	unmap_page(VA);
	new = map_page(VA, true);
	CHECK(holds(VA, 0) && put(VA, 2));
	CHECK(*(volatile uint64_t *)kva(old) == 1 && *(volatile uint64_t *)kva(new) == 2);
	unmap_page(VA);
}

static void test_flush_of_a_range(void)
{
	for (unsigned i = 0; i < 80; i++) {
		map_page(VA + i * PAGE, true);
		CHECK(put(VA + i * PAGE, i));
	}
	for (unsigned i = 10; i < 70; i++)
		hal_pte_xchg(slot(&space, VA + i * PAGE, 0), 0);
	hal_tlb_flush(&space, VA + 10 * PAGE, VA + 70 * PAGE, 0, false);
	for (unsigned i = 0; i < 80; i++)
		CHECK(holds(VA + i * PAGE, i) == (i < 10 || i >= 70));
	for (unsigned i = 0; i < 80; i++)
		hal_pte_xchg(slot(&space, VA + i * PAGE, 0), 0);
	hal_tlb_flush(&space, VA, VA + 80 * PAGE, 0, false);
	CHECK(!put(VA, 1) && !put(VA + 79 * PAGE, 1));
}

static void test_freed_tables_are_forgotten(void)
{
	uintptr_t va = VA + (1ull << (ARCH_PAGE_SHIFT + ARCH_INDEX_BITS));
	uintptr_t end = va + (1ull << (ARCH_PAGE_SHIFT + ARCH_INDEX_BITS));
	pteval_t *above = slot(&space, va, 1);

	map_page(va, true);
	CHECK(put(va, 1));
	hal_pte_xchg(slot(&space, va, 0), 0);
	hal_pte_xchg(above, 0);
	hal_tlb_flush(&space, va, end, 0, true);
	CHECK(!put(va, 2));
	map_page(va, true); /* a new table, a new page */
	CHECK(holds(va, 0) && put(va, 3));
	unmap_page(va);
	hal_pte_xchg(above, 0);
	hal_tlb_flush(&space, va, end, 0, true);
}

static void absent_kind(enum pte_kind kind, uint64_t payload)
{
	struct pte_desc d = {.kind = kind, .pfn = PFN(payload)}, back;

	map_desc(VA, d);
	faults = 0;
	CHECK(!put(VA, 1));
	CHECK(faults > 0 && last_fault.kind == FAULT_TRANSLATION);
	back = arch_pte_decode(hal_pte_get(slot(&space, VA, 0)), 0);
	CHECK(back.kind == kind && back.pfn.n == payload && !back.accessed && !back.dirty);
	hal_pte_xchg(slot(&space, VA, 0), 0);
}

static void test_absent_kinds_do_not_translate(void)
{
	pfn_t pfn = page_frame();

	absent_kind(PTE_PROTNONE, pfn.n);
	absent_kind(PTE_SWAP, 0);
	absent_kind(PTE_SWAP, pfn.n);
	absent_kind(PTE_MIGRATION, pfn.n);
	CHECK(!put(VA, 1)); /* and none */
}

static void test_accessed_and_dirty(void)
{
	struct pte_desc d = user_leaf(page_frame(), true);
	bool hw = hal_mmu_info()->hw_accessed_dirty;
	uint64_t v;

	d.accessed = d.dirty = false;
	map_desc(VA, d);
	CHECK(get(VA, &v) == hw); /* else it faults, and the core sets the bit */
	CHECK(live(VA).accessed == hw && !live(VA).dirty);
	CHECK(put(VA, 1) == hw);
	CHECK(live(VA).dirty == hw && live(VA).w);
	if (hw) {
		hal_pte_clear_accessed(slot(&space, VA, 0), 0);
		hal_tlb_flush(&space, VA, VA + PAGE, 0, false);
		CHECK(!live(VA).accessed);
		CHECK(holds(VA, 1) && live(VA).accessed);
	}
	unmap_page(VA);
}

static void test_large_leaf(void)
{
	const uint64_t size = 1ull << (ARCH_PAGE_SHIFT + ARCH_INDEX_BITS);
	uintptr_t va = 4 * size;
	phys_addr_t pa = ARCH_LEAF_LEVELS & 2 ? take(size) : UINT64_MAX;

	if (pa == UINT64_MAX)
		return; /* no such leaf, or too little RAM */
	hal_pte_set(slot(&space, va, 1),
		    arch_pte_encode(user_leaf(PFN(pa >> ARCH_PAGE_SHIFT), true), 1));
	hal_pt_published(&space, va);
	CHECK(put(va + size - 8, 7) && put(va + PAGE, 8));
	CHECK(*(volatile uint64_t *)hal_phys_to_virt(pa + size - 8) == 7);
	CHECK(*(volatile uint64_t *)hal_phys_to_virt(pa + PAGE) == 8);
	hal_pte_xchg(slot(&space, va, 1), 0);
	hal_tlb_flush(&space, va, va + size, 1, false);
	CHECK(!put(va + PAGE, 9) && !put(va + size - 8, 9));
}

/* ---- the kernel's half ----------------------------------------------------------------------- */

/* Unmapped and flushed. */
static void forget(uintptr_t va, size_t npages)
{
	hal_kernel_unmap(va, npages);
	hal_kernel_flush(va, va + npages * PAGE);
}

static void test_kernel_map(void)
{
	uintptr_t va = hal_kernel_layout()->vmalloc_base + 16 * PAGE;
	phys_addr_t pa = take(2 * PAGE);
	volatile uint64_t *p = (void *)va;

	CHECK(!contract_kernel_may((void *)va, false));
	CHECK(hal_kernel_map(va, PFN(pa >> ARCH_PAGE_SHIFT), 2, KMAP_R | KMAP_W, MT_WB, give_table,
			     NULL) == 0);
	*p = 11;
	p[PAGE / 8] = 12;
	CHECK(*(volatile uint64_t *)hal_phys_to_virt(pa) == 11);
	CHECK(*(volatile uint64_t *)hal_phys_to_virt(pa + PAGE) == 12);
	CHECK(contract_kernel_may((void *)va, true));
	/* pages on both sides are guards */
	CHECK(!contract_kernel_may((void *)(va - 1), false));
	CHECK(!contract_kernel_may((void *)(va + 2 * PAGE), false));
	forget(va, 1);
	CHECK(!contract_kernel_may((void *)va, false));
	CHECK(contract_kernel_may((void *)(va + PAGE), false));
	forget(va + PAGE, 1);
	CHECK(!contract_kernel_may((void *)(va + PAGE), false));
}

static void test_kernel_map_read_only(void)
{
	uintptr_t va = hal_kernel_layout()->vmemmap_base + 4 * PAGE;
	pfn_t pfn = page_frame();

	CHECK(hal_kernel_map(va, pfn, 1, KMAP_R, MT_WB, give_table, NULL) == 0);
	CHECK(contract_kernel_may((void *)va, false));
	CHECK(!contract_kernel_may((void *)va, true));
	forget(va, 1);
	/* another frame in its place: the old translation is gone */
	*(volatile uint64_t *)kva(pfn) = 1;
	pfn = page_frame();
	*(volatile uint64_t *)kva(pfn) = 2;
	CHECK(hal_kernel_map(va, pfn, 1, KMAP_R, MT_WB, give_table, NULL) == 0);
	CHECK(*(volatile uint64_t *)va == 2);
	forget(va, 1);
}

static void test_kernel_map_shows_in_every_space(void)
{
	uintptr_t va = hal_kernel_layout()->vmalloc_base + 1024 * PAGE;
	struct arch_space late;
	pfn_t pfn = page_frame();

	CHECK(hal_space_init(&late, page_frame(), true) == 0);
	CHECK(hal_kernel_map(va, pfn, 1, KMAP_R | KMAP_W, MT_WB, give_table, NULL) == 0);
	*(volatile uint64_t *)va = 3;
	switch_to(&late); /* older than the mapping */
	*(volatile uint64_t *)va = 4;
	switch_to(NULL);
	CHECK(*(volatile uint64_t *)va == 4 && *(volatile uint64_t *)kva(pfn) == 4);
	switch_to(&space);
	hal_space_destroy(&late);
	forget(va, 1);
}

/* The level-0 entry of a kernel address, by the tables that space shares with the kernel; NULL where a
 * machine keeps no kernel tables (the one in software, the host's). */
static pteval_t *kernel_entry(uintptr_t va)
{
	pfn_t table = space.root;

	for (unsigned level = hal_mmu_info()->levels - 1;; level--) {
		pteval_t *e = (pteval_t *)kva(table) +
			      (va >> (ARCH_PAGE_SHIFT + level * ARCH_INDEX_BITS) & (ENTRIES - 1));
		struct pte_desc d = arch_pte_decode(hal_pte_get(e), level);

		if (!level)
			return e;
		if (d.kind != PTE_TABLE)
			return NULL;
		table = d.pfn;
	}
}

static void test_kernel_map_corrupt(void)
{
	uintptr_t va = hal_kernel_layout()->vmalloc_base + 300 * PAGE;
	pfn_t pfn = page_frame();
	pteval_t v = 1, *e;

	CHECK(hal_kernel_map(va, pfn, 1, KMAP_R, MT_WB, give_table, NULL) == 0);
	forget(va, 1);
	e = kernel_entry(va);
	if (!e)
		return;
	CHECK(hal_pte_get(e) == 0);
	while (arch_pte_decode(v, 0).kind != PTE_CORRUPT)
		v = v * 6364136223846793005ull + 1442695040888963407ull;
	hal_pte_set(e, v);
	CHECK(hal_kernel_map(va, pfn, 1, KMAP_R, MT_WB, give_table, NULL) == -EUCLEAN);
	CHECK(hal_pte_get(e) == v);
	hal_pte_set(e, 0);
	CHECK(hal_kernel_map(va, pfn, 1, KMAP_R, MT_WB, give_table, NULL) == 0);
	forget(va, 1);
}

/* Several unmappings, one flush over all of them and the hole between: narrow, then wide. */
static void test_kernel_flush_covers_many(void)
{
	uintptr_t va = hal_kernel_layout()->vmalloc_base + 64 * PAGE;

	for (unsigned far = 2; far <= 202; far += 200) {
		pfn_t a = page_frame(), b = page_frame();

		CHECK(hal_kernel_map(va, a, 1, KMAP_R | KMAP_W, MT_WB, give_table, NULL) == 0);
		CHECK(hal_kernel_map(va + far * PAGE, b, 1, KMAP_R | KMAP_W, MT_WB, give_table,
				     NULL) == 0);
		*(volatile uint64_t *)va = 1; /* now cached */
		*(volatile uint64_t *)(va + far * PAGE) = 2;
		hal_kernel_unmap(va, 1);
		hal_kernel_unmap(va + far * PAGE, 1);
		hal_kernel_flush(va, va + (far + 1) * PAGE);
		CHECK(!contract_kernel_may((void *)va, false));
		CHECK(!contract_kernel_may((void *)(va + far * PAGE), false));
		/* the other way round, with the frames exchanged */
		CHECK(hal_kernel_map(va, b, 1, KMAP_R, MT_WB, give_table, NULL) == 0);
		CHECK(*(volatile uint64_t *)va == 2);
		forget(va, 1);
	}
}

static void test_kernel_text(void)
{
	if (!contract_image_protected)
		return;
	CHECK(!contract_kernel_may((void *)(uintptr_t)contract_run, true));
	CHECK(!contract_kernel_may(
		hal_phys_to_virt(hal_virt_to_phys((void *)(uintptr_t)contract_run)), true));
}

/* ---- several CPUs ----------------------------------------------------------------------------- */

/* Each CPU but this one is started once, and then does one job after the other. */
static struct worker {
	void (*job)(unsigned cpu); /* atomic; NULL: it waits for one */
	uint64_t seen;		   /* how often it saw what it looks at; atomic */
	uint64_t wrong;
	uint64_t given;		   /* by whoever started it, before */
	bool began_well;
} workers[64];

static bool enough;	   /* atomic: the jobs are to end */

static void work(void *arg)
{
	struct worker *w = arg;
	unsigned cpu = (unsigned)(w - workers);
	void (*job)(unsigned cpu);

	w->began_well = hal_cpu_id() == cpu && !hal_irqs_off() && hal_cpus_online() >> cpu & 1 &&
			w->given == cpu * 3 + 1;
	for (;;) {
		while (!(job = __atomic_load_n(&w->job, __ATOMIC_ACQUIRE)))
			hal_cpu_relax();
		if (job == (void (*)(unsigned))1)
			return;
		job(cpu);
		__atomic_store_n(&w->job, NULL, __ATOMIC_RELEASE);
	}
}

static void all_do(void (*job)(unsigned cpu))
{
	__atomic_store_n(&enough, false, __ATOMIC_RELEASE);
	for (unsigned c = 1; c < hal_cpu_count(); c++) {
		workers[c].seen = workers[c].wrong = 0;
		__atomic_store_n(&workers[c].job, job, __ATOMIC_RELEASE);
	}
}

/* Until each has looked so often. */
static void all_have_seen(uint64_t n)
{
	for (unsigned c = 1; c < hal_cpu_count(); c++)
		while (__atomic_load_n(&workers[c].seen, __ATOMIC_ACQUIRE) < n)
			hal_cpu_relax();
}

/* Ends the jobs; how much was wrong. */
static uint64_t all_done(void)
{
	uint64_t wrong = 0;

	__atomic_store_n(&enough, true, __ATOMIC_RELEASE);
	for (unsigned c = 1; c < hal_cpu_count(); c++) {
		while (__atomic_load_n(&workers[c].job, __ATOMIC_ACQUIRE))
			hal_cpu_relax();
		wrong += workers[c].wrong;
	}
	return wrong;
}

static bool goes_on(void)
{
	return !__atomic_load_n(&enough, __ATOMIC_ACQUIRE);
}

static void saw(unsigned cpu, bool wrong)
{
	workers[cpu].wrong += wrong;
	__atomic_add_fetch(&workers[cpu].seen, 1, __ATOMIC_RELEASE);
}

/* In an emulator with fewer processors than CPUs each answer takes a turn of all of them. */
static unsigned rounds(void)
{
	return 1600 / (hal_cpu_count() * hal_cpu_count());
}

static bool alone(void)
{
	return hal_cpu_count() == 1 || hal_irqs_off();
}

static void count_answer(void *arg)
{
	__atomic_add_fetch((uint64_t *)arg, hal_irqs_off() ? 1 : 1000, __ATOMIC_RELAXED);
}

/* A call reaches those that are online now, and nobody else, however wide the mask is. */
static bool calls_reach_online(void)
{
	uint64_t answers = 0;

	hal_ipi_call(~0ull, count_answer, &answers);
	return answers == (uint64_t)hweight64(hal_cpus_online()) - 1;
}

static void test_cpus_start(void)
{
	unsigned n = hal_cpu_count();

	CHECK(hal_cpus_online() & 1);
	CHECK(hal_cpu_start(0, NULL, work, NULL) == -EINVAL);
	CHECK(hal_cpu_start(n, NULL, work, NULL) == -EINVAL);
	if (alone())
		return;
	for (unsigned c = 1; c < n; c++) {
		char *stack = hal_phys_to_virt(take(4 * PAGE));

		workers[c] = (struct worker){.given = c * 3 + 1};
		CHECK(calls_reach_online());
		CHECK(hal_cpu_start(c, stack + 4 * PAGE, work, &workers[c]) == 0);
		CHECK(hal_cpus_online() >> c & 1);
		CHECK(hal_cpu_start(c, stack + 4 * PAGE, work, &workers[c]) == -EBUSY);
	}
	CHECK(hal_cpus_online() == (n < 64 ? (1ull << n) - 1 : ~0ull));
	CHECK(calls_reach_online());
}

static void knows_itself(unsigned cpu)
{
	while (goes_on()) {
		saw(cpu, hal_cpu_id() != cpu || hal_irqs_off());
		hal_cpu_relax(); /* where interrupts come in by calls of the machine alone */
	}
}

static void test_cpus_know_themselves(void)
{
	if (alone())
		return;
	all_do(knows_itself);
	all_have_seen(1000);
	CHECK(all_done() == 0);
	for (unsigned c = 1; c < hal_cpu_count(); c++)
		CHECK(workers[c].began_well);
}

static void test_cpus_have_numbers(void)
{
	for (unsigned c = 0; contract_kernel.number && c < hal_cpu_count(); c++)
		for (unsigned other = 0; other < hal_cpu_count(); other++)
			CHECK((contract_kernel.number(other) == contract_kernel.number(c)) == (other == c));
}

static void calls_all(unsigned cpu)
{
	while (goes_on()) {
		uint64_t answers = 0;

		hal_ipi_call(~0ull, count_answer, &answers);
		saw(cpu, answers != hal_cpu_count() - 1);
	}
}

/* Everybody calls everybody, all at once. */
static void test_calls_cross(void)
{
	if (alone())
		return;
	all_do(calls_all);
	for (unsigned i = 0; i < rounds(); i++) {
		uint64_t answers = 0, one = 1ull << (1 + i % (hal_cpu_count() - 1));

		hal_ipi_call(~0ull, count_answer, &answers);
		CHECK(answers == hal_cpu_count() - 1);
		hal_ipi_call(one, count_answer, &answers);
		CHECK(answers == hal_cpu_count());
	}
	all_have_seen(rounds());
	CHECK(all_done() == 0);
}

/* ---- kicks ---- */

static uint64_t told;	   /* before a kick; atomic */
static uint64_t heard[64]; /* what the last kick found there; atomic */
static uint64_t kicks[64]; /* how many came; atomic */

void contract_kicked(void)
{
	unsigned cpu = hal_cpu_id();

	__atomic_store_n(&heard[cpu], __atomic_load_n(&told, __ATOMIC_RELAXED), __ATOMIC_RELEASE);
	__atomic_add_fetch(&kicks[cpu], 1, __ATOMIC_RELEASE);
}

static uint64_t kicks_of(unsigned cpu)
{
	return __atomic_load_n(&kicks[cpu], __ATOMIC_ACQUIRE);
}

/* Tells all CPUs from the first one on, and waits until each has been interrupted since. */
static void kick_from(unsigned first)
{
	uint64_t word = __atomic_add_fetch(&told, 1, __ATOMIC_SEQ_CST);

	for (unsigned c = first; c < hal_cpu_count(); c++)
		contract_kernel.kick(c);
	for (unsigned c = first; c < hal_cpu_count(); c++)
		while (__atomic_load_n(&heard[c], __ATOMIC_ACQUIRE) < word)
			hal_cpu_relax();
}

static bool deaf_were_kicked;

/* A kick that comes while interrupts are off waits for them. */
static void is_deaf(unsigned cpu)
{
	irqflags_t flags = hal_irq_save();
	uint64_t before = kicks_of(cpu);

	saw(cpu, false);
	while (!__atomic_load_n(&deaf_were_kicked, __ATOMIC_ACQUIRE))
		hal_cpu_relax();
	workers[cpu].wrong += kicks_of(cpu) != before;
	hal_irq_restore(flags);
	while (kicks_of(cpu) == before)
		hal_cpu_relax();
	saw(cpu, hal_irqs_off());
}

/* Each comes, and finds what was stored before: to those that work, to oneself, from where interrupts are
 * off, to where they are. */
static void test_kicks_come(void)
{
	irqflags_t flags;

	if (!contract_kernel.kick || alone())
		return;
	all_do(knows_itself);
	for (unsigned i = 0; i < rounds(); i++)
		kick_from(i & 1);
	CHECK(all_done() == 0);
	__atomic_store_n(&deaf_were_kicked, false, __ATOMIC_RELEASE);
	all_do(is_deaf);
	all_have_seen(1);
	flags = hal_irq_save();
	for (unsigned c = 1; c < 2 * hal_cpu_count() - 1; c++) /* all twice, all but one */
		contract_kernel.kick(1 + c % (hal_cpu_count() - 1));
	hal_irq_restore(flags);
	__atomic_store_n(&deaf_were_kicked, true, __ATOMIC_RELEASE);
	all_have_seen(2);
	CHECK(all_done() == 0);
}

#define GOOD 0x600dull
#define BAD  0xbadull

static void reads_user(unsigned cpu)
{
	uint64_t v;

	switch_to(&space);
	while (goes_on())
		saw(cpu, get(VA, &v) && v != GOOD);
	switch_to(NULL);
}

static void set_word(pfn_t pfn, uint64_t v)
{
	*(volatile uint64_t *)kva(pfn) = v;
}

/* The page changes its frame again and again, each time after the others have looked `looks` times more; whoever
 * reaches the old one after the flush is wrong. */
static void frame_changes_under(void (*reads)(unsigned cpu), unsigned looks)
{
	pfn_t frame[2] = {page_frame(), page_frame()};
	uint64_t seen = 0;

	set_word(frame[0], GOOD);
	map_desc(VA, user_leaf(frame[0], true));
	all_do(reads);
	for (unsigned i = 0; i < rounds(); i++) {
		all_have_seen(seen += looks);
		unmap_page(VA);
		set_word(frame[i & 1], BAD);
		set_word(frame[!(i & 1)], GOOD);
		map_desc(VA, user_leaf(frame[!(i & 1)], true));
	}
	all_have_seen(seen + looks);
	CHECK(all_done() == 0);
	unmap_page(VA);
}

static void test_flush_reaches_all(void)
{
	if (!alone())
		frame_changes_under(reads_user, 3);
}

static void comes_and_goes(unsigned cpu)
{
	uint64_t v;

	while (goes_on()) {
		switch_to(&space);
		saw(cpu, get(VA, &v) && v != GOOD);
		switch_to(NULL);
		saw(cpu, false);
	}
}

/* Who was elsewhere during the flush may have kept what it had, and must not use it when it comes back. */
static void test_flush_reaches_who_comes_back(void)
{
	if (!alone())
		frame_changes_under(comes_and_goes, 4);
}

static void comes_and_goes_once(unsigned cpu)
{
	uint64_t v;

	switch_to(&space);
	saw(cpu, !get(VA, &v));
	switch_to(NULL);
}

/* Nobody else runs the space, so nobody has to be waited for, whatever the others do and did. */
static void test_flush_with_interrupts_off(void)
{
	if (alone())
		return;
	map_page(VA, true);
	all_do(comes_and_goes_once);
	all_have_seen(1);
	CHECK(all_done() == 0);
	all_do(knows_itself);
	for (unsigned i = 0; i < rounds(); i++) {
		irqflags_t flags;

		map_page(VA, true);
		CHECK(put(VA, i));
		flags = hal_irq_save();
		hal_pte_wrprotect(slot(&space, VA, 0), 0);
		hal_tlb_flush(&space, VA, VA + PAGE, 0, false);
		unmap_page(VA);
		CHECK(hal_irqs_off());
		hal_irq_restore(flags);
		CHECK(!put(VA, 1));
	}
	CHECK(all_done() == 0);
}

/* The same with the table above it, which is then another's. */
static void test_freed_tables_reach_all(void)
{
	pteval_t *above = slot(&space, VA, 1), table[2];
	pfn_t frame[2] = {page_frame(), page_frame()};
	uint64_t seen = 0;

	if (alone())
		return;
	for (unsigned i = 0; i < 2; i++) {
		hal_pte_set(above, 0);
		hal_tlb_flush(&space, VA, VA + (PAGE << ARCH_INDEX_BITS), 1, true);
		map_desc(VA, user_leaf(frame[i], true));
		table[i] = hal_pte_get(above);
	}
	set_word(frame[1], GOOD);
	all_do(reads_user);
	for (unsigned i = 0; i < rounds(); i++) {
		all_have_seen(seen += 3);
		hal_pte_xchg(above, 0);
		hal_tlb_flush(&space, VA, VA + (PAGE << ARCH_INDEX_BITS), 0, true);
		set_word(frame[!(i & 1)], BAD);
		set_word(frame[i & 1], GOOD);
		hal_pte_set(above, table[i & 1]);
		hal_pt_published(&space, VA);
	}
	all_have_seen(seen + 3);
	CHECK(all_done() == 0);
	unmap_page(VA);
}

static uintptr_t kernel_va;

static void reads_kernel(unsigned cpu)
{
	uint64_t v;

	switch_to(&space);
	while (goes_on())
		/* Twice: a host's call holds the page from before the flush until it has copied. */
		saw(cpu, contract_kernel_read((void *)kernel_va, cpu, &v) && v != GOOD &&
				 contract_kernel_read((void *)kernel_va, cpu, &v) && v != GOOD);
	switch_to(NULL);
}

static void test_kernel_flush_reaches_all(void)
{
	pfn_t frame[2] = {page_frame(), page_frame()};
	uint64_t seen = 0;

	if (alone())
		return;
	kernel_va = hal_kernel_layout()->vmalloc_base + 600 * PAGE;
	CHECK(!contract_kernel_may((void *)kernel_va, false));
	all_do(reads_kernel);
	for (unsigned i = 0; i < rounds(); i++) {
		set_word(frame[i & 1], GOOD);
		CHECK(hal_kernel_map(kernel_va, frame[i & 1], 1, KMAP_R, MT_WB, give_table, NULL) == 0);
		all_have_seen(seen += 3);
		forget(kernel_va, 1);
		set_word(frame[i & 1], BAD);
	}
	CHECK(all_done() == 0);
}

static uintptr_t code_va;
static unsigned code_synced; /* atomic */

static bool code_answers(unsigned want)
{
	unsigned v = 0;

	return contract_code.run(code_va, &v) && v == want;
}

/* Each new code once, while nobody changes it. Some run no program in between, and miss the fences of that
 * time. */
static void runs_code(unsigned cpu)
{
	unsigned last = 0, now;

	for (; goes_on(); hal_cpu_relax()) {
		now = __atomic_load_n(&code_synced, __ATOMIC_ACQUIRE);
		if (now == last)
			continue;
		last = now;
		switch_to(&space);
		if (cpu & 1) {
			bool wrong = !code_answers(now);

			switch_to(NULL);
			saw(cpu, wrong);
		} else {
			saw(cpu, !code_answers(now));
		}
	}
	switch_to(NULL);
}

static void map_code(pfn_t pfn)
{
	struct pte_desc d = user_leaf(pfn, false);

	d.x = true;
	code_va = contract_code.user ? 5ull << 32 : hal_kernel_layout()->vmalloc_base + 700 * PAGE;
	if (contract_code.user)
		map_desc(code_va, d);
	else
		CHECK(hal_kernel_map(code_va, pfn, 1, KMAP_R | KMAP_X, MT_WB, give_table, NULL) == 0);
}

/* What was stored and synced is what every CPU runs, not what was there before. */
static void test_code_is_seen_by_all(void)
{
	pfn_t pfn = page_frame();

	if (!contract_code.run)
		return;
	contract_code.write(kva(pfn), 0);
	hal_icache_sync(kva(pfn), PAGE);
	map_code(pfn);
	__atomic_store_n(&code_synced, 0, __ATOMIC_RELEASE);
	if (!alone())
		all_do(runs_code);
	for (unsigned i = 1; i <= rounds() && i < 200; i++) {
		contract_code.write(kva(pfn), i);
		hal_icache_sync(kva(pfn), PAGE);
		__atomic_store_n(&code_synced, i, __ATOMIC_RELEASE);
		CHECK(code_answers(i));
		if (!alone())
			all_have_seen(i);
	}
	if (!alone())
		CHECK(all_done() == 0);
	if (contract_code.user)
		unmap_page(code_va);
	else
		forget(code_va, 1);
}

static struct arch_space shared_space;

static void stays_in_space(unsigned cpu)
{
	switch_to(&shared_space);
	while (goes_on())
		saw(cpu, false);
	switch_to(NULL);
}

/* A space ends while others are still on its tables, which are then no tables any more. */
static void test_space_is_left_by_all(void)
{
	pfn_t root = page_frame();

	if (alone())
		return;
	CHECK(hal_space_init(&shared_space, root, true) == 0);
	all_do(stays_in_space);
	all_have_seen(10);
	hal_space_destroy(&shared_space);
	for (unsigned i = 0; i < PAGE / 8; i++)
		((volatile uint64_t *)kva(root))[i] = BAD;
	for (unsigned c = 1; c < hal_cpu_count(); c++)
		all_have_seen(workers[c].seen + 1000);
	CHECK(all_done() == 0);
}

#define SPACES 20

static struct arch_space many[SPACES];

static void takes_turns(unsigned cpu)
{
	unsigned i = cpu;
	uint64_t v;

	while (goes_on()) {
		i = (i * 5 + 3) % SPACES;
		switch_to(&many[i]);
		saw(cpu, !get(VA, &v) || v != i);
	}
	switch_to(NULL);
}

/* More spaces than some machines have numbers for, on all CPUs at once. */
static void test_spaces_take_turns(void)
{
	for (unsigned i = 0; i < SPACES; i++) {
		pfn_t pfn = page_frame();

		CHECK(hal_space_init(&many[i], page_frame(), true) == 0);
		set_word(pfn, i);
		hal_pte_set(slot(&many[i], VA, 0), arch_pte_encode(user_leaf(pfn, true), 0));
		hal_pt_published(&many[i], VA);
	}
	if (!alone())
		all_do(takes_turns);
	for (unsigned round = 0; round < 3 * SPACES; round++) {
		unsigned i = round * 7 % SPACES;

		switch_to(&many[i]);
		CHECK(holds(VA, i));
	}
	if (!alone()) {
		all_have_seen(100);
		CHECK(all_done() == 0);
	}
	switch_to(&space);
	for (unsigned i = 0; i < SPACES; i++)
		hal_space_destroy(&many[i]);
}

/* The last: whoever was started idles, and still answers. */
static void test_idle_cpus_answer(void)
{
	uint64_t answers = 0;

	if (alone())
		return;
	for (unsigned c = 1; c < hal_cpu_count(); c++)
		__atomic_store_n(&workers[c].job, (void (*)(unsigned))1, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < 20; i++)
		hal_ipi_call(~0ull, count_answer, &answers);
	CHECK(answers == 20 * (hal_cpu_count() - 1));
	for (unsigned i = 0; contract_kernel.kick && i < 20; i++)
		kick_from(1);
}

/* ---- the run --------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	void (*fn)(void);
} tests[] = {
	{"the MMU describes itself", test_mmu_info},
	{"kernel layout", test_layout},
	{"memory ranges", test_ranges},
	{"direct map", test_direct_map},
	{"the last frame of RAM", test_last_frame},
	{"CPU numbers and cycles", test_cpu},
	{"interrupt state nests", test_irq_nesting},
	{"calls to CPUs leave the caller out", test_ipi_leaves_the_caller_out},
	{"pages are cleared and copied", test_clear_and_copy},
	{"poison is undone", test_poison_is_undone},
	{"instruction cache", test_icache_sync},
	{"entries change atomically", test_pte_atomics},
	{"accessed and write right are taken", test_pte_accessed_and_wrprotect},
	{"a page mapped by hand", test_map_by_hand},
	{"copies tell what is left", test_copies_tell_the_rest},
	{"copies stay below user_end", test_copies_stay_below_user_end},
	{"two spaces", test_two_spaces},
	{"a fault is told and resolved", test_fault_is_resolved_and_told},
	{"read-only", test_read_only},
	{"write-protect and flush", test_wrprotect_and_flush},
	{"another frame, through absent", test_frame_changes_through_absent},
	{"flush of a range", test_flush_of_a_range},
	{"freed tables are forgotten", test_freed_tables_are_forgotten},
	{"absent kinds do not translate", test_absent_kinds_do_not_translate},
	{"accessed and dirty", test_accessed_and_dirty},
	{"a large leaf", test_large_leaf},
	{"kernel map with guards", test_kernel_map},
	{"kernel map, read-only and replaced", test_kernel_map_read_only},
	{"kernel map shows in every space", test_kernel_map_shows_in_every_space},
	{"kernel map tells a corrupt entry", test_kernel_map_corrupt},
	{"one kernel flush for many unmappings", test_kernel_flush_covers_many},
	{"kernel text is not writable", test_kernel_text},
	{"CPUs start", test_cpus_start},
	{"CPUs know themselves", test_cpus_know_themselves},
	{"CPUs have numbers", test_cpus_have_numbers},
	{"calls cross", test_calls_cross},
	{"kicks come", test_kicks_come},
	{"a flush reaches all CPUs", test_flush_reaches_all},
	{"a flush reaches who comes back", test_flush_reaches_who_comes_back},
	{"a flush with interrupts off", test_flush_with_interrupts_off},
	{"freed tables are forgotten by all CPUs", test_freed_tables_reach_all},
	{"a kernel flush reaches all CPUs", test_kernel_flush_reaches_all},
	{"code is seen by all CPUs", test_code_is_seen_by_all},
	{"a space is left by all CPUs", test_space_is_left_by_all},
	{"spaces take turns", test_spaces_take_turns},
	{"idle CPUs answer", test_idle_cpus_answer},
};

static void report(unsigned number, const char *prefix, const char *name)
{
	char line[200];
	int n = scnprintf(line, sizeof(line), "%sok %u - %s%s\n", failure ? "not " : "", number,
			  prefix, name);

	hal_log(line, n);
	if (failure) {
		n = scnprintf(line, sizeof(line), "# contract.c:%d: %s\n", failure_line, failure);
		hal_log(line, n);
	}
}

unsigned contract_run(const char *prefix, unsigned first, unsigned *ran)
{
	unsigned failed = 0, count = sizeof(tests) / sizeof(tests[0]), seen = 0;

	nranges = 0;
	bump = PAGE; /* frame 0 is nobody's */
	on_fault = NULL;
	hal_memory_ranges(note_range, &seen);
	if (hal_space_init(&space, page_frame(), true))
		hal_exit(2);
	switch_to(&space);
	for (unsigned i = 0; i < count; i++) {
		failure = NULL;
		tests[i].fn();
		failed += failure != NULL;
		report(first + i, prefix, tests[i].name);
	}
	switch_to(NULL);
	hal_space_destroy(&space);
	*ran = count;
	return failed;
}
