/* SPDX-License-Identifier: MIT */
/*
 * vmalloc, vmap, ioremap and kernel stacks: mappings in the kernel's own address range. vmalloc:
 * fresh pages that are only virtually contiguous; vmap: the caller's pages side by side; ioremap:
 * device registers.
 *
 * Every area has an absent page behind it, and the range begins with one, so running off either
 * end of an area faults. Unmapping clears the entries at once and leaves the flush for later
 * (vmap_area.c); until then the area's vm_struct keeps a hold of every frame, so none is used again
 * while a CPU may still reach it. Linux frees them at once and trusts that no stray access follows.
 *
 * A few freed stacks are kept mapped for the next task: fork and exit then cost no page-table
 * change and no flush.
 *
 * hal_kernel_map() wants one caller at a time, for it makes tables: kmap_mutex. Taking entries away
 * needs no lock: areas do not share entries, and tables are never taken away.
 */
#include "mm/vmalloc/vmalloc.h"
#include "arch/hal.h"
#include "lib/bits.h"
#include "lib/bug.h"
#include "lib/mutex.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "mm/base/lockrank.h"
#include "mm/base/vmstat.h"
#include "mm/phys/kmap.h"
#include "mm/phys/page_alloc.h"
#include "mm/slab/slab.h"
#include <quire/abi.h>
#include <quire/os.h>
#include <quire/quire.h>

#define IOREMAP_MAX_ALIGN (2ul << 20) /* a wider range gains nothing from a wider multiple */

static struct mutex kmap_mutex;

#define STACK_CACHE 4
static void *stack_cache[STACK_CACHE]; /* stack_lock */
static DEFINE_SPINLOCK(stack_lock);

/* ---- entries ----------------------------------------------------------------------------------- */

/* One contiguous piece. */
static int map_piece(uintptr_t va, pfn_t pfn, size_t n, pgprot_kernel_t prot)
{
	assert_mutex_held(&kmap_mutex);
	ASSERT_DEBUG(n);
	return hal_kernel_map(va, pfn, n, prot & 0xff, (enum mem_type)(prot >> 8),
			      kmap_table_alloc, NULL);
}

static void unmap_kernel_range_noflush(uintptr_t start, size_t size)
{
	ASSERT(IS_ALIGNED(start | size, PAGE_SIZE));
	hal_kernel_unmap(start, size >> PAGE_SHIFT);
}

static void unmap_kernel_range(uintptr_t start, size_t size)
{
	unmap_kernel_range_noflush(start, size);
	hal_kernel_flush(start, start + size);
}

/* Maps nr pages at start, neighbouring frames in one go. 0, or -ENOMEM and nothing is mapped. */
static int map_kernel_range(uintptr_t start, struct page **pages, unsigned nr,
			    pgprot_kernel_t prot)
{
	unsigned done = 0;
	int err = 0;

	ASSERT(nr);
	mutex_lock(&kmap_mutex);
	while (done < nr && !err) {
		pfn_t first = page_to_pfn(pages[done]);
		unsigned n = 1;

		while (done + n < nr && page_to_pfn(pages[done + n]).n == first.n + n)
			n++;
		err = map_piece(start + ((uintptr_t)done << PAGE_SHIFT), first, n, prot);
		if (!err)
			done += n;
	}
	mutex_unlock(&kmap_mutex);
	if (err && done)
		unmap_kernel_range(start, (size_t)done << PAGE_SHIFT);
	return err;
}

static int ioremap_page_range(uintptr_t start, size_t size, phys_addr_t phys, enum mem_type mt)
{
	int err;

	ASSERT(IS_ALIGNED(start | size | phys, PAGE_SIZE));
	mutex_lock(&kmap_mutex);
	err = map_piece(start, PFN(phys >> PAGE_SHIFT), size >> PAGE_SHIFT,
			KERNEL_PROT(KMAP_R | KMAP_W, mt));
	mutex_unlock(&kmap_mutex);
	return err;
}

/* ---- areas ------------------------------------------------------------------------------------- */

#define GUARD_SIZE PAGE_SIZE /* absent, behind each area */

