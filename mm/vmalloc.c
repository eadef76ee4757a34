/* SPDX-License-Identifier: MIT */
/*
 * Virtually contiguous kernel memory and kernel stacks, in the layout's vmalloc range.
 *
 * Every area has an unmapped page below its first byte and starts where the one before ended, so
 * each also has one above: running off either end faults. Areas live in a tree by address; a new
 * one is put at the first gap after the newest (so an address is not reused at once, and a stale
 * pointer faults), wrapping round once. A few freed stacks are kept mapped for the next task:
 * fork and exit then cost no page-table change and no flush.
 *
 * hal_kernel_map() wants one caller at a time: kmap_mutex. The tables that it asks for are never
 * given back, for other spaces may have copied the entries above them; they are remembered, so
 * that a second start in the same machine leaves them alone.
 */
#include "lib/bug.h"
#include "lib/errno.h"
#include "lib/mutex.h"
#include "lib/rbtree.h"
#include "lib/string.h"
#include "mm/kmap.h"
#include "mm/lockrank.h"
#include "mm/memblock.h"
#include "mm/page_alloc.h"
#include "mm/slab.h"
#include "mm/vmstat.h"

struct vmap_area {
	struct rb_node rb;	/* vmap_areas; vmap_lock */
	uintptr_t start, end;	/* start: the guard page; end: one past the last byte */
	unsigned nr_pages;
	bool stack;
	struct page *pages[];
};

static struct rb_root vmap_areas;
static uintptr_t vmap_cursor; /* where the newest area ended; vmap_lock */
static DEFINE_SPINLOCK(vmap_lock);
static struct mutex kmap_mutex;

#define STACK_CACHE 4
static void *stack_cache[STACK_CACHE]; /* vmap_lock */

/* ---- kernel tables --------------------------------------------------------------------------- */

#define KMAP_TABLES_MAX 1024 /* each maps 2 MiB of kernel range: room for 128 GiB of RAM */
static pfn_t kmap_tables[KMAP_TABLES_MAX];
static unsigned kmap_nr_tables, kmap_nr_from_buddy;
static bool kmap_buddy;

void kmap_use_buddy(bool up)
{
	kmap_buddy = up;
	if (up)
		kmap_nr_from_buddy = 0;
}

unsigned long kmap_table_pages(void)
{
	return kmap_nr_from_buddy;
}

int kmap_reserve_tables(void)
{
	for (unsigned i = 0; i < kmap_nr_tables; i++) {
		phys_addr_t at = (phys_addr_t)kmap_tables[i].n << PAGE_SHIFT;

		if (memblock_reserve(at, at + PAGE_SIZE))
			return -ENOMEM;
	}
	return 0;
}

pfn_t kmap_table_alloc(void *ctx)
{
	pfn_t pfn = PFN(UINT64_MAX);

	if (kmap_nr_tables == KMAP_TABLES_MAX)
		return pfn;
	if (!kmap_buddy) {
		void *p = memblock_alloc_zeroed(PAGE_SIZE);

		if (p)
			pfn = PFN(hal_virt_to_phys(p) >> PAGE_SHIFT);
	} else {
		struct page *page = alloc_pages(GFP_KERNEL | __GFP_ZERO, 0);

		if (page) {
			pfn = page_to_pfn(page);
			kmap_nr_from_buddy++;
		}
	}
	if (pfn.n != UINT64_MAX)
		kmap_tables[kmap_nr_tables++] = pfn;
	return pfn;
}

/* ---- areas ----------------------------------------------------------------------------------- */

static struct vmap_area *area_of(struct rb_node *n)
{
	return rb_entry(n, struct vmap_area, rb);
}

/* The first area that ends above va; vmap_lock held. */
static struct vmap_area *first_area_above(uintptr_t va)
{
	struct rb_node *n = vmap_areas.rb_node;
	struct vmap_area *found = NULL;

	while (n) {
		if (area_of(n)->end > va) {
			found = area_of(n);
			n = n->rb_left;
		} else {
			n = n->rb_right;
		}
	}
	return found;
}

