/* SPDX-License-Identifier: MIT */
/* Kernel ranges: stacks with guards, areas that never overlap. */
#include "mm_test.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>

#include "mm/phys/kmap.h"
#include "mm/vmalloc/vmalloc.h"
#include <quire/abi.h>

#define MIB (1ull << 20)

static sigjmp_buf jump;

static void on_segv(int sig)
{
	siglongjmp(jump, 1);
}

/* True if the byte can be written. The machine's windows are host mappings, so the host tells. */
static bool writable(volatile char *p)
{
	struct sigaction sa = {.sa_handler = on_segv, .sa_flags = SA_NODEFER}, segv, bus;
	bool ok = false;

	sigaction(SIGSEGV, &sa, &segv);
	sigaction(SIGBUS, &sa, &bus);
	if (!sigsetjmp(jump, 1)) {
		*p = 1;
		ok = true;
	}
	sigaction(SIGSEGV, &segv, NULL);
	sigaction(SIGBUS, &bus, NULL);
	return ok;
}

Test(vmalloc, guard_pages)
{
	char *s[8];

	machine_up(64 * MIB, 1);
	for (unsigned i = 0; i < 8; i++) {
		s[i] = quire_stack_alloc(4);
		cr_assert(s[i]);
		memset(s[i], i, 4 * PAGE_SIZE);
	}
	for (unsigned i = 0; i < 8; i++) {
		cr_expect_not(writable(s[i] - 1), "the page below is not mapped");
		cr_expect_not(writable(s[i] + 4 * PAGE_SIZE), "nor is the one above");
		cr_expect_eq(s[i][100], i);
	}
	for (unsigned i = 0; i < 8; i++)
		quire_stack_free(s[i]);
	machine_down();
}

Test(vmalloc, freed_areas_are_unmapped)
{
	uint64_t before;
	char *p;

	machine_up(64 * MIB, 1);
	before = free_pages_now();
	p = vmalloc(100000);
	memset(p, 1, 100000);
	cr_expect(is_vmalloc_addr(p));
	vfree(p);
	cr_expect_not(writable(p));
	vfree(NULL);
	cr_expect_null(vmalloc(0));
	cr_expect_eq(free_pages_now(), before);
	machine_down();
}

static unsigned long slab_pages(void)
{
	struct quire_counts c;

	quire_drain();
	quire_get_counts(&c);
	return c.slab_pages;
}

/* A hole is freed first, then what lies between it and the rest of the range: the structure that is
 * left must be the old one, or the slab of the hole's stays for its sake. */
Test(vmalloc, the_older_free_area_stays)
{
	enum { AREAS = 300 };
	static void *p[AREAS];
	unsigned long before;
	void *first;

	machine_up(64 * MIB, 1);
	first = vmalloc(PAGE_SIZE); /* so that the slab of the oldest stays in any case */
	before = slab_pages();
	for (unsigned hole = 1; hole < AREAS; hole += 30) {
		for (unsigned i = 0; i < AREAS; i++)
			cr_assert(p[i] = vmalloc(PAGE_SIZE));
		vfree(p[hole]);
		quire_drain();
		for (unsigned i = AREAS - 1; i > hole; i--)
			vfree(p[i]);
		quire_drain();
		for (unsigned i = hole; i-- > 0;)
			vfree(p[i]);
		cr_expect_eq(slab_pages(), before, "hole %u", hole);
	}
	vfree(first);
	machine_down();
}

Test(vmalloc, stacks_are_kept_for_the_next)
{
	void *a;

	machine_up(64 * MIB, 1);
	a = quire_stack_alloc(4);
	quire_stack_free(a);
	cr_expect_eq(quire_stack_alloc(4), a);
	quire_stack_free(a);
	quire_drain();
	cr_expect_eq(vmalloc_nr_pages(), 0);
	machine_down();
}