/* Bytes that are, or could be, mapped. */
static size_t get_vm_area_size(const struct vm_struct *vm)
{
	ASSERT(vm->size > GUARD_SIZE);
	return vm->size - GUARD_SIZE;
}

/* A new area, nothing mapped in it. size: whole pages, without the guard page. */
static struct vm_struct *__get_vm_area_node(size_t size, size_t align, unsigned long flags,
					    const void *caller)
{
	struct vm_struct *vm = kzalloc(sizeof(*vm), GFP_KERNEL);

	ASSERT(size && IS_ALIGNED(size, PAGE_SIZE));
	if (!vm)
		return NULL;
	vm->flags = flags;
	vm->caller = caller;
	if (alloc_vmap_area(vm, size + GUARD_SIZE, align))
		return vm;
	kfree(vm);
	return NULL;
}

/* Kernel stacks are counted in kB, as Linux shows them. */
static void account(const struct vm_struct *vm, long sign)
{
	ASSERT(sign == 1 || sign == -1);
	if (!(vm->flags & VM_ALLOC))
		return;
	if (vm->flags & VM_KERNEL_STACK)
		mod_node_page_state(NR_KERNEL_STACK_KB,
				    sign * (long)vm->nr_pages * (long)(PAGE_SIZE / 1024));
	mod_node_page_state(NR_VMALLOC, sign * (long)vm->nr_pages);
}

/* The array of an area's pages: beyond a page of it virtually contiguous itself, for a large piece
 * of physical memory may not be had. */
static struct page **alloc_page_array(unsigned nr)
{
	size_t bytes = (size_t)nr * sizeof(struct page *);

	ASSERT(nr);
	return bytes > PAGE_SIZE ? vzalloc(bytes) : kzalloc(bytes, GFP_KERNEL);
}

static void free_page_array(struct page **pages)
{
	if (is_vmalloc_addr(pages))
		vfree(pages);
	else
		kfree(pages);
}

void release_vm_struct(struct vm_struct *vm)
{
	might_sleep();
	for (unsigned i = 0; i < vm->nr_pages; i++)
		put_page(vm->pages[i]);
	free_page_array(vm->pages);
	kfree(vm);
}

void forget_vm_struct(struct vm_struct *vm)
{
	ASSERT(vm);
	if (!is_vmalloc_addr(vm->pages)) /* else it is an area of its own, and ends as one */
		kfree(vm->pages);
	kfree(vm);
}

/* The area leaves the tree and loses its entries. False: another CPU was first. */
static bool free_unmap_vmap_area(struct vmap_area *va)
{
	struct vm_struct *vm = va->vm;

	if (!unlink_vmap_area(va))
		return false;
	account(vm, -1);
	unmap_kernel_range_noflush(va->va_start, get_vm_area_size(vm));
	free_vmap_area_noflush(va);
	return true;
}

/* An area that never came to anything: no CPU can have seen an entry of it, so nothing waits. */
static void discard_area(struct vm_struct *vm)
{
	struct vmap_area *va = find_vmap_area((uintptr_t)vm->addr);

	ASSERT(vm->addr);
	BUG_ON(!va || !unlink_vmap_area(va));
	release_vm_struct(vm);
	free_vmap_area(va);
}

static void complain(const char *what, const void *addr)
{
	char line[96];

	scnprintf(line, sizeof(line), "%s (%p)", what, addr);
	os_log(line);
}

/* The caller's bug is told and contained: nothing else is known of such an address. */
static void __vunmap(const void *addr, unsigned long kind, const char *what)
{
	struct vmap_area *va = find_vmap_area((uintptr_t)addr);

	might_sleep();
	if (!va || va->va_start != (uintptr_t)addr || !(va->vm->flags & kind) ||
	    !free_unmap_vmap_area(va))
		complain(what, addr);
}

/* ---- vmalloc ----------------------------------------------------------------------------------- */

