/* SPDX-License-Identifier: MIT */
/*
 * The fake machine (the machine in software), its outside: RAM in a memfd, the direct map and the
 * kernel windows as ranges of host addresses, configuration, accidents, accusations, the log. RAM
 * is mapped shared, so the same frame can appear in the direct map and in a window, as on a real
 * machine.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arch/fake/arch.h"
#include "arch/fake/machine.h"
#include "lib/lockdep.h"

#if defined(__SANITIZE_ADDRESS__)
#define FAKE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FAKE_ASAN 1
#endif
#endif
#ifdef FAKE_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n)	  ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

struct machine machine = {.lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP, .memfd = -1};
uintptr_t fake_direct_base;
static uint64_t machines; /* so far */
__thread struct self self;

/* The kernel windows, page by page: frame number + 1 of what is mapped there, or 0. */
static uint32_t *vmemmap_used, *vmalloc_used;
static uint8_t *vmemmap_tables, *vmalloc_tables;

#define MIB (1ull << 20)
#define GIB (1ull << 30)
#define VMALLOC_BYTES (8 * GIB)
/* More than any struct page is long; the window must hold one for every frame number. */
#define VMEMMAP_BYTES_A_FRAME 128
#define VMEMMAP_SLACK	      (64 * MIB)

/* ---- accusations ----------------------------------------------------------------------------- */

const char *fake_accusation_name(enum fake_accusation what)
{
	static const char *const name[FAKE_ACCUSATIONS] = {
		[FAKE_STALE_FREE] = "stale-at-free",
		[FAKE_STALE_RETURN] = "stale-at-return",
		[FAKE_STALE_USER] = "stale-at-user-entry",
		[FAKE_NO_BBM] = "no-break-before-make",
		[FAKE_LOST_BITS] = "accessed-dirty-lost",
		[FAKE_FREED_MAPPED] = "freed-while-mapped",
		[FAKE_FREED_TABLE] = "freed-while-linked",
		[FAKE_FREED_DMA] = "freed-while-transferred",
		[FAKE_TAKEN_MAPPED] = "handed-out-while-mapped",
		[FAKE_ICACHE] = "no-icache-sync",
		[FAKE_STALE_CODE] = "stale-code",
		[FAKE_ASID] = "stale-asid",
		[FAKE_IRQ_ORDER] = "irq-order",
		[FAKE_CONTEXT] = "forbidden-context",
		[FAKE_IPI_IRQS_OFF] = "ipi-with-irqs-off",
		[FAKE_LIVELOCK] = "livelock",
		[FAKE_BAD_CALL] = "bad-call",
		[FAKE_RACE] = "data-race",
		[FAKE_RELAXED] = "relaxed-store",
		[FAKE_PER_CPU] = "per-cpu",
	};

	return what < FAKE_ACCUSATIONS ? name[what] : "?";
}

void fake_accuse(enum fake_accusation what, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(machine.last_accusation, sizeof(machine.last_accusation), fmt, ap);
	va_end(ap);
	machine.accused[what]++;
	if (machine.on_accusation) {
		machine.on_accusation(what, machine.last_accusation, machine.accusation_ctx);
		return;
	}
	fprintf(stderr, "fake machine accuses (%s): %s\n", fake_accusation_name(what),
		machine.last_accusation);
	abort();
}

void fake_on_accusation(void (*fn)(enum fake_accusation what, const char *msg, void *ctx),
			void *ctx)
{
	machine.on_accusation = fn;
	machine.accusation_ctx = ctx;
}

unsigned fake_accused(enum fake_accusation what)
{
	return machine.accused[what];
}

const char *fake_last_accusation(void)
{
	return machine.last_accusation;
}

uint64_t fake_entry_reads;

const struct fake_counters *fake_counters(void)
{
	return &machine.count;
}

/* ---- memory ---------------------------------------------------------------------------------- */

bool fake_is_ram(phys_addr_t pa, uint64_t n)
{
	for (unsigned i = 0; i < machine.nranges; i++)
		if (pa >= machine.range[i].start && pa < machine.range[i].end &&
		    n <= machine.range[i].end - pa)
			return true;
	return false;
}