Test(vmalloc, random_life)
{
	enum { N = 60 };
	static struct {
		unsigned char *p;
		unsigned pages;
	} a[N];
	uint64_t before;

	machine_up(64 * MIB, 2);
	before = free_pages_now();
	for (unsigned i = 0; i < 3000; i++) {
		unsigned k = rnd() % N;

		if (a[k].p) {
			cr_assert_eq(a[k].p[0], k);
			cr_assert_eq(a[k].p[a[k].pages * PAGE_SIZE - 1], k);
			if (k & 1)
				quire_stack_free(a[k].p);
			else
				vfree(a[k].p);
			a[k].p = NULL;
		} else {
			a[k].pages = 1 + rnd() % 9;
			a[k].p = k & 1 ? quire_stack_alloc(a[k].pages) :
					 vmalloc(a[k].pages * PAGE_SIZE);
			cr_assert(a[k].p);
			memset(a[k].p, k, a[k].pages * PAGE_SIZE);
		}
	}
	for (unsigned k = 0; k < N; k++)
		if (k & 1)
			quire_stack_free(a[k].p);
		else
			vfree(a[k].p);
	cr_expect_eq(free_pages_now(), before);
	machine_down();
}

/* ---- failure, at every point ------------------------------------------------------------------- */

#define BIG (PAGE_SIZE / sizeof(void *) + 10) /* pages: their array is virtually contiguous itself */

static void *try_vmalloc(void)
{
	return vmalloc(8 * PAGE_SIZE);
}

static void *try_big(void)
{
	return vzalloc(BIG * PAGE_SIZE);
}

static struct page *some[3];

static void *try_vmap(void)
{
	return vmap(some, 3, VM_MAP, PAGE_KERNEL);
}

static void *try_ioremap(void)
{
	return ioremap(fake_device_phys() + PAGE_SIZE, 2 * PAGE_SIZE);
}

static void *try_stack(void)
{
	return quire_stack_alloc(4);
}

static void free_stack(const void *p)
{
	quire_stack_free((void *)p);
	vmalloc_drain(); /* else the next one is given it again */
}

/* A pinned area at the end of each table of the range, so that each new one needs a table. */
static void *try_far(void)
{
	static struct vm_struct vm;
	struct vmap_area *va = alloc_vmap_area(&vm, 1024 * PAGE_SIZE, 1024 * PAGE_SIZE);
	void *p = va ? vmalloc(600 * PAGE_SIZE) : NULL;

	if (va) {
		unlink_vmap_area(va);
		free_vmap_area(va);
	}
	return p;
}

static unsigned long points; /* of injection, all in all */

/* Free pages, tables of the kernel counted in: those stay for good. */
static uint64_t free_and_tables(void)
{
	return free_pages_now() + kmap_table_pages();
}

/* The n-th allocation of kind fails, for each n until none is reached (of hundreds every eighth part):
 * nothing may stay behind. */
static void sweep(enum quire_inject kind, void *(*make)(void), void (*undo)(const void *))
{
	uint64_t before = free_and_tables(), hits;
	bool hit = true;

	for (unsigned n = 1; hit; n += n < 24 ? 1 : n / 8) {
		void *p;

		hits = quire_inject_hits(kind);
		quire_inject_set(kind, n);
		p = make();
		quire_inject_set(kind, 0);
		hit = quire_inject_hits(kind) != hits; /* some callers can do without */
		points += hit;
		if (p)
			undo(p);
		cr_assert_eq(vmalloc_nr_pages(), 0);
		cr_assert_eq(check_vmap_areas(), 0);
		cr_assert_eq(free_and_tables(), before, "kind %d, n %u", kind, n);
	}
}

