/* SPDX-License-Identifier: MIT */
/*
 * Allocator of the kernel's own (vmalloc) addresses, with lazy TLB flushing. A range is in one of
 * three places: the free tree, whose nodes know the largest range below them, so that the lowest
 * fit is found in one descent; the tree of areas in use; the list of areas that are unmapped and
 * wait for the flush.
 *
 * A flush interrupts every CPU, so it is made once for many areas: when lazy_max_pages() wait, when
 * addresses or pages run out, or by vmalloc_drain(). Until then a CPU may still translate through
 * a waiting area; therefore its addresses, and the frames that its vm holds, are not used again.
 *
 * Locks: vmap_area_lock (areas in use, the waiting list), free_vmap_area_lock (the free tree),
 * never both; vmap_purge_lock is held from taking the waiting list to giving its addresses back, so
 * that its next owner knows that earlier purges are over. Neither spinning lock is held while
 * memory is asked for.
 */
#include "arch/hal.h"
#include "lib/atomic.h"
#include "lib/bits.h"
#include "lib/bug.h"
#include "lib/mutex.h"
#include "lib/printf.h"
#include "mm/base/lockrank.h"
#include "mm/base/mmzone.h"
#include "mm/slab/slab.h"
#include "mm/vmalloc/vmalloc.h"
#include <quire/abi.h>
#include <quire/os.h>

static struct kmem_cache *vmap_area_cachep;

static struct rb_root vmap_area_root;	   /* in use, by address; vmap_area_lock */
static LIST_HEAD(vmap_purge_list);	   /* waiting; vmap_area_lock */
static unsigned long vmap_lazy_pages;	   /* waiting; atomic */
static DEFINE_SPINLOCK(vmap_area_lock);

static struct rb_root free_vmap_area_root; /* free, by address; free_vmap_area_lock */
static DEFINE_SPINLOCK(free_vmap_area_lock);

static struct mutex vmap_purge_lock;

#define LAZY_MAX_BYTES (32ul << 20) /* for each doubling of the CPUs, as Linux */
#define LAZY_RAM_SHARE 64	    /* and never more than this part of all RAM: it holds frames */

/* ---- the free tree ----------------------------------------------------------------------------- */

static struct vmap_area *to_va(struct rb_node *n)
{
	return rb_entry(n, struct vmap_area, rb_node);
}

static size_t va_size(const struct vmap_area *va)
{
	ASSERT_DEBUG(va->va_start < va->va_end);
	return va->va_end - va->va_start;
}

static size_t get_subtree_max_size(struct rb_node *n)
{
	return n ? to_va(n)->subtree_max_size : 0;
}

static size_t compute_subtree_max_size(struct vmap_area *va)
{
	return max(va_size(va), max(get_subtree_max_size(va->rb_node.rb_left),
				    get_subtree_max_size(va->rb_node.rb_right)));
}

RB_DECLARE_CALLBACKS(free_vmap_area_cb, struct vmap_area, rb_node, size_t, subtree_max_size,
		     compute_subtree_max_size);

/* A range's size changed: its ancestors learn of it. */
static void augment_tree_propagate_from(struct vmap_area *va)
{
	assert_held(&free_vmap_area_lock);
	free_vmap_area_cb.propagate(&va->rb_node, NULL);
}

static void insert_free(struct vmap_area *va)
{
	struct rb_node **link = &free_vmap_area_root.rb_node, *parent = NULL;

	assert_held(&free_vmap_area_lock);
	ASSERT_I("I36", IS_ALIGNED(va->va_start | va->va_end, PAGE_SIZE));
	while (*link) {
		parent = *link;
		link = va->va_start < to_va(parent)->va_start ? &parent->rb_left : &parent->rb_right;
	}
	rb_link_node(&va->rb_node, parent, link);
	va->subtree_max_size = va_size(va);
	if (parent)
		free_vmap_area_cb.propagate(parent, NULL);
	rb_insert_augmented(&va->rb_node, &free_vmap_area_root, &free_vmap_area_cb);
}

static void erase_free(struct vmap_area *va)
{
	assert_held(&free_vmap_area_lock);
	rb_erase_augmented(&va->rb_node, &free_vmap_area_root, &free_vmap_area_cb);
}

/* Where size bytes at a multiple of align would lie in va; 0: nowhere. */
static uintptr_t fit_in(const struct vmap_area *va, size_t size, size_t align)
{
	uintptr_t at = ALIGN_UP(va->va_start, align);

	ASSERT_DEBUG(size);
	return at >= va->va_start && at < va->va_end && va->va_end - at >= size ? at : 0;
}