struct frame *fake_frame(uint64_t pfn)
{
	if (pfn >= machine.nframes || !fake_is_ram(pfn << ARCH_PAGE_SHIFT, 1))
		return NULL;
	return &machine.frames[pfn];
}

static void add_range(phys_addr_t start, phys_addr_t end, enum mem_range_kind kind,
		      const char *name)
{
	struct mem_range r = {start, end, kind, name};

	if (start < end && machine.nranges < sizeof(machine.range) / sizeof(machine.range[0]))
		machine.range[machine.nranges++] = r;
	if (start >= end && machine.nnonsense < sizeof(machine.nonsense) / sizeof(r))
		machine.nonsense[machine.nnonsense++] = r;
}

/* A PC's memory: page zero and the firmware's window reserved, the image at 1 MiB, RAM beyond
 * 3 GiB moved above 4 GiB. */
static void default_ranges(uint64_t ram)
{
	uint64_t low = ram < 3 * GIB ? ram : 3 * GIB;

	add_range(0, low, MEM_RAM, "ram");
	if (ram > low)
		add_range(4 * GIB, 4 * GIB + ram - low, MEM_RAM, "ram above 4G");
	add_range(0, FAKE_PAGE, MEM_RESERVED, "page zero");
	add_range(0xa0000, 0x100000, MEM_RESERVED, "firmware");
	add_range(MIB, 2 * MIB, MEM_KERNEL, "image");
}

static struct mem_range *last_ram(void)
{
	struct mem_range *last = NULL;

	for (unsigned i = 0; i < machine.nranges; i++)
		if (machine.range[i].kind == MEM_RAM &&
		    (!last || machine.range[i].end > last->end))
			last = &machine.range[i];
	return last;
}

/* A piece of n bytes cut from the end of RAM, page-aligned, below those cut before. */
static phys_addr_t carve(size_t n, phys_addr_t *top, enum mem_range_kind kind, const char *name)
{
	phys_addr_t start = (*top - n) & ~(FAKE_PAGE - 1);

	add_range(start, start + n, kind, name);
	*top = start;
	return start;
}

static bool plan_ranges(const struct fake_config *c)
{
	struct mem_range *ram;
	phys_addr_t top;

	for (unsigned i = 0; i < c->nranges; i++)
		add_range(c->ranges[i].start, c->ranges[i].end, c->ranges[i].kind,
			  c->ranges[i].name);
	if (!c->nranges)
		default_ranges(c->ram ? c->ram : 128 * MIB);
	ram = last_ram();
	if (!ram || ram->end - ram->start < c->trace_ring_size + c->initrd_size + 2 * FAKE_PAGE)
		return false;
	top = ram->end & ~(FAKE_PAGE - 1);
	if (c->trace_ring_size)
		machine.ring_phys = carve(c->trace_ring_size, &top, MEM_TRACE, "trace ring");
	if (c->initrd_size)
		machine.initrd_phys = carve(c->initrd_size, &top, MEM_BOOT_DATA, "initrd");
	for (unsigned i = 0; i < machine.nranges; i++)
		if (machine.range[i].end > machine.end)
			machine.end = machine.range[i].end;
	machine.nframes = (machine.end + FAKE_PAGE - 1) >> ARCH_PAGE_SHIFT;
	return true;
}

/* Host addresses without memory behind them; aligned to align. 0: none. */
static uintptr_t reserve(size_t n, size_t align)
{
	char *p = mmap(NULL, n + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		       0);
	uintptr_t a;

	if (p == MAP_FAILED)
		return 0;
	a = ((uintptr_t)p + align - 1) & ~(align - 1);
	if (a > (uintptr_t)p)
		munmap(p, a - (uintptr_t)p);
	munmap((void *)(a + n), (uintptr_t)p + align - a);
	return a;
}