Test(vmalloc, failure_leaves_nothing)
{
	static const struct {
		void *(*make)(void);
		void (*undo)(const void *);
	} t[] = {
		{try_vmalloc, vfree}, {try_big, vfree}, {try_far, vfree}, {try_vmap, vunmap},
		{try_ioremap, iounmap}, {try_stack, free_stack},
	};

	for (unsigned i = 0; i < 2 * ARRAY_SIZE(t); i++) {
		/* a machine of its own for each, so that each meets its first table */
		machine_up_cfg(&(struct fake_config){.ram = 64 * MIB, .kernel_tables = true}, NULL);
		for (unsigned k = 0; k < 3; k++)
			some[k] = alloc_pages(GFP_KERNEL, 0);
		sweep(i & 1 ? QUIRE_INJECT_SLAB : QUIRE_INJECT_PAGE, t[i / 2].make, t[i / 2].undo);
		for (unsigned k = 0; k < 3; k++)
			__free_pages(some[k], 0);
		machine_down();
	}
	cr_expect_gt(points, 60, "%lu", points);
}

/* Tables stay: a second start in the same machine finds them, and leaves them alone. */
Test(vmalloc, tables_outlive_the_core)
{
	uint64_t free[2];

	cr_assert_eq(fake_machine_create(&(struct fake_config){.ram = 64 * MIB, .kernel_tables = true}),
		     0);
	for (unsigned i = 0; i < 2; i++) {
		cr_assert_eq(quire_init(NULL), 0);
		vfree(vmalloc(10 * PAGE_SIZE));
		cr_expect_eq(kmap_table_pages(), i ? 0 : 1, "from the buddy, once");
		free[i] = free_pages_now();
		cr_expect_eq(check_phys(), 0);
		cr_expect_eq(quire_exit(), 0);
	}
	cr_expect_eq(free[0], free[1]);
	fake_machine_destroy();
}

Test(vmalloc, more_than_there_is)
{
	uint64_t before;

	machine_up(64 * MIB, 1);
	before = free_pages_now();
	cr_expect_null(vmalloc(SIZE_MAX));
	cr_expect_null(vmalloc(1ull << 40));
	cr_expect_null(vmalloc(63 * MIB), "less than all RAM, more than is free");
	cr_expect_null(vzalloc(0));
	cr_expect_eq(free_pages_now(), before);
	cr_expect_eq(vmap_lazy_nr(), 0, "what failed does not wait for a flush");
	machine_down();
}

/* ---- wrong addresses: told and left alone ------------------------------------------------------ */

static struct text said;

static void listen(const char *s, size_t n)
{
	text_emit(&said, s, n);
}

Test(vmalloc, wrong_addresses_are_told)
{
	char *p, *d;

	machine_up_cfg(&(struct fake_config){.ram = 64 * MIB, .log = listen}, NULL);
	p = vmalloc(2 * PAGE_SIZE);
	d = ioremap(fake_device_phys(), PAGE_SIZE);
	said.n = 0;
	vfree(p + PAGE_SIZE);
	cr_expect(strstr(said.s, "Trying to vfree() nonexistent vm area"));
	vfree(p - PAGE_SIZE);
	vfree(d);
	vunmap(p);
	cr_expect(strstr(said.s, "Trying to vunmap() nonexistent vm area"));
	iounmap(p);
	cr_expect(strstr(said.s, "iounmap: bad address"));
	cr_expect(writable(p) && writable(d), "nothing was unmapped");
	vfree(p);
	said.n = 0;
	said.s[0] = 0;
	vfree(p);
	cr_expect(strstr(said.s, "Trying to vfree()"), "freed twice");
	iounmap(d);
	machine_down();
}

Test(vmalloc, foreign_stack_is_caught, .exit_code = 1)
{
	machine_up(64 * MIB, 1);
	quire_stack_free(vmalloc(2 * PAGE_SIZE));
	exit(0);
}

/* ---- addresses --------------------------------------------------------------------------------- */