/* The pages of an area and their entries. On failure the caller discards the area. */
static int __vmalloc_area_node(struct vm_struct *vm, gfp_t gfp, unsigned nr, pgprot_kernel_t prot)
{
	ASSERT(!vm->pages);
	WRITE_ONCE(vm->pages, alloc_page_array(nr));
	if (!vm->pages)
		return -ENOMEM;
	/* counted one by one, so that a half-made area is freed exactly */
	while (vm->nr_pages < nr) {
		struct page *page = alloc_pages(gfp | __GFP_NOWARN, 0);

		if (!page)
			return -ENOMEM;
		vm->pages[vm->nr_pages] = page;
		WRITE_ONCE(vm->nr_pages, vm->nr_pages + 1); /* a report may read it */
	}
	return map_kernel_range((uintptr_t)vm->addr, vm->pages, nr, prot);
}

static void *__vmalloc_node_range(size_t size, gfp_t gfp, unsigned long flags, const void *caller)
{
	unsigned long nr = size / PAGE_SIZE + (size % PAGE_SIZE != 0);
	struct vm_struct *vm;

	might_sleep();
	if (!nr || nr > totalram_pages())
		return NULL;
	vm = __get_vm_area_node(nr << PAGE_SHIFT, PAGE_SIZE, VM_ALLOC | flags, caller);
	if (!vm)
		return NULL;
	if (__vmalloc_area_node(vm, gfp, (unsigned)nr, PAGE_KERNEL)) {
		discard_area(vm);
		return NULL;
	}
	account(vm, 1);
	return vm->addr;
}

void *vmalloc(size_t size)
{
	return __vmalloc_node_range(size, GFP_KERNEL, 0, __builtin_return_address(0));
}

void *vzalloc(size_t size)
{
	return __vmalloc_node_range(size, GFP_KERNEL | __GFP_ZERO, 0, __builtin_return_address(0));
}

void vfree(const void *addr)
{
	if (addr)
		__vunmap(addr, VM_ALLOC, "Trying to vfree() nonexistent vm area");
}

/* ---- vmap -------------------------------------------------------------------------------------- */

void *vmap(struct page **pages, unsigned count, unsigned long flags, pgprot_kernel_t prot)
{
	struct vm_struct *vm;

	if (!count || count > totalram_pages())
		return NULL;
	vm = __get_vm_area_node((size_t)count << PAGE_SHIFT, PAGE_SIZE, VM_MAP | flags,
				__builtin_return_address(0));
	if (!vm)
		return NULL;
	WRITE_ONCE(vm->pages, alloc_page_array(count));
	if (!vm->pages)
		goto fail;
	while (vm->nr_pages < count) {
		vm->pages[vm->nr_pages] = pages[vm->nr_pages];
		get_page(pages[vm->nr_pages]);
		WRITE_ONCE(vm->nr_pages, vm->nr_pages + 1);
	}
	if (!map_kernel_range((uintptr_t)vm->addr, vm->pages, count, prot))
		return vm->addr;
fail:
	discard_area(vm);
	return NULL;
}

void vunmap(const void *addr)
{
	if (addr)
		__vunmap(addr, VM_MAP, "Trying to vunmap() nonexistent vm area");
}

/* ---- ioremap ----------------------------------------------------------------------------------- */

/* Whether the core owns a frame of [phys, last]: RAM has one memory type, its direct map's. */
static bool holds_ram(phys_addr_t phys, phys_addr_t last)
{
	ASSERT(phys <= last);
	for (uint64_t n = phys >> PAGE_SHIFT; n <= last >> PAGE_SHIFT; n++)
		if (pfn_valid(PFN(n)) && !page_test(pfn_to_page(PFN(n)), PG_reserved))
			return true;
	return false;
}

static void *__ioremap_caller(phys_addr_t phys, size_t size, enum mem_type mt, const void *caller)
{
	const uint64_t widest = 1ull << ARCH_PFN_BITS;
	phys_addr_t last = phys + size - 1;
	size_t offset = phys & (PAGE_SIZE - 1), bytes;
	struct vm_struct *vm;

	if (!size || last < phys || last >> PAGE_SHIFT >= widest)
		return NULL;
	bytes = PAGE_ALIGN(offset + size); /* far from the last address: frame numbers are narrower */
	if (holds_ram(phys, last)) {
		complain("ioremap on RAM at", (void *)(uintptr_t)phys);
		return NULL;
	}
	vm = __get_vm_area_node(bytes, clamp(roundup_pow_of_two(bytes), PAGE_SIZE, IOREMAP_MAX_ALIGN),
				VM_IOREMAP, caller);
	if (!vm)
		return NULL;
	WRITE_ONCE(vm->phys_addr, phys - offset);
	if (ioremap_page_range((uintptr_t)vm->addr, bytes, vm->phys_addr, mt)) {
		discard_area(vm);
		return NULL;
	}
	return (char *)vm->addr + offset;
}