/* The lowest range in the tree below n that fits. Only subtrees that hold `need` bytes in one piece
 * are entered: with need >= size + align - page each of them has a fit, so it is one descent. */
static struct vmap_area *find_vmap_lowest_match(struct rb_node *n, size_t size, size_t align,
						size_t need)
{
	struct vmap_area *found;

	assert_held(&free_vmap_area_lock);
	ASSERT_DEBUG(need >= size);
	if (get_subtree_max_size(n) < need)
		return NULL;
	found = find_vmap_lowest_match(n->rb_left, size, align, need);
	if (found)
		return found;
	if (fit_in(to_va(n), size, align))
		return to_va(n);
	return find_vmap_lowest_match(n->rb_right, size, align, need);
}

/* Takes [at, at + size) out of va. *spare becomes the lower rest if there is a rest on both sides;
 * *over is va if nothing is left of it. free_vmap_area_lock held. */
static void adjust_va_to_fit_type(struct vmap_area *va, struct vmap_area **spare,
				  struct vmap_area **over, uintptr_t at, size_t size)
{
	uintptr_t start = va->va_start, end = at + size;

	assert_held(&free_vmap_area_lock);
	ASSERT(at >= start && end <= va->va_end);
	if (at == start && end == va->va_end) {
		erase_free(va);
		*over = va;
		return;
	}
	if (end == va->va_end)
		va->va_end = at;
	else
		va->va_start = end;
	augment_tree_propagate_from(va);
	if (start < at && va->va_start == end) {
		(*spare)->va_start = start;
		(*spare)->va_end = at;
		insert_free(*spare);
		*spare = NULL;
	}
}

/* The addresses of a new area, or 0. *spare and *over as above. */
static uintptr_t __alloc_vmap_area(size_t size, size_t align, struct vmap_area **spare,
				   struct vmap_area **over)
{
	struct vmap_area *va;
	irqflags_t flags;
	uintptr_t at = 0;

	spin_lock_irqsave(&free_vmap_area_lock, flags);
	va = find_vmap_lowest_match(free_vmap_area_root.rb_node, size, align,
				    size + align - PAGE_SIZE);
	if (!va && align > PAGE_SIZE) /* none for certain; one may happen to lie well */
		va = find_vmap_lowest_match(free_vmap_area_root.rb_node, size, align, size);
	if (va) {
		at = fit_in(va, size, align);
		adjust_va_to_fit_type(va, spare, over, at, size);
	}
	spin_unlock_irqrestore(&free_vmap_area_lock, flags);
	return at;
}

/* The free neighbours of an address that is not free. */
static void free_neighbours(uintptr_t addr, struct vmap_area **below, struct vmap_area **above)
{
	struct rb_node *n = free_vmap_area_root.rb_node;

	*below = *above = NULL;
	while (n) {
		if (to_va(n)->va_start < addr) {
			*below = to_va(n);
			n = n->rb_right;
		} else {
			*above = to_va(n);
			n = n->rb_left;
		}
	}
}

/* va becomes free. Returns a structure that is over: merged ranges need one or two fewer; the
 * second goes with *second. free_vmap_area_lock held. */
static struct vmap_area *merge_or_add_vmap_area(struct vmap_area *va, struct vmap_area **second)
{
	struct vmap_area *below, *above;

	assert_held(&free_vmap_area_lock);
	*second = NULL;
	free_neighbours(va->va_start, &below, &above);
	ASSERT_I("I36", !below || below->va_end <= va->va_start);
	ASSERT_I("I36", !above || above->va_start >= va->va_end);
	if (below && below->va_end != va->va_start)
		below = NULL;
	if (above && above->va_start != va->va_end)
		above = NULL;
	if (below && above) {
		/* The larger one stays, as a rule the rest of the range: it was there from the start,
		 * and the slab of a younger structure can empty. */
		bool up = above->va_end - above->va_start > below->va_end - below->va_start;
		struct vmap_area *keep = up ? above : below;

		*second = up ? below : above;
		keep->va_start = below->va_start;
		keep->va_end = above->va_end;
		augment_tree_propagate_from(keep);
		/* A size is told before the tree turns: turning would hide the change. */
		erase_free(*second);
		return va;
	}
	if (below) {
		below->va_end = va->va_end;
		augment_tree_propagate_from(below);
		return va;
	}
	if (above) {
		above->va_start = va->va_start;
		augment_tree_propagate_from(above);
		return va;
	}
	insert_free(va);
	return NULL;
}