/* The lowest gap that is wide enough; what is free merges; the next one starts where it did. */
Test(vmalloc, lowest_fit)
{
	char *p[5], *first;

	machine_up(64 * MIB, 1);
	for (unsigned i = 0; i < 5; i++)
		p[i] = vmalloc((i + 1) * PAGE_SIZE);
	first = p[0];
	for (unsigned i = 1; i < 5; i++)
		cr_expect_eq(p[i], p[i - 1] + (i + 1) * PAGE_SIZE, "side by side, guards between");
	vfree(p[1]);
	vfree(p[3]);
	p[0] = vmalloc(PAGE_SIZE);
	cr_expect_gt(p[0], p[4], "addresses that wait for the flush are not used");
	vfree(p[0]);
	vmalloc_drain();
	cr_expect_eq(vmalloc(3 * PAGE_SIZE), p[3], "four pages do not fit into three");
	cr_expect_eq(vmalloc(PAGE_SIZE), p[1]);
	vfree(p[1]);
	vfree(p[2]);
	vfree(p[3]);
	vmalloc_drain();
	cr_expect_eq(vmalloc(11 * PAGE_SIZE), p[1], "three free neighbours are one");
	vfree(p[1]);
	vfree(first);
	vfree(p[4]);
	vmalloc_drain();
	cr_expect_eq(vmalloc(20 * PAGE_SIZE), first);
	vfree(first);
	machine_down();
}

Test(vmalloc, aligned_areas)
{
	struct vm_struct vm[4] = {{0}};
	struct vmap_area *va[4];

	machine_up(64 * MIB, 1);
	for (unsigned i = 0; i < 4; i++) {
		va[i] = alloc_vmap_area(&vm[i], (i + 1) * PAGE_SIZE, 256ul << 10);
		cr_assert(va[i]);
		cr_expect_eq((uintptr_t)vm[i].addr % (256ul << 10), 0);
		cr_expect_eq(check_vmap_areas(), 0);
	}
	/* the lower rests are used by others */
	char *p = vmalloc(PAGE_SIZE);

	cr_expect_lt(p, (char *)vm[0].addr);
	vfree(p);
	cr_expect_null(alloc_vmap_area(&vm[0], SIZE_MAX & ~(PAGE_SIZE - 1), PAGE_SIZE));
	cr_expect_null(alloc_vmap_area(&vm[0], 1, PAGE_SIZE), "no whole page");
	cr_expect_null(alloc_vmap_area(&vm[0], 0, PAGE_SIZE));
	for (unsigned i = 0; i < 4; i++) {
		cr_expect(unlink_vmap_area(va[i]));
		cr_expect_not(unlink_vmap_area(va[i]), "the second one loses");
		free_vmap_area(va[i]);
	}
	machine_down();
}

/* All of the range is in use: what waits is flushed and used, and only then it is full. */
Test(vmalloc, full_range)
{
	const struct kernel_layout *l;
	static struct vm_struct vm[64];
	unsigned n = 0;
	size_t part;

	machine_up(64 * MIB, 1);
	l = hal_kernel_layout();
	part = ALIGN_DOWN((l->vmalloc_end - l->vmalloc_base) / 16, PAGE_SIZE);
	vfree(vmalloc(PAGE_SIZE));
	cr_assert_gt(vmap_lazy_nr(), 0);
	while (n < 64 && alloc_vmap_area(&vm[n], part, PAGE_SIZE))
		n++;
	cr_expect(n == 15 || n == 16, "%u", n);
	cr_expect_eq(vmap_lazy_nr(), 0);
	cr_expect_null(vmalloc(part));
	for (unsigned i = 0; i < n; i++) {
		struct vmap_area *va = find_vmap_area((uintptr_t)vm[i].addr + part - 1);

		cr_assert(va && va->vm == &vm[i]);
		unlink_vmap_area(va);
		free_vmap_area(va);
	}
	machine_down();
}