void *ioremap(phys_addr_t phys, size_t size)
{
	return __ioremap_caller(phys, size, MT_DEVICE, __builtin_return_address(0));
}

void *ioremap_uc(phys_addr_t phys, size_t size)
{
	return __ioremap_caller(phys, size, MT_UC, __builtin_return_address(0));
}

void *ioremap_wc(phys_addr_t phys, size_t size)
{
	return __ioremap_caller(phys, size, MT_WC, __builtin_return_address(0));
}

void *ioremap_cache(phys_addr_t phys, size_t size)
{
	return __ioremap_caller(phys, size, MT_WB, __builtin_return_address(0));
}

void iounmap(const void *addr)
{
	const void *page = (const void *)((uintptr_t)addr & ~(PAGE_SIZE - 1));

	__vunmap(page, VM_IOREMAP, "iounmap: bad address");
}

/* ---- looking ----------------------------------------------------------------------------------- */

bool is_vmalloc_addr(const void *p)
{
	const struct kernel_layout *l = hal_kernel_layout();

	return (uintptr_t)p >= l->vmalloc_base && (uintptr_t)p < l->vmalloc_end;
}

pfn_t vmalloc_to_pfn(const void *addr)
{
	const struct vmap_area *va = find_vmap_area((uintptr_t)addr);
	size_t i = va ? ((uintptr_t)addr - va->va_start) >> PAGE_SHIFT : 0;

	if (!va || i >= get_vm_area_size(va->vm) >> PAGE_SHIFT)
		return PFN(UINT64_MAX);
	if (va->vm->flags & VM_IOREMAP)
		return PFN((va->vm->phys_addr >> PAGE_SHIFT) + i);
	return page_to_pfn(va->vm->pages[i]);
}

struct page *vmalloc_to_page(const void *addr)
{
	pfn_t pfn = vmalloc_to_pfn(addr);

	return pfn.n != UINT64_MAX && pfn_valid(pfn) ? pfn_to_page(pfn) : NULL;
}

unsigned long vmalloc_nr_pages(void)
{
	return node_page_state(NR_VMALLOC);
}

static void show_area(quire_emit_fn emit, void *ctx, const struct vm_struct *v)
{
	char line[256];
	size_t n;

	ASSERT(v->size);
	n = scnprintf(line, sizeof(line), "0x%016lx-0x%016lx %7lu 0x%lx", (unsigned long)v->addr,
		      (unsigned long)v->addr + v->size, (unsigned long)v->size,
		      (unsigned long)v->caller);
	if (v->nr_pages)
		n += scnprintf(line + n, sizeof(line) - n, " pages=%u", v->nr_pages);
	if (v->phys_addr)
		n += scnprintf(line + n, sizeof(line) - n, " phys=0x%016llx",
			       (unsigned long long)v->phys_addr);
	n += scnprintf(line + n, sizeof(line) - n, "%s%s%s%s", v->flags & VM_IOREMAP ? " ioremap" : "",
		       v->flags & VM_ALLOC ? " vmalloc" : "", v->flags & VM_MAP ? " vmap" : "",
		       is_vmalloc_addr(v->pages) ? " vpages" : "");
	if (v->nr_pages) /* one node has them all */
		n += scnprintf(line + n, sizeof(line) - n, " N0=%u", v->nr_pages);
	n += scnprintf(line + n, sizeof(line) - n, "\n");
	emit(ctx, line, n);
}