void free_vmap_area(struct vmap_area *va)
{
	struct vmap_area *over, *second;
	irqflags_t flags;

	spin_lock_irqsave(&free_vmap_area_lock, flags);
	over = merge_or_add_vmap_area(va, &second);
	spin_unlock_irqrestore(&free_vmap_area_lock, flags);
	if (over)
		kmem_cache_free(vmap_area_cachep, over);
	if (second)
		kmem_cache_free(vmap_area_cachep, second);
}

/* ---- areas in use ------------------------------------------------------------------------------ */

static void __insert_vmap_area(struct vmap_area *va)
{
	struct rb_node **link = &vmap_area_root.rb_node, *parent = NULL;

	assert_held(&vmap_area_lock);
	while (*link) {
		parent = *link;
		link = va->va_start < to_va(parent)->va_start ? &parent->rb_left : &parent->rb_right;
	}
	rb_link_node(&va->rb_node, parent, link);
	rb_insert_color(&va->rb_node, &vmap_area_root);
}

static void insert_vmap_area(struct vmap_area *va)
{
	irqflags_t flags;

	spin_lock_irqsave(&vmap_area_lock, flags);
	__insert_vmap_area(va);
	spin_unlock_irqrestore(&vmap_area_lock, flags);
}

struct vmap_area *alloc_vmap_area(struct vm_struct *vm, size_t size, size_t align)
{
	struct vmap_area *va, *spare = NULL, *over = NULL;
	uintptr_t at;

	might_sleep();
	if (!size || !IS_ALIGNED(size, PAGE_SIZE) || size + align < size)
		return NULL;
	va = kmem_cache_zalloc(vmap_area_cachep, GFP_KERNEL);
	if (align > PAGE_SIZE) /* else the lower rest is always empty */
		spare = kmem_cache_zalloc(vmap_area_cachep, GFP_KERNEL);
	if (!va || (align > PAGE_SIZE && !spare))
		goto fail;
	at = __alloc_vmap_area(size, align, &spare, &over);
	if (!at && purge_vmap_area_lazy())
		at = __alloc_vmap_area(size, align, &spare, &over);
	if (!at)
		goto fail;
	if (spare)
		kmem_cache_free(vmap_area_cachep, spare);
	if (over)
		kmem_cache_free(vmap_area_cachep, over);
	va->va_start = at;
	va->va_end = at + size;
	va->vm = vm;
	vm->addr = (void *)at;
	vm->size = size;
	insert_vmap_area(va);
	return va;
fail:
	if (va)
		kmem_cache_free(vmap_area_cachep, va);
	if (spare)
		kmem_cache_free(vmap_area_cachep, spare);
	return NULL;
}

/* The first area in use that ends above addr; vmap_area_lock held. */
static struct vmap_area *first_above(uintptr_t addr)
{
	struct rb_node *n = vmap_area_root.rb_node;
	struct vmap_area *found = NULL;

	assert_held(&vmap_area_lock);
	while (n) {
		if (to_va(n)->va_end > addr) {
			found = to_va(n);
			n = n->rb_left;
		} else {
			n = n->rb_right;
		}
	}
	return found;
}

struct vmap_area *find_vmap_area(uintptr_t addr)
{
	struct vmap_area *va;
	irqflags_t flags;

	spin_lock_irqsave(&vmap_area_lock, flags);
	va = first_above(addr);
	if (va && va->va_start > addr)
		va = NULL;
	spin_unlock_irqrestore(&vmap_area_lock, flags);
	return va;
}

bool vmap_area_next(uintptr_t addr, struct vmap_area *va, struct vm_struct *vm)
{
	struct vmap_area *found;
	irqflags_t flags;

	spin_lock_irqsave(&vmap_area_lock, flags);
	found = first_above(addr);
	if (found) {
		*va = *found;
		*vm = (struct vm_struct){
			.addr = found->vm->addr, .size = found->vm->size,
			.flags = found->vm->flags, .caller = found->vm->caller,
			/* written without the lock, while it is made */
			.pages = READ_ONCE(found->vm->pages),
			.nr_pages = READ_ONCE(found->vm->nr_pages),
			.phys_addr = READ_ONCE(found->vm->phys_addr),
		};
	}
	spin_unlock_irqrestore(&vmap_area_lock, flags);
	return found;
}

/* ---- lazy unmapping ---------------------------------------------------------------------------- */