/* Every address is taken but for one aligned piece: too little to be sure of a fit, and it fits. */
Test(vmalloc, the_last_piece_lies_well)
{
	static struct vm_struct vm[200], last;
	const size_t piece = 64 * PAGE_SIZE;
	struct vmap_area *va[200], *kept;
	unsigned n = 0;

	machine_up(64 * MIB, 1);
	kept = alloc_vmap_area(&last, piece, piece);
	for (size_t size = 1ul << 40; size >= PAGE_SIZE; size /= 2)
		while (n < 200 && (va[n] = alloc_vmap_area(&vm[n], size, PAGE_SIZE)))
			n++;
	cr_assert_lt(n, 200);
	cr_expect_null(vmalloc(PAGE_SIZE), "full");
	unlink_vmap_area(kept);
	free_vmap_area(kept);
	cr_expect_null(alloc_vmap_area(&last, piece, 2 * piece * 1024));
	kept = alloc_vmap_area(&last, piece, piece);
	cr_assert(kept);
	unlink_vmap_area(kept);
	free_vmap_area(kept);
	while (n--) {
		unlink_vmap_area(va[n]);
		free_vmap_area(va[n]);
		cr_assert_eq(check_vmap_areas(), 0);
	}
	machine_down();
}

/* ---- start and end ----------------------------------------------------------------------------- */

Test(vmalloc, start_without_memory)
{
	const struct kernel_layout *l;
	int err = -1;

	machine_up(64 * MIB, 1);
	l = hal_kernel_layout();
	vmap_area_exit();
	vmap_area_exit();
	for (unsigned kind = 0; kind < QUIRE_INJECT_KINDS; kind++) {
		for (unsigned n = 1; err; n++) {
			quire_inject_set(kind, n);
			err = vmap_area_init(l->vmalloc_base + PAGE_SIZE, l->vmalloc_end);
			quire_inject_set(kind, 0);
			cr_assert(!err || err == -ENOMEM);
			cr_assert_lt(n, 20);
		}
		vmap_area_exit();
		err = -1;
	}
	cr_assert_eq(vmap_area_init(l->vmalloc_base + PAGE_SIZE, l->vmalloc_end), 0);
	machine_down();
}

Test(vmalloc, what_nobody_freed_is_told)
{
	char *p;

	machine_up(64 * MIB, 1);
	p = vmalloc(3 * PAGE_SIZE);
	cr_expect_eq(quire_exit(), 3);
	cr_expect_not(writable(p), "the range is empty again");
	fake_machine_destroy();
}

/* ---- lazy unmapping ---------------------------------------------------------------------------- */

Test(vmalloc, one_flush_for_many)
{
	uint64_t before, flushes;
	void *p[50];

	machine_up(256 * MIB, 1);
	before = free_pages_now();
	for (unsigned i = 0; i < 50; i++)
		p[i] = vmalloc(3 * PAGE_SIZE);
	flushes = fake_counters()->kernel_flushes;
	for (unsigned i = 0; i < 50; i++)
		vfree(p[i]);
	cr_expect_eq(fake_counters()->kernel_flushes, flushes, "none yet");
	cr_expect_eq(vmap_lazy_nr(), 50 * 4);
	cr_expect_eq(vmalloc_nr_pages(), 0, "free for whoever counts");
	cr_expect_eq(purge_vmap_area_lazy(), 50 * 4);
	cr_expect_eq(fake_counters()->kernel_flushes, flushes + 1);
	cr_expect_eq(free_pages_now(), before);
	machine_down();
}

Test(vmalloc, many_freed_pages_are_flushed_by_themselves)
{
	uint64_t flushes;
	unsigned long most;

	machine_up(256 * MIB, 1);
	most = lazy_max_pages();
	cr_assert(most > 64 && most <= 256 * MIB / PAGE_SIZE / 64, "%lu", most);
	flushes = fake_counters()->kernel_flushes;
	for (unsigned i = 0; i < 10 * most / 8; i++) {
		vfree(vmalloc(7 * PAGE_SIZE));
		cr_assert_leq(vmap_lazy_nr(), most);
	}
	flushes = fake_counters()->kernel_flushes - flushes;
	cr_expect(flushes >= 8 && flushes <= 11, "%lu flushes", (unsigned long)flushes);
	machine_down();
}