/* vmap_lock held. */
static void link_area(struct vmap_area *a)
{
	struct rb_node **link = &vmap_areas.rb_node, *parent = NULL;

	while (*link) {
		parent = *link;
		link = a->start < area_of(parent)->start ? &parent->rb_left : &parent->rb_right;
	}
	rb_link_node(&a->rb, parent, link);
	rb_insert_color(&a->rb, &vmap_areas);
}

/* The first gap of size bytes in [from, to); 0 if there is none. */
static uintptr_t find_gap(uintptr_t from, uintptr_t to, size_t size)
{
	struct vmap_area *a = first_area_above(from);

	while (from < to && to - from >= size) {
		struct rb_node *next;

		if (!a || (a->start >= from && a->start - from >= size))
			return from;
		from = a->end;
		next = rb_next(&a->rb);
		a = next ? area_of(next) : NULL;
	}
	return 0;
}

/* Gives a its addresses. One more page is left free above the last area, as its guard. */
static int place_area(struct vmap_area *a, size_t size)
{
	const struct kernel_layout *l = hal_kernel_layout();
	uintptr_t end = l->vmalloc_end - PAGE_SIZE, at;
	irqflags_t flags;

	spin_lock_irqsave(&vmap_lock, flags);
	at = find_gap(vmap_cursor, end, size);
	if (!at)
		at = find_gap(l->vmalloc_base, end, size);
	if (at) {
		a->start = at;
		a->end = at + size;
		vmap_cursor = a->end;
		link_area(a);
	}
	spin_unlock_irqrestore(&vmap_lock, flags);
	return at ? 0 : -ENOMEM;
}

static void unplace_area(struct vmap_area *a)
{
	irqflags_t flags;

	spin_lock_irqsave(&vmap_lock, flags);
	rb_erase(&a->rb, &vmap_areas);
	spin_unlock_irqrestore(&vmap_lock, flags);
}

/* Also of an area whose allocation stopped half-way. */
static void free_area_pages(struct vmap_area *a)
{
	for (unsigned i = 0; i < a->nr_pages; i++)
		if (a->pages[i])
			__free_pages(a->pages[i], 0);
}

/* Maps all pages, or none. */
static int map_area(struct vmap_area *a)
{
	uintptr_t va = a->start + PAGE_SIZE;
	unsigned i;
	int err = 0;

	mutex_lock(&kmap_mutex);
	for (i = 0; i < a->nr_pages && !err; i++)
		err = hal_kernel_map(va + ((uintptr_t)i << PAGE_SHIFT), page_to_pfn(a->pages[i]),
				     1, KMAP_R | KMAP_W, MT_WB, kmap_table_alloc, NULL);
	if (err && i > 1)
		hal_kernel_unmap(va, i - 1);
	mutex_unlock(&kmap_mutex);
	return err;
}

/* Kernel stacks are counted in kB, as Linux shows them. */
static void account(const struct vmap_area *a, long sign)
{
	if (a->stack)
		mod_node_page_state(NR_KERNEL_STACK_KB,
				    sign * (long)a->nr_pages * (long)(PAGE_SIZE / 1024));
	mod_node_page_state(NR_VMALLOC, sign * (long)a->nr_pages);
}

/* Pages first, then addresses, then entries: each step undoes the ones before it if it fails. */
static void *area_alloc(unsigned npages, bool stack)
{
	struct vmap_area *a = kzalloc(sizeof(*a) + npages * sizeof(a->pages[0]), GFP_KERNEL);

	if (!a)
		return NULL;
	a->nr_pages = npages;
	a->stack = stack;
	for (unsigned i = 0; i < npages; i++) {
		a->pages[i] = alloc_pages(GFP_KERNEL, 0);
		if (!a->pages[i])
			goto fail;
	}
	if (place_area(a, ((size_t)npages + 1) << PAGE_SHIFT))
		goto fail;
	if (map_area(a)) {
		unplace_area(a);
		goto fail;
	}
	account(a, 1);
	return (void *)(a->start + PAGE_SIZE);
fail:
	free_area_pages(a);
	kfree(a);
	return NULL;
}