unsigned long lazy_max_pages(void)
{
	unsigned long log = fls64(hal_cpu_count());

	return min(log * (LAZY_MAX_BYTES / PAGE_SIZE), totalram_pages() / LAZY_RAM_SHARE);
}

unsigned long vmap_lazy_nr(void)
{
	return __atomic_load_n(&vmap_lazy_pages, __ATOMIC_RELAXED);
}

/* False: it is out already. */
static bool erase_vmap_area(struct vmap_area *va)
{
	assert_held(&vmap_area_lock);
	if (RB_EMPTY_NODE(&va->rb_node))
		return false;
	rb_erase(&va->rb_node, &vmap_area_root);
	RB_CLEAR_NODE(&va->rb_node);
	return true;
}

static struct list_head *purge_list(void)
{
	assert_held(&vmap_area_lock);
	return &vmap_purge_list;
}

bool unlink_vmap_area(struct vmap_area *va)
{
	irqflags_t flags;
	bool in_use;

	spin_lock_irqsave(&vmap_area_lock, flags);
	in_use = erase_vmap_area(va);
	spin_unlock_irqrestore(&vmap_area_lock, flags);
	return in_use;
}

/* Takes all that waits; vmap_purge_lock held. [*start, *end) covers it. */
static bool take_purge_list(struct list_head *list, uintptr_t *start, uintptr_t *end)
{
	struct vmap_area *va;
	irqflags_t flags;

	assert_mutex_held(&vmap_purge_lock);
	*start = UINTPTR_MAX;
	*end = 0;
	spin_lock_irqsave(&vmap_area_lock, flags);
	list_for_each_entry(va, purge_list(), purge_list) {
		*start = min(*start, va->va_start);
		*end = max(*end, va->va_end);
	}
	list_splice_init(purge_list(), list);
	spin_unlock_irqrestore(&vmap_area_lock, flags);
	return *end;
}

/* vmap_purge_lock held. Pages first: they are worth more than addresses. */
static unsigned long __purge_vmap_area_lazy(void)
{
	struct vmap_area *va, *next;
	uintptr_t start, end;
	LIST_HEAD(list);
	unsigned long n = 0;

	assert_mutex_held(&vmap_purge_lock);
	if (!take_purge_list(&list, &start, &end))
		return 0;
	hal_kernel_flush(start, end);
	list_for_each_entry_safe(va, next, &list, purge_list) {
		unsigned long pages = va_size(va) >> PAGE_SHIFT;

		list_del(&va->purge_list);
		release_vm_struct(va->vm);
		free_vmap_area(va);
		atomic_sub_of(&vmap_lazy_pages, pages);
		n += pages;
	}
	return n;
}

unsigned long purge_vmap_area_lazy(void)
{
	unsigned long n;

	mutex_lock(&vmap_purge_lock);
	n = __purge_vmap_area_lazy();
	mutex_unlock(&vmap_purge_lock);
	return n;
}

unsigned long try_purge_vmap_area_lazy(void)
{
	unsigned long n;

	if (!vmap_lazy_nr() || !mutex_trylock(&vmap_purge_lock))
		return 0;
	n = __purge_vmap_area_lazy();
	mutex_unlock(&vmap_purge_lock);
	return n;
}

void free_vmap_area_noflush(struct vmap_area *va)
{
	unsigned long waiting;
	irqflags_t flags;

	ASSERT_DEBUG(RB_EMPTY_NODE(&va->rb_node));
	waiting = atomic_add_of(&vmap_lazy_pages, va_size(va) >> PAGE_SHIFT);
	spin_lock_irqsave(&vmap_area_lock, flags);
	list_add_tail(&va->purge_list, purge_list());
	spin_unlock_irqrestore(&vmap_area_lock, flags);
	if (waiting > lazy_max_pages())
		try_purge_vmap_area_lazy();
}

bool vmap_purge_nth(unsigned n, struct vmap_area *va)
{
	struct vmap_area *at;
	irqflags_t flags;
	bool found = false;

	spin_lock_irqsave(&vmap_area_lock, flags);
	list_for_each_entry(at, purge_list(), purge_list) {
		if (!n--) {
			*va = *at;
			found = true;
			break;
		}
	}
	spin_unlock_irqrestore(&vmap_area_lock, flags);
	return found;
}

/* ---- checks, start and end --------------------------------------------------------------------- */

static long broken(const char *what, const struct vmap_area *va)
{
	char line[120];

	scnprintf(line, sizeof(line), "check: vmap area %#lx-%#lx: %s", (unsigned long)va->va_start,
		  (unsigned long)va->va_end, what);
	os_log(line);
	return 1;
}