/* Frames that wait for a flush are not lost when memory runs out. */
Test(vmalloc, pages_come_back_under_pressure)
{
	struct page *p, *next;
	unsigned long n = 0, first;
	LIST_HEAD(all);
	void *v;

	machine_up(256 * MIB, 1);
	v = vmalloc(200 * PAGE_SIZE);
	while ((p = alloc_pages(GFP_KERNEL | __GFP_NOWARN | __GFP_NORETRY, 0)))
		list_add(&p->lru, &all);
	vfree(v);
	first = vmap_lazy_nr();
	cr_assert_gt(first, 200);
	while ((p = alloc_pages(GFP_KERNEL | __GFP_NOWARN | __GFP_NORETRY, 0))) {
		list_add(&p->lru, &all);
		n++;
	}
	cr_expect_geq(n, 200, "%lu", n);
	list_for_each_entry_safe(p, next, &all, lru) {
		list_del(&p->lru);
		__free_pages(p, 0);
	}
	machine_down();
}

/* ---- vmap -------------------------------------------------------------------------------------- */

Test(vmalloc, vmap_shows_pages_in_order)
{
	struct page *pages[6];
	uint64_t before;
	char *p;

	machine_up(64 * MIB, 1);
	before = free_pages_now();
	for (unsigned i = 0; i < 6; i++) {
		pages[i] = alloc_pages(GFP_KERNEL | __GFP_ZERO, 0);
		memset(page_address(pages[i]), 'a' + i, 2);
	}
	swap(pages[1], pages[4]);
	p = vmap(pages, 6, VM_MAP, PAGE_KERNEL);
	for (unsigned i = 0; i < 6; i++) {
		cr_expect_eq(p[i * PAGE_SIZE], "aecdbf"[i]);
		cr_expect_eq(vmalloc_to_page(p + i * PAGE_SIZE + 5), pages[i]);
	}
	cr_expect_not(writable(p - 1));
	cr_expect_not(writable(p + 6 * PAGE_SIZE));
	p[3 * PAGE_SIZE] = 'X';
	cr_expect_eq(*(char *)page_address(pages[3]), 'X');
	/* the owner lets go first: the mapping's own references keep the pages until the flush */
	for (unsigned i = 0; i < 6; i++)
		__free_pages(pages[i], 0);
	cr_expect_eq(p[0], 'a');
	vunmap(p);
	cr_expect_not(writable(p));
	cr_expect_eq(free_pages_now(), before);
	cr_expect_null(vmap(pages, 0, VM_MAP, PAGE_KERNEL));
	cr_expect_null(vmap(pages, UINT32_MAX, VM_MAP, PAGE_KERNEL), "more than the machine has");
	vunmap(NULL);
	machine_down();
}

Test(vmalloc, vmap_rights)
{
	struct page *page;
	char *p;

	machine_up(64 * MIB, 1);
	page = alloc_pages(GFP_KERNEL, 0);
	*(char *)page_address(page) = 7;
	p = vmap(&page, 1, VM_MAP, PAGE_KERNEL_RO);
	cr_expect_eq(*p, 7);
	cr_expect_not(writable(p));
	vunmap(p);
	p = vmap(&page, 1, VM_MAP, KERNEL_PROT(KMAP_R | KMAP_W, MT_WC));
	cr_expect_eq(fake_window_type((uintptr_t)p), MT_WC);
	vunmap(p);
	__free_pages(page, 0);
	machine_down();
}

Test(vmalloc, addresses_lead_to_frames)
{
	char *p;

	machine_up(64 * MIB, 1);
	p = vzalloc(3 * PAGE_SIZE);
	for (size_t i = 0; i < 3 * PAGE_SIZE; i++)
		cr_assert_eq(p[i], 0);
	for (unsigned i = 0; i < 3; i++) {
		char *direct = page_address(vmalloc_to_page(p + i * PAGE_SIZE));

		p[i * PAGE_SIZE + 9] = 40 + i;
		cr_expect_eq(direct[9], 40 + i);
	}
	cr_expect_null(vmalloc_to_page(p + 3 * PAGE_SIZE), "the guard page");
	cr_expect_null(vmalloc_to_page(p - 1));
	cr_expect_eq(vmalloc_to_pfn(&p).n, UINT64_MAX);
	vfree(p);
	cr_expect_null(vmalloc_to_page(p));
	machine_down();
}