/* The area whose first byte is p; anything else is the caller's bug. */
static struct vmap_area *find_area(const void *p)
{
	struct vmap_area *a;
	irqflags_t flags;

	spin_lock_irqsave(&vmap_lock, flags);
	a = first_area_above((uintptr_t)p);
	spin_unlock_irqrestore(&vmap_lock, flags);
	BUG_ON(!a || a->start + PAGE_SIZE != (uintptr_t)p);
	return a;
}

static void area_free(const void *p)
{
	struct vmap_area *a = find_area(p);

	mutex_lock(&kmap_mutex);
	hal_kernel_unmap(a->start + PAGE_SIZE, a->nr_pages);
	mutex_unlock(&kmap_mutex);
	/* Only now, flushed everywhere, may the frames and the addresses be used again. */
	account(a, -1);
	free_area_pages(a);
	unplace_area(a);
	kfree(a);
}

void *vmalloc(size_t size)
{
	size_t n = DIV_ROUND_UP(size, PAGE_SIZE);

	if (!size || n > UINT32_MAX / 2)
		return NULL;
	return area_alloc(n, false);
}

void vfree(const void *p)
{
	if (p)
		area_free(p);
}

bool is_vmalloc_addr(const void *p)
{
	const struct kernel_layout *l = hal_kernel_layout();

	return (uintptr_t)p >= l->vmalloc_base && (uintptr_t)p < l->vmalloc_end;
}

unsigned long vmalloc_nr_pages(void)
{
	return node_page_state(NR_VMALLOC);
}

/* ---- kernel stacks --------------------------------------------------------------------------- */

static unsigned area_pages_at(const void *stack)
{
	return first_area_above((uintptr_t)stack)->nr_pages;
}

void *quire_stack_alloc(unsigned npages)
{
	void *stack = NULL;
	irqflags_t flags;

	if (!npages)
		return NULL;
	spin_lock_irqsave(&vmap_lock, flags);
	for (unsigned i = 0; i < STACK_CACHE && !stack; i++)
		if (stack_cache[i] && area_pages_at(stack_cache[i]) == npages) {
			stack = stack_cache[i];
			stack_cache[i] = NULL;
		}
	spin_unlock_irqrestore(&vmap_lock, flags);
	return stack ? stack : area_alloc(npages, true);
}

void quire_stack_free(void *stack)
{
	bool kept = false;
	irqflags_t flags;

	if (!stack)
		return;
	BUG_ON(!find_area(stack)->stack);
	spin_lock_irqsave(&vmap_lock, flags);
	for (unsigned i = 0; i < STACK_CACHE; i++) {
		BUG_ON(stack_cache[i] == stack);
		if (!stack_cache[i] && !kept) {
			stack_cache[i] = stack;
			kept = true;
		}
	}
	spin_unlock_irqrestore(&vmap_lock, flags);
	if (!kept)
		area_free(stack);
}

void vmalloc_drain(void)
{
	for (unsigned i = 0; i < STACK_CACHE; i++) {
		irqflags_t flags;
		void *stack;

		spin_lock_irqsave(&vmap_lock, flags);
		stack = stack_cache[i];
		stack_cache[i] = NULL;
		spin_unlock_irqrestore(&vmap_lock, flags);
		if (stack)
			area_free(stack);
	}
}

int vmalloc_init(void)
{
	const struct kernel_layout *l = hal_kernel_layout();

	if (l->vmalloc_end < l->vmalloc_base + 4 * PAGE_SIZE)
		return -EINVAL;
	spin_lock_init_rank(&vmap_lock, "vmap", RANK_VMALLOC);
	mutex_init(&kmap_mutex);
	vmap_areas = RB_ROOT;
	vmap_cursor = l->vmalloc_base;
	memset(stack_cache, 0, sizeof(stack_cache));
	return 0;
}

unsigned long vmalloc_exit(void)
{
	vmalloc_drain();
	return vmalloc_nr_pages();
}