/* I36: free ranges are sorted, apart, and know the largest below them. */
static long check_free_tree(void)
{
	struct vmap_area *last = NULL;
	long n = 0;

	assert_held(&free_vmap_area_lock);
	if (rb_check(&free_vmap_area_root))
		return 1;
	for (struct rb_node *r = rb_first(&free_vmap_area_root); r; r = rb_next(r)) {
		struct vmap_area *va = to_va(r);

		if (va->va_start >= va->va_end || !IS_ALIGNED(va->va_start | va->va_end, PAGE_SIZE))
			n += broken("I36: no whole pages", va);
		if (last && last->va_end >= va->va_start)
			n += broken("I36: touches the one before", va);
		if (va->subtree_max_size != compute_subtree_max_size(va))
			n += broken("I36: wrong largest range", va);
		last = va;
	}
	return n;
}

/* I37: areas in use are sorted and apart, and no address in them is free. */
static long check_used_tree(void)
{
	struct vmap_area *last = NULL, *below, *above;
	long n = 0;

	assert_held(&vmap_area_lock);
	if (rb_check(&vmap_area_root))
		return 1;
	for (struct rb_node *r = rb_first(&vmap_area_root); r; r = rb_next(r)) {
		struct vmap_area *va = to_va(r);

		if (last && last->va_end > va->va_start)
			n += broken("I37: overlaps the one before", va);
		free_neighbours(va->va_start, &below, &above);
		if ((below && below->va_end > va->va_start) ||
		    (above && above->va_start < va->va_end))
			n += broken("I37: in use and free", va);
		if ((uintptr_t)va->vm->addr != va->va_start || va->vm->size != va_size(va))
			n += broken("I37: its vm says otherwise", va);
		last = va;
	}
	return n;
}

long check_vmap_areas(void)
{
	irqflags_t flags;
	long n;

	/* a check runs alone: nothing changes, and one lock at a time is enough */
	spin_lock_irqsave(&free_vmap_area_lock, flags);
	n = check_free_tree();
	spin_unlock_irqrestore(&free_vmap_area_lock, flags);
	spin_lock_irqsave(&vmap_area_lock, flags);
	n += check_used_tree();
	spin_unlock_irqrestore(&vmap_area_lock, flags);
	return n;
}

int vmap_area_init(uintptr_t start, uintptr_t end)
{
	struct vmap_area *va;
	irqflags_t flags;

	ASSERT(start < end);
	ASSERT(!vmap_area_cachep);
	spin_lock_init_rank(&vmap_area_lock, "vmap_area", RANK_VMALLOC);
	spin_lock_init_rank(&free_vmap_area_lock, "free_vmap_area", RANK_VMALLOC_FREE);
	mutex_init_named(&vmap_purge_lock, "vmap_purge_lock");
	vmap_area_root = free_vmap_area_root = RB_ROOT;
	INIT_LIST_HEAD(&vmap_purge_list);
	vmap_lazy_pages = 0;
	vmap_area_cachep = kmem_cache_create("vmap_area", sizeof(struct vmap_area), 0, 0, NULL);
	va = vmap_area_cachep ? kmem_cache_zalloc(vmap_area_cachep, GFP_KERNEL) : NULL;
	if (!va) {
		if (vmap_area_cachep)
			kmem_cache_destroy(vmap_area_cachep);
		vmap_area_cachep = NULL;
		return -ENOMEM;
	}
	va->va_start = start;
	va->va_end = end;
	spin_lock_irqsave(&free_vmap_area_lock, flags);
	insert_free(va);
	spin_unlock_irqrestore(&free_vmap_area_lock, flags);
	return 0;
}

static void free_tree(struct rb_root *root, bool used)
{
	struct rb_node *n;

	while ((n = rb_first(root))) {
		struct vmap_area *va = to_va(n);

		rb_erase(n, root); /* the augmentation is not needed any more */
		if (used) {
			hal_kernel_unmap(va->va_start, va_size(va) >> PAGE_SHIFT);
			hal_kernel_flush(va->va_start, va->va_end);
			forget_vm_struct(va->vm);
		}
		kmem_cache_free(vmap_area_cachep, va);
	}
}

void vmap_area_exit(void)
{
	if (!vmap_area_cachep)
		return;
	purge_vmap_area_lazy();
	free_tree(&vmap_area_root, true);
	free_tree(&free_vmap_area_root, false);
	kmem_cache_destroy(vmap_area_cachep);
	vmap_area_cachep = NULL;
}