/* ---- ioremap ----------------------------------------------------------------------------------- */

Test(vmalloc, ioremap_types)
{
	static const struct {
		void *(*map)(phys_addr_t phys, size_t size);
		enum mem_type mt;
	} t[] = {
		{ioremap, MT_DEVICE}, {ioremap_uc, MT_UC}, {ioremap_wc, MT_WC},
		{ioremap_cache, MT_WB},
	};
	phys_addr_t dev;

	machine_up(64 * MIB, 1);
	dev = fake_device_phys() + 2 * PAGE_SIZE;
	for (unsigned i = 0; i < 4; i++) {
		char *p = t[i].map(dev + 0x123, PAGE_SIZE);
		char *same = ioremap(dev + PAGE_SIZE, 1);

		cr_assert(p && same);
		cr_expect_eq((uintptr_t)p & (PAGE_SIZE - 1), 0x123, "the offset is kept");
		cr_expect_eq(fake_window_type((uintptr_t)p), t[i].mt);
		p[PAGE_SIZE - 0x123] = 5 + i; /* 4 KiB from 0x123 on reach into a second page */
		cr_expect_eq(*same, 5 + i);
		cr_expect_eq(vmalloc_to_pfn(p).n, dev >> PAGE_SHIFT);
		cr_expect_null(vmalloc_to_page(p), "a device has no struct page");
		iounmap(p);
		iounmap(same);
		cr_expect_not(writable(p));
	}
	machine_down();
}

Test(vmalloc, ioremap_refuses)
{
	uint64_t before;

	machine_up(64 * MIB, 1);
	before = free_pages_now();
	cr_expect_null(ioremap(fake_device_phys(), 0));
	cr_expect_null(ioremap(UINT64_MAX - 10, 100), "runs past the end");
	cr_expect_null(ioremap(1ull << (ARCH_PFN_BITS + PAGE_SHIFT), 8), "no such frame");
	cr_expect_null(ioremap(fake_device_phys(), SIZE_MAX));
	cr_expect_null(ioremap(32 * MIB, 8), "RAM");
	cr_expect_null(ioremap(48 * MIB - 10, 20), "over a border of frames");
	char *table = ioremap_cache(0, 1);

	cr_expect(table, "what nobody may use is no RAM of ours");
	iounmap(table);
	cr_expect_null(quire_stack_alloc(0));
	cr_expect_eq(free_pages_now(), before);
	machine_down();
}

/* ---- /proc/vmallocinfo ------------------------------------------------------------------------- */

static void expect_line(const char *line, const void *p, size_t size, const char *tail)
{
	char want[200];
	const char *end = strchr(line, '\n');
	int n = snprintf(want, sizeof(want), "0x%016lx-0x%016lx %7lu 0x", (unsigned long)p,
			 (unsigned long)p + size, (unsigned long)size);

	cr_assert(end);
	cr_expect(!strncmp(line, want, n), "%.*s\n%s", (int)(end - line), line, want);
	cr_expect(!strncmp(end - strlen(tail), tail, strlen(tail)), "%.*s\n%s", (int)(end - line),
		  line, tail);
}

