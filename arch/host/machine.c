/* SPDX-License-Identifier: MIT */
/*
 * The host machine for benchmarks: its memory and the rest of hal.h. RAM is a memfd mapped shared,
 * so that hal_kernel_map() can show a frame a second time. Nothing here caches a translation, so
 * there is nothing to flush. Calls between CPUs: ipi_direct.c or ipi_mail.c.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "arch/host/host.h"
#include <quire/abi.h>

#define PAGE	      (1ull << ARCH_PAGE_SHIFT)
#define VMALLOC_BYTES (8ull << 30)
#define BYTES_A_FRAME 128 /* of vmemmap: more than any struct page */
#define FAULT_LIMIT   100
#define LARGE	      (2ull << 20) /* the host's large page */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

uintptr_t host_direct_base;
unsigned host_cpus = 1;
__thread unsigned host_cpu;
__thread bool host_irqs_off;

static __thread struct arch_space *running;
static bool (*on_fault)(const struct fault_info *fi);
static uint64_t ram_bytes;
static int memfd = -1;
static struct kernel_layout layout;
static struct mmu_info mmu = {
	.levels = ARCH_PAGE_SHIFT > 12 ? 3 : 4,
	.hw_accessed_dirty = true,
};

/* Address space, aligned so that the host may show it by large pages. */
static uintptr_t reserve(size_t n)
{
	void *p = mmap(NULL, n + LARGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uintptr_t at = (uintptr_t)p, va = (at + LARGE - 1) & ~(LARGE - 1);

	if (p == MAP_FAILED)
		return 0;
	munmap(p, va - at);
	munmap((void *)(va + n), at + LARGE - va);
	return va;
}

static size_t vmemmap_bytes(void)
{
	return ((ram_bytes >> ARCH_PAGE_SHIFT) * BYTES_A_FRAME + (64 << 20)) & ~(PAGE - 1);
}

int host_machine_create(uint64_t ram, unsigned cpus)
{
	ram_bytes = ram & ~(PAGE - 1);
	host_cpus = cpus ? cpus : 1;
	mmu.va_bits = ARCH_PAGE_SHIFT + mmu.levels * ARCH_INDEX_BITS;
	mmu.user_end = (1ull << (mmu.va_bits - 1)) - PAGE;
	memfd = memfd_create("quire-ram", MFD_CLOEXEC);
	if (memfd < 0 || ftruncate(memfd, ram_bytes))
		return -1;
	host_direct_base = reserve(ram_bytes);
	layout.direct_base = host_direct_base;
	layout.vmemmap_base = reserve(vmemmap_bytes());
	layout.vmemmap_end = layout.vmemmap_base + vmemmap_bytes();
	layout.vmalloc_base = reserve(VMALLOC_BYTES);
	layout.vmalloc_end = layout.vmalloc_base + VMALLOC_BYTES;
	if (!layout.direct_base || !layout.vmemmap_base || !layout.vmalloc_base ||
	    mmap((void *)host_direct_base, ram_bytes, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED | MAP_POPULATE, memfd, 0) == MAP_FAILED) {
		host_machine_destroy();
		return -1;
	}
	host_cpu_enter(0);
	return 0;
}

void host_machine_destroy(void)
{
	if (layout.direct_base)
		munmap((void *)layout.direct_base, ram_bytes);
	if (layout.vmemmap_base)
		munmap((void *)layout.vmemmap_base, vmemmap_bytes());
	if (layout.vmalloc_base)
		munmap((void *)layout.vmalloc_base, VMALLOC_BYTES);
	if (memfd >= 0)
		close(memfd);
	layout = (struct kernel_layout){0};
	memfd = -1;
	on_fault = NULL;
	running = NULL;
}

void host_cpu_enter(unsigned n)
{
	host_cpu = n;
	host_irqs_off = false;
	host_cpu_arrive();
}

void host_on_fault(bool (*fn)(const struct fault_info *fi))
{
	on_fault = fn;
}

/* ---- the contract ---------------------------------------------------------------------------- */

void hal_log(const char *s, size_t n)
{
	fwrite(s, 1, n, stdout);
}

_Noreturn void hal_exit(int status)
{
	exit(status);
}

void hal_memory_ranges(void (*fn)(const struct mem_range *r, void *ctx), void *ctx)
{
	fn(&(struct mem_range){0, ram_bytes, MEM_RAM, "ram"}, ctx);
	fn(&(struct mem_range){0, PAGE, MEM_RESERVED, "page zero"}, ctx);
}

const struct mmu_info *hal_mmu_info(void)
{
	return &mmu;
}

const struct kernel_layout *hal_kernel_layout(void)
{
	return &layout;
}

/* Its threads are the program's, who calls host_cpu_enter() in them. */
uint64_t hal_cpus_online(void)
{
	return (2ull << (host_cpus - 1)) - 1;
}

int hal_cpu_start(unsigned cpu, void *stack_top, void (*fn)(void *arg), void *arg)
{
	return !cpu || cpu >= host_cpus ? -EINVAL : -EBUSY;
}

uint64_t hal_cycles(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

int hal_space_init(struct arch_space *s, pfn_t root, bool user)
{
	*s = (struct arch_space){.root = root, .user = user};
	return 0;
}

void hal_space_destroy(struct arch_space *s)
{
	if (running == s)
		running = NULL;
}

void hal_space_switch(struct arch_space *s)
{
	running = s;
}

void hal_tlb_flush(struct arch_space *s, uintptr_t start, uintptr_t end, unsigned level,
		   bool freed_tables)
{
}

void hal_icache_sync(const void *start, size_t n)
{
}

int hal_kernel_map(uintptr_t va, pfn_t pfn, size_t npages, unsigned prot, enum mem_type mt,
		   table_alloc_fn alloc, void *ctx)
{
	int host = PROT_READ | (prot & KMAP_W ? PROT_WRITE : 0);
	size_t size = npages << ARCH_PAGE_SHIFT;

	if (mmap((void *)va, size, host, MAP_SHARED | MAP_FIXED, memfd,
		 pfn.n << ARCH_PAGE_SHIFT) == MAP_FAILED)
		return -12;
	/* As both real machines do. Where the host will not, small pages serve. */
	if (va >= layout.vmemmap_base && va < layout.vmemmap_end && size >= LARGE)
		madvise((void *)va, size, MADV_COLLAPSE);
	return 0;
}

void hal_kernel_unmap(uintptr_t va, size_t npages)
{
	mmap((void *)va, npages << ARCH_PAGE_SHIFT, PROT_NONE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

/* The host's kernel has flushed already. */
void hal_kernel_flush(uintptr_t start, uintptr_t end)
{
}

/* ---- user memory ----------------------------------------------------------------------------- */

/* Where va leads, A and D set; NULL if the tables do not allow it. */
static char *translate(uintptr_t va, bool write)
{
	pfn_t table = running ? running->root : PFN(0);

	for (int level = (int)mmu.levels - 1; running && level >= 0; level--) {
		unsigned shift = ARCH_PAGE_SHIFT + level * ARCH_INDEX_BITS;
		pteval_t *e = (pteval_t *)hal_phys_to_virt(table.n << ARCH_PAGE_SHIFT) +
			      (va >> shift & ((1u << ARCH_INDEX_BITS) - 1));
		struct pte_desc d = arch_pte_decode(hal_pte_get(e), level);

		if (d.kind == PTE_LEAF) {
			if (!d.r || (write && !d.w))
				return NULL;
			d.accessed = true;
			d.dirty |= write;
			hal_pte_set(e, arch_pte_encode(d, level));
			return (char *)hal_phys_to_virt(d.pfn.n << ARCH_PAGE_SHIFT) +
			       (va & ((1ull << shift) - 1));
		}
		if (d.kind != PTE_TABLE)
			return NULL;
		table = d.pfn;
	}
	return NULL;
}

static char *resolve(uintptr_t va, bool write)
{
	const struct fault_info fi = {
		.addr = va, .fixup = 1, .access = write ? FAULT_WRITE : FAULT_READ,
	};
	char *p = translate(va, write);

	for (int i = 0; !p && i < FAULT_LIMIT && on_fault && on_fault(&fi); i++)
		p = translate(va, write);
	return p;
}

/* One page at a time. from, to: the kernel's side, one of them or none (clearing). */
static size_t copy(uintptr_t user, char *to, const char *from, bool write, size_t n)
{
	if (user >= mmu.user_end || n > mmu.user_end - user)
		return n;
	while (n) {
		size_t chunk = PAGE - (user & (PAGE - 1));
		char *p = resolve(user, write);

		if (!p)
			return n;
		chunk = chunk < n ? chunk : n;
		if (to) {
			memcpy(to, p, chunk);
			to += chunk;
		} else if (from) {
			memcpy(p, from, chunk);
			from += chunk;
		} else {
			memset(p, 0, chunk);
		}
		user += chunk;
		n -= chunk;
	}
	return 0;
}

size_t hal_copy_from_user(void *dst, uintptr_t src, size_t n)
{
	return copy(src, dst, NULL, false, n);
}

size_t hal_copy_to_user(uintptr_t dst, const void *src, size_t n)
{
	return copy(dst, NULL, src, true, n);
}

size_t hal_clear_user(uintptr_t dst, size_t n)
{
	return copy(dst, NULL, NULL, true, n);
}