void quire_show_vmallocinfo(quire_emit_fn emit, void *ctx)
{
	uintptr_t at = 0;
	struct vmap_area va;
	struct vm_struct vm;

	/* emit may sleep, so each area is copied out; what comes and goes meanwhile may be missed */
	for (; vmap_area_next(at, &va, &vm); at = va.va_end)
		show_area(emit, ctx, &vm);
	for (unsigned i = 0; vmap_purge_nth(i, &va); i++) {
		char line[96];

		emit(ctx, line, scnprintf(line, sizeof(line),
					  "0x%016lx-0x%016lx %7lu unpurged vm_area\n",
					  (unsigned long)va.va_start, (unsigned long)va.va_end,
					  (unsigned long)(va.va_end - va.va_start)));
	}
}

/* ---- kernel stacks ----------------------------------------------------------------------------- */

static unsigned stack_pages(const void *stack)
{
	const struct vmap_area *va = find_vmap_area((uintptr_t)stack);

	BUG_ON(!va || va->va_start != (uintptr_t)stack || !(va->vm->flags & VM_KERNEL_STACK));
	return va->vm->nr_pages;
}

static void **stack_slot(unsigned i)
{
	assert_held(&stack_lock);
	ASSERT(i < STACK_CACHE);
	return &stack_cache[i];
}

void *quire_stack_alloc(unsigned npages)
{
	void **slot, *stack = NULL;
	irqflags_t flags;

	if (!npages)
		return NULL;
	spin_lock_irqsave(&stack_lock, flags);
	for (unsigned i = 0; i < STACK_CACHE && !stack; i++) {
		slot = stack_slot(i);
		if (*slot && stack_pages(*slot) == npages) {
			stack = *slot;
			*slot = NULL;
		}
	}
	spin_unlock_irqrestore(&stack_lock, flags);
	if (stack)
		return stack;
	return __vmalloc_node_range((size_t)npages << PAGE_SHIFT, GFP_KERNEL, VM_KERNEL_STACK,
				    __builtin_return_address(0));
}

void quire_stack_free(void *stack)
{
	bool kept = false;
	irqflags_t flags;

	if (!stack)
		return;
	BUG_ON(!stack_pages(stack));
	spin_lock_irqsave(&stack_lock, flags);
	for (unsigned i = 0; i < STACK_CACHE; i++) {
		void **slot = stack_slot(i);

		BUG_ON(*slot == stack);
		if (!*slot && !kept) {
			*slot = stack;
			kept = true;
		}
	}
	spin_unlock_irqrestore(&stack_lock, flags);
	if (!kept)
		vfree(stack);
}

unsigned long stack_cache_size(void)
{
	unsigned long n = 0;
	irqflags_t flags;

	spin_lock_irqsave(&stack_lock, flags);
	for (unsigned i = 0; i < STACK_CACHE; i++)
		n += *stack_slot(i) != NULL;
	spin_unlock_irqrestore(&stack_lock, flags);
	return n;
}

unsigned long stack_cache_shrink(unsigned long n)
{
	unsigned long gone = 0;

	might_sleep();
	for (unsigned i = 0; i < STACK_CACHE && gone < n; i++) {
		irqflags_t flags;
		void *stack;

		spin_lock_irqsave(&stack_lock, flags);
		stack = *stack_slot(i);
		*stack_slot(i) = NULL;
		spin_unlock_irqrestore(&stack_lock, flags);
		vfree(stack);
		gone += stack != NULL;
	}
	return gone;
}

void vmalloc_drain(void)
{
	might_sleep();
	stack_cache_shrink(STACK_CACHE);
	while (purge_vmap_area_lazy()) /* the array of a large area's pages waits next */
		;
}

/* ---- start and end ----------------------------------------------------------------------------- */

int vmalloc_init(void)
{
	const struct kernel_layout *l = hal_kernel_layout();

	if (l->vmalloc_end < l->vmalloc_base + 4 * PAGE_SIZE)
		return -EINVAL;
	spin_lock_init_rank(&stack_lock, "stacks", RANK_STACKS);
	mutex_init_named(&kmap_mutex, "kmap_mutex");
	memset(stack_cache, 0, sizeof(stack_cache));
	return vmap_area_init(l->vmalloc_base + PAGE_SIZE, l->vmalloc_end);
}

unsigned long vmalloc_exit(void)
{
	vmalloc_drain();
	vmap_area_exit();
	return vmalloc_nr_pages();
}