Test(vmalloc, vmallocinfo)
{
	static struct text t;
	struct page *page;
	char *a, *b, *c, *p, *line, want[100];

	machine_up(64 * MIB, 1);
	page = alloc_pages(GFP_KERNEL, 0);
	a = vmalloc(3 * PAGE_SIZE);
	b = vmap(&page, 1, VM_MAP, PAGE_KERNEL);
	c = ioremap(fake_device_phys() + 16, 8);
	quire_show_vmallocinfo(text_emit, &t);
	line = t.s;
	expect_line(line, a, 4 * PAGE_SIZE, " pages=3 vmalloc N0=3");
	line = strchr(line, '\n') + 1;
	expect_line(line, b, 2 * PAGE_SIZE, " pages=1 vmap N0=1");
	line = strchr(line, '\n') + 1;
	snprintf(want, sizeof(want), " phys=0x%016lx ioremap", (unsigned long)fake_device_phys());
	expect_line(line, c - 16, 2 * PAGE_SIZE, want);
	vunmap(b);
	iounmap(c);
	p = vmalloc(BIG * PAGE_SIZE);
	t.n = 0;
	quire_show_vmallocinfo(text_emit, &t);
	cr_expect(strstr(t.s, " vmalloc vpages N0="), "%s", t.s);
	vfree(p);
	vmalloc_drain();
	b = vmap(&page, 1, VM_MAP, PAGE_KERNEL);
	vunmap(b);
	t.n = 0;
	quire_show_vmallocinfo(text_emit, &t);
	line = strchr(t.s, '\n') + 1;
	snprintf(want, sizeof(want), "0x%016lx-0x%016lx %7lu unpurged vm_area\n", (unsigned long)b,
		 (unsigned long)b + 2 * PAGE_SIZE, (unsigned long)(2 * PAGE_SIZE));
	cr_expect(!strncmp(line, want, strlen(want)), "%s", line);
	vfree(a);
	__free_pages(page, 0);
	machine_down();
}

/* ---- everything at once ------------------------------------------------------------------------ */

Test(vmalloc, random_against_a_model)
{
	enum { N = 40, PAGES = 12 };
	static struct {
		char *p;
		unsigned pages, kind; /* 0 vmalloc, 1 vmap, 2 ioremap */
	} a[N];
	struct page *pages[PAGES];
	uint64_t before;

	machine_up(64 * MIB, 2);
	for (unsigned i = 0; i < PAGES; i++)
		pages[i] = alloc_pages(GFP_KERNEL, 0);
	before = free_pages_now();
	for (unsigned step = 0; step < 4000; step++) {
		unsigned k = rnd() % N;

		fake_cpu_switch(step & 1);
		if (a[k].p) {
			cr_assert_eq(vmalloc_to_pfn(a[k].p + a[k].pages * PAGE_SIZE).n, UINT64_MAX);
			if (a[k].kind != 2)
				cr_assert(vmalloc_to_page(a[k].p));
			a[k].kind == 0 ? vfree(a[k].p) :
			a[k].kind == 1 ? vunmap(a[k].p) : iounmap(a[k].p);
			a[k].p = NULL;
		} else {
			a[k].kind = rnd() % 3;
			a[k].pages = 1 + rnd() % PAGES;
			a[k].p = a[k].kind == 0 ? vmalloc(a[k].pages * PAGE_SIZE) :
				 a[k].kind == 1 ? vmap(pages, a[k].pages, VM_MAP, PAGE_KERNEL) :
						  ioremap(fake_device_phys(), a[k].pages * PAGE_SIZE);
			cr_assert(a[k].p);
			for (unsigned i = 0; i < N; i++)
				cr_assert(i == k || !a[i].p || a[i].p > a[k].p + a[k].pages * PAGE_SIZE ||
					  a[i].p + a[i].pages * PAGE_SIZE < a[k].p, "overlap");
		}
		if (step % 64 == 0)
			vmalloc_drain();
		if (step % 16 == 0)
			cr_assert_eq(check_vmap_areas(), 0);
	}
	for (unsigned k = 0; k < N; k++)
		if (a[k].p)
			a[k].kind == 0 ? vfree(a[k].p) :
			a[k].kind == 1 ? vunmap(a[k].p) : iounmap(a[k].p);
	cr_expect_eq(free_pages_now(), before);
	for (unsigned i = 0; i < PAGES; i++) {
		cr_expect_eq(pages[i]->_refcount, 1);
		__free_pages(pages[i], 0);
	}
	machine_down();
}