static void *lazy_array(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* Backs every range in the direct map with its part of the memfd. */
static bool map_ram(void)
{
	for (unsigned i = 0; i < machine.nranges; i++) {
		phys_addr_t a = machine.range[i].start & ~(FAKE_PAGE - 1);
		phys_addr_t b = (machine.range[i].end + FAKE_PAGE - 1) & ~(FAKE_PAGE - 1);

		if (mmap((void *)(fake_direct_base + a), b - a, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED | MAP_NORESERVE, machine.memfd, a) == MAP_FAILED)
			return false;
	}
	return true;
}

static size_t direct_size(void)
{
	return machine.nframes << ARCH_PAGE_SHIFT;
}

/* The registers of a device lie behind the last frame of RAM, in the memfd too. */
phys_addr_t fake_device_phys(void)
{
	return direct_size();
}

/* Bytes of the book of a window of n bytes. */
static size_t window_book(size_t n)
{
	return (n >> ARCH_PAGE_SHIFT) * sizeof(uint32_t);
}

static bool build_memory(void)
{
	struct kernel_layout *l = &machine.layout;
	size_t align = 2 * MIB;

	machine.memfd = memfd_create("quire-ram", MFD_CLOEXEC);
	machine.vmemmap_size = (machine.nframes * VMEMMAP_BYTES_A_FRAME + VMEMMAP_SLACK) &
			       ~(FAKE_PAGE - 1);
	machine.vmalloc_size = VMALLOC_BYTES;
	if (machine.memfd < 0 || ftruncate(machine.memfd, direct_size() + FAKE_DEVICE_BYTES))
		return false;
	fake_direct_base = l->direct_base = reserve(direct_size(), align);
	l->vmemmap_base = reserve(machine.vmemmap_size, align);
	l->vmalloc_base = reserve(machine.vmalloc_size, align);
	machine.frames = lazy_array(machine.nframes * sizeof(struct frame));
	vmemmap_used = lazy_array(window_book(machine.vmemmap_size));
	vmalloc_used = lazy_array(window_book(machine.vmalloc_size));
	vmemmap_tables = lazy_array(window_book(machine.vmemmap_size));
	vmalloc_tables = lazy_array(window_book(machine.vmalloc_size));
	if (!l->direct_base || !l->vmemmap_base || !l->vmalloc_base || !machine.frames ||
	    !vmemmap_used || !vmalloc_used || !vmemmap_tables || !vmalloc_tables)
		return false;
	l->vmemmap_end = l->vmemmap_base + machine.vmemmap_size;
	l->vmalloc_end = l->vmalloc_base + machine.vmalloc_size;
	return map_ram();
}

/* ---- life ------------------------------------------------------------------------------------ */

static void plan_mmu(const struct fake_config *c)
{
	/* the invented geometry reaches with three levels as far as the others with four */
	unsigned levels = c->levels ? c->levels : ARCH_PAGE_SHIFT > 12 ? 3 : 4;

	machine.mmu = (struct mmu_info){
		.levels = levels,
		.va_bits = ARCH_PAGE_SHIFT + levels * ARCH_INDEX_BITS,
		.asid_bits = c->with_asids ? c->asid_bits ? c->asid_bits : 16 : 0,
		.hw_accessed_dirty = !c->software_ad,
		.caches_invalid = c->caches_invalid,
		.needs_bbm = c->needs_bbm,
	};
	machine.mmu.user_end = (1ull << (machine.mmu.va_bits - 1)) - FAKE_PAGE;
}

__attribute__((weak)) void fake_forget_accesses(void)
{
}

int fake_machine_create(const struct fake_config *cfg)
{
	static const struct fake_config defaults;

	if (machine.up) {
		fprintf(stderr, "fake machine: there is one already\n");
		return -1;
	}
	machine.cfg = cfg ? *cfg : defaults;
	if (!machine.cfg.cpus)
		machine.cfg.cpus = 1;
	plan_mmu(&machine.cfg);
	if (machine.mmu.levels > ARCH_MAX_LEVELS || machine.mmu.levels < 2 ||
	    machine.cfg.cpus > FAKE_MAX_CPUS) {
		fprintf(stderr, "fake machine: no such machine: %u levels, %u CPUs\n",
			machine.mmu.levels, machine.cfg.cpus);
		return -1;
	}
	machine.rng = machine.cfg.seed * 0x9e3779b97f4a7c15ull + 0x853c49e6748fea9bull;
	machine.up = true;
	machine.number = ++machines;
	if (!plan_ranges(&machine.cfg) || !build_memory() || !tags_start()) {
		fprintf(stderr, "fake machine: no memory for it\n");
		fake_machine_destroy();
		return -1;
	}
	if (machine.cfg.initrd_size)
		memcpy(hal_phys_to_virt(machine.initrd_phys), machine.cfg.initrd,
		       machine.cfg.initrd_size);
	self = (struct self){0};
	fake_forget_accesses();
	fake_choose_points(machine.cfg.preempt_every, machine.cfg.preempt_at);
	return 0;
}

static void drop(uintptr_t p, size_t n)
{
	if (p)
		munmap((void *)p, n);
}

static void drop_spaces(void)
{
	while (machine.spaces) {
		struct fake_space *s = machine.spaces;

		for (unsigned cpu = 0; cpu < FAKE_MAX_CPUS; cpu++) {
			tlb_flush_all(s, cpu);
			free(s->tlb[cpu].bucket);
		}
		machine.spaces = s->next;
		free(s);
	}
}

void fake_machine_destroy(void)
{
	static const struct machine none = {.lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP, .memfd = -1};
	void (*hook)(enum fake_accusation, const char *, void *) = machine.on_accusation;
	void *hook_ctx = machine.accusation_ctx;

	if (!machine.up)
		return;
	if (machine.on_destroy)
		machine.on_destroy();
	for (unsigned n = 0; n < FAKE_MAX_CPUS; n++)
		fake_cpu_join(n);
	drop_spaces();
	for (unsigned i = 0; fake_direct_base && i < machine.nranges; i++)
		ASAN_UNPOISON_MEMORY_REGION(hal_phys_to_virt(machine.range[i].start),
					    machine.range[i].end - machine.range[i].start);
	drop(machine.layout.direct_base, direct_size());
	drop(machine.layout.vmemmap_base, machine.vmemmap_size);
	drop(machine.layout.vmalloc_base, machine.vmalloc_size);
	drop((uintptr_t)machine.frames, machine.nframes * sizeof(struct frame));
	drop((uintptr_t)vmemmap_used, window_book(machine.vmemmap_size));
	drop((uintptr_t)vmalloc_used, window_book(machine.vmalloc_size));
	drop((uintptr_t)vmemmap_tables, window_book(machine.vmemmap_size));
	drop((uintptr_t)vmalloc_tables, window_book(machine.vmalloc_size));
	if (machine.memfd >= 0)
		close(machine.memfd);
	free(machine.stays);
	tags_end();
	vmemmap_used = vmalloc_used = NULL;
	vmemmap_tables = vmalloc_tables = NULL;
	fake_direct_base = 0;
	machine = none;
	machine.on_accusation = hook;
	machine.accusation_ctx = hook_ctx;
}

static bool shrink_ram(uint64_t bytes)
{
	struct mem_range *r = last_ram();
	phys_addr_t end;

	if (!r || bytes >= r->end - r->start)
		return false;
	end = (r->start + bytes) & ~(FAKE_PAGE - 1);
	mprotect((void *)(fake_direct_base + end), r->end - end, PROT_NONE);
	r->end = end;
	return true;
}

bool fake_accident(const char *name, uint64_t value)
{
	struct fake_config *c = &machine.cfg;

	if (!strcmp(name, "cache-invalid"))
		c->caches_invalid = machine.mmu.caches_invalid = value;
	else if (!strcmp(name, "software-ad"))
		machine.mmu.hw_accessed_dirty = !(c->software_ad = value != 0);
	else if (!strcmp(name, "needs-bbm"))
		c->needs_bbm = machine.mmu.needs_bbm = value;
	else if (!strcmp(name, "asids"))
		c->with_asids = (machine.mmu.asid_bits = value) != 0, tags_start();
	else if (!strcmp(name, "icaches"))
		c->icaches = value, tags_start();
	else if (!strcmp(name, "tlb-entries"))
		c->tlb_entries = value;
	else if (!strcmp(name, "spurious"))
		c->spurious_every = value;
	else if (!strcmp(name, "timer"))
		c->timer_every = value;
	else if (!strcmp(name, "seed"))
		machine.rng = value * 0x9e3779b97f4a7c15ull + 1;
	else if (!strcmp(name, "shrink-ram"))
		return shrink_ram(value);
	else
		return false;
	return true;
}

/* ---- the contract: memory -------------------------------------------------------------------- */

void hal_memory_ranges(void (*fn)(const struct mem_range *r, void *ctx), void *ctx)
{
	for (unsigned i = 0; i < machine.nnonsense; i++)
		fn(&machine.nonsense[i], ctx);
	for (unsigned i = 0; i < machine.nranges; i++)
		fn(&machine.range[i], ctx);
}

const struct mmu_info *hal_mmu_info(void)
{
	return &machine.mmu;
}

const struct kernel_layout *hal_kernel_layout(void)
{
	return &machine.layout;
}

static bool in_direct_map(const void *va)
{
	return (uintptr_t)va >= fake_direct_base &&
	       (uintptr_t)va - fake_direct_base < direct_size();
}

phys_addr_t hal_virt_to_phys(const void *va)
{
	if (!in_direct_map(va))
		fake_accuse(FAKE_BAD_CALL, "hal_virt_to_phys(%p): not in the direct map", va);
	return (uintptr_t)va - fake_direct_base;
}

/* What a page of a window shows: frame number + 1, memory type, and whether it was unmapped but
 * not flushed: CPUs may still reach the frame through it. */
#define WINDOW_PFN   0x1fffffffu
#define WINDOW_MT    29
#define WINDOW_STALE 0x80000000u
#define WINDOW_CORRUPT 0x7fffffffu /* fake_corrupt_window() */

/* The book entry of a window's page, or NULL if [va, va + n pages) lies in no window. */
static uint32_t *window_used(uintptr_t va, size_t npages)
{
	const struct kernel_layout *l = &machine.layout;
	size_t n = npages << ARCH_PAGE_SHIFT;

	if (va & (FAKE_PAGE - 1) || !npages)
		return NULL;
	if (va >= l->vmemmap_base && va < l->vmemmap_end && n <= l->vmemmap_end - va)
		return &vmemmap_used[(va - l->vmemmap_base) >> ARCH_PAGE_SHIFT];
	if (va >= l->vmalloc_base && va < l->vmalloc_end && n <= l->vmalloc_end - va)
		return &vmalloc_used[(va - l->vmalloc_base) >> ARCH_PAGE_SHIFT];
	return NULL;
}

/* One more, or one less, way to a frame; device registers have no book. Lock held. */
static void window_count(uint32_t entry, int delta)
{
	struct frame *f = fake_frame((entry & WINDOW_PFN) - 1);

	if (f)
		f->live += delta;
}

/* Writes down that the pages of a window show the frames from pfn on. */
static void window_mark(uint32_t *used, uint64_t pfn, size_t npages, enum mem_type mt)
{
	fake_lock();
	for (size_t i = 0; i < npages; i++) {
		used[i] = (uint32_t)(pfn + i + 1) | (uint32_t)mt << WINDOW_MT;
		window_count(used[i], 1);
	}
	fake_unlock();
}

/* Unmapped: from here to the flush the frames count as reachable. */
static void window_stale(uint32_t *used, size_t npages)
{
	fake_lock();
	for (size_t i = 0; i < npages; i++) {
		if (used[i] && !(used[i] & WINDOW_STALE)) {
			used[i] |= WINDOW_STALE;
			machine.kernel_stale++;
		}
	}
	fake_unlock();
}

/* Forgets what is stale in the part of a window that [start, end) covers. Lock held. */
static void window_flush(uint32_t *used, uintptr_t base, uintptr_t limit, uintptr_t start,
			 uintptr_t end)
{
	start = start > base ? start : base;
	end = end < limit ? end : limit;
	for (; start < end && machine.kernel_stale; start += FAKE_PAGE) {
		uint32_t *u = &used[(start - base) >> ARCH_PAGE_SHIFT];

		if (*u & WINDOW_STALE) {
			window_count(*u, -1);
			*u = 0;
			machine.kernel_stale--;
		}
	}
}

/* With kernel_tables a window has a table for each FAKE_INDEX pages, as on a real machine: asked
 * for when it is first needed, and never given back. */
static bool window_tables(uintptr_t va, size_t npages, table_alloc_fn alloc, void *ctx)
{
	const struct kernel_layout *l = &machine.layout;
	bool vmemmap = va >= l->vmemmap_base && va < l->vmemmap_end;
	uintptr_t base = vmemmap ? l->vmemmap_base : l->vmalloc_base;
	uint8_t *have = vmemmap ? vmemmap_tables : vmalloc_tables;
	size_t first = (va - base) >> ARCH_PAGE_SHIFT;

	for (size_t t = first / FAKE_INDEX; t <= (first + npages - 1) / FAKE_INDEX; t++) {
		pfn_t pfn;

		if (!machine.cfg.kernel_tables || have[t])
			continue;
		pfn = alloc(ctx);
		if (pfn.n == UINT64_MAX)
			return false;
		fake_lock();
		if (!fake_frame(pfn.n))
			fake_accuse(FAKE_BAD_CALL, "a kernel table at pfn %#llx, which is no RAM",
				    (unsigned long long)pfn.n);
		else
			fake_frame(pfn.n)->live++; /* freeing it is an accusation */
		fake_unlock();
		have[t] = 1;
	}
	return true;
}

static bool is_device(phys_addr_t pa, size_t n)
{
	phys_addr_t base = fake_device_phys();

	return pa >= base && pa - base < FAKE_DEVICE_BYTES && n <= FAKE_DEVICE_BYTES - (pa - base);
}

void fake_corrupt_window(uintptr_t va, bool corrupt)
{
	uint32_t *used = window_used(va, 1);

	if (!used || (*used && *used != WINDOW_CORRUPT))
		fake_accuse(FAKE_BAD_CALL, "fake_corrupt_window(%#lx): no free page of a window",
			    (unsigned long)va);
	else
		*used = corrupt ? WINDOW_CORRUPT : 0;
}

/* As the real machines say it (arch/common/kmap.c). */
static int window_is_corrupt(uintptr_t va)
{
	char line[96];

	hal_log(line, snprintf(line, sizeof(line), "quire: kernel map: corrupt entry at %#lx\n",
			       (unsigned long)va));
	return -EUCLEAN;
}

int hal_kernel_map(uintptr_t va, pfn_t pfn, size_t npages, unsigned prot, enum mem_type mt,
		   table_alloc_fn alloc, void *ctx)
{
	uint32_t *used = window_used(va, npages);
	size_t n = npages << ARCH_PAGE_SHIFT;
	int host = (prot & KMAP_R ? PROT_READ : 0) | (prot & KMAP_W ? PROT_READ | PROT_WRITE : 0);
	phys_addr_t pa = pfn.n << ARCH_PAGE_SHIFT;

	if (!used || (prot & (KMAP_W | KMAP_X)) == (KMAP_W | KMAP_X) ||
	    (!fake_is_ram(pa, n) && !is_device(pa, n))) {
		fake_accuse(FAKE_BAD_CALL, "hal_kernel_map(%#lx, pfn %#llx, %zu pages, prot %u)",
			    (unsigned long)va, (unsigned long long)pfn.n, npages, prot);
		return -12;
	}
	for (size_t i = 0; i < npages; i++) {
		if (used[i] == WINDOW_CORRUPT)
			return window_is_corrupt(va + (i << ARCH_PAGE_SHIFT));
		if (used[i]) {
			fake_accuse(FAKE_BAD_CALL, "hal_kernel_map(%#lx): %s",
				    (unsigned long)(va + (i << ARCH_PAGE_SHIFT)),
				    used[i] & WINDOW_STALE ? "unmapped but not flushed"
							   : "mapped already");
			return -12;
		}
	}
	if (!window_tables(va, npages, alloc, ctx) ||
	    mmap((void *)va, n, host, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, machine.memfd, pa) ==
		    MAP_FAILED)
		return -12;
	window_mark(used, pfn.n, npages, mt);
	return 0;
}

void hal_kernel_unmap(uintptr_t va, size_t npages)
{
	uint32_t *used = window_used(va, npages);

	if (!used) {
		fake_accuse(FAKE_BAD_CALL, "hal_kernel_unmap(%#lx, %zu pages)", (unsigned long)va,
			    npages);
		return;
	}
	window_stale(used, npages);
	mmap((void *)va, npages << ARCH_PAGE_SHIFT, PROT_NONE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

/* The windows are the host's memory, which has nothing to flush. */
static void flushed_here(void *arg)
{
}

void hal_kernel_flush(uintptr_t start, uintptr_t end)
{
	const struct kernel_layout *l = &machine.layout;

	if (start > end)
		fake_accuse(FAKE_BAD_CALL, "hal_kernel_flush(%#lx-%#lx)", (unsigned long)start,
			    (unsigned long)end);
	if (self.irqs_off && machine.cfg.cpus > 1)
		fake_accuse(FAKE_IPI_IRQS_OFF, "hal_kernel_flush(%#lx-%#lx) with interrupts off",
			    (unsigned long)start, (unsigned long)end);
	lockdep_waits_for_cpus();
	if (machine.in_turns && !self.irqs_off)
		fake_call_cpus((2ull << (machine.cfg.cpus - 1)) - 1 - (1ull << self.cpu), flushed_here, NULL);
	fake_lock();
	machine.count.kernel_flushes++;
	window_flush(vmemmap_used, l->vmemmap_base, l->vmemmap_end, start, end);
	window_flush(vmalloc_used, l->vmalloc_base, l->vmalloc_end, start, end);
	fake_unlock();
}

enum mem_type fake_window_type(uintptr_t va)
{
	const uint32_t *used = window_used(va & ~(FAKE_PAGE - 1), 1);

	return used ? (enum mem_type)(*used >> WINDOW_MT & 3) : MT_WB;
}

phys_addr_t fake_window_phys(uintptr_t va)
{
	const uint32_t *used = window_used(va & ~(FAKE_PAGE - 1), 1);

	if (!used || !*used || *used & WINDOW_STALE)
		return UINT64_MAX;
	return ((phys_addr_t)((*used & WINDOW_PFN) - 1) << ARCH_PAGE_SHIFT) + (va & (FAKE_PAGE - 1));
}

/* ---- the contract: pages --------------------------------------------------------------------- */

void hal_clear_page(void *page)
{
	memset(page, 0, FAKE_PAGE);
}

void hal_copy_page(void *dst, const void *src)
{
	memcpy(dst, src, FAKE_PAGE);
}

/* Calls fn for each whole frame of [p, p + n), if that is in the direct map at all. */
static void each_frame(const void *p, size_t n, void (*fn)(uint64_t pfn))
{
	uintptr_t first = ((uintptr_t)p + FAKE_PAGE - 1) & ~(FAKE_PAGE - 1);
	uintptr_t end = ((uintptr_t)p + n) & ~(FAKE_PAGE - 1);

	if (!in_direct_map(p) || first >= end)
		return;
	fake_cross();
	fake_lock();
	for (uintptr_t a = first; a < end; a += FAKE_PAGE)
		fn((a - fake_direct_base) >> ARCH_PAGE_SHIFT);
	fake_unlock();
}

/* The core poisons what it frees: whole frames tell the machine that they are free now. */
void hal_poison(const void *p, size_t n)
{
	each_frame(p, n, books_frame_freed);
	ASAN_POISON_MEMORY_REGION(p, n);
}

void hal_unpoison(const void *p, size_t n)
{
	each_frame(p, n, books_frame_taken);
	ASAN_UNPOISON_MEMORY_REGION(p, n);
}

void hal_icache_sync(const void *start, size_t n)
{
	if (!in_direct_map(start)) {
		fake_accuse(FAKE_BAD_CALL, "hal_icache_sync(%p): not in the direct map", start);
		return;
	}
	if (machine.cfg.icaches)
		asid_icache_sync((2ull << (machine.cfg.cpus - 1)) - 1);
	fake_lock();
	machine.count.icache_syncs++;
	books_synced((uintptr_t)start - fake_direct_base, n);
	fake_unlock();
}

/* ---- the contract: first life ---------------------------------------------------------------- */

void hal_log(const char *s, size_t n)
{
	if (machine.cfg.log)
		machine.cfg.log(s, n);
	else
		fwrite(s, 1, n, stderr);
}

_Noreturn void hal_exit(int status)
{
	if (machine.on_exit)
		machine.on_exit(status);
	exit(status);
}
