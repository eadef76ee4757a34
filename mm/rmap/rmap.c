/* SPDX-License-Identifier: MIT */
/*
 * Reverse maps: from an anonymous page to the VMAs that may map it (anon_vma), and the walk over
 * all entries of a page, anonymous or of a file (rmap_walk). Anonymous memory, in short:
 *
 * 1. Every VMA that may hold anonymous pages points to one anon_vma, its own, for pages born there.
 *    A page remembers the anon_vma it was born into (page->mapping) and its offset (page->index).
 * 2. A VMA can hold pages born elsewhere: a fork's child holds its parent's. So each VMA has a
 *    chain of links (anon_vma_chain) to all anon_vmas whose pages it may hold, newest first, and
 *    each anon_vma has an interval tree of the links that lead to it. Fork copies the chain and
 *    adds an own anon_vma, so that the child's new pages are looked for in the child only.
 * 3. A process that forks, lets the parent die, and forks again would grow the chain for ever. An
 *    anon_vma that no VMA calls its own any more and that has a single child is therefore reused by
 *    the next fork, which then makes no fresh one.
 * 4. All anon_vmas of one family share the lock of their root. A family member holds a reference
 *    on its root; the root is its own parent.
 * 5. Reclaim and migration come from a page that they do not map. Its last entry may go at any time,
 *    and the anon_vma with it. So they first announce which one they look at, then make sure that an
 *    entry is left, and take a reference unless the count is 0; who frees an anon_vma waits until
 *    nobody looks at it (page_get_anon_vma, anon_vma_free). A reader announces for a few
 *    instructions, so nobody waits long, and no anon_vma outlives its use.
 */
#include "mm/rmap/rmap.h"
#include "mm/base/vmstat.h"
#include "mm/lru/hooks.h"
#include "mm/lru/lru.h"
#include "mm/lru/policy.h"
#include "mm/slab/slab.h"
#include "mm/table/pgtable.h"
#include <quire/abi.h>

#define RMAP_CPUS 64u /* as many as a mask of CPUs tells apart */

static struct kmem_cache *anon_vma_cachep, *anon_vma_chain_cachep;

int rmap_init(void)
{
	ASSERT(!anon_vma_cachep && !anon_vma_chain_cachep);
	ASSERT(hal_cpu_count() <= RMAP_CPUS);
	anon_vma_cachep = kmem_cache_create("anon_vma", sizeof(struct anon_vma), 8, 0, NULL);
	anon_vma_chain_cachep = kmem_cache_create("anon_vma_chain", sizeof(struct anon_vma_chain), 8,
						  0, NULL);
	if (anon_vma_cachep && anon_vma_chain_cachep)
		return 0;
	rmap_exit();
	return -ENOMEM;
}

void rmap_exit(void)
{
	kmem_cache_destroy(anon_vma_chain_cachep);
	kmem_cache_destroy(anon_vma_cachep);
	anon_vma_chain_cachep = anon_vma_cachep = NULL;
}

/* ---- objects --------------------------------------------------------------------------------- */

/* A family of its own until the caller makes it a child; for pages of mm. NULL: no memory. */
static struct anon_vma *anon_vma_alloc(const struct mm_struct *mm)
{
	struct anon_vma *av = kmem_cache_zalloc(anon_vma_cachep, GFP_KERNEL);

	if (!av)
		return NULL;
	av->refcount = 1;
	av->space = mm->lru_space;
	av->root = av->parent = av;
	av->rb_root = RB_ROOT;
	init_rwsem_named(&av->rwsem, "anon_vma");
	return av;
}

/*
 * What each CPU looks at while it comes from a page and has no reference of the anon_vma yet
 * (page_get_anon_vma): its address or 0, filled with interrupts off for a few instructions. Only ever
 * exchanged or read by an exchange, so that each access sees the one before, on whichever CPU, and what
 * was done before that: either who frees sees that somebody looks, or who looks sees that no entry of
 * the page is left.
 */
static struct {
	uintptr_t av; /* atomic */
} __attribute__((aligned(64))) looked_at[RMAP_CPUS];

static void anon_vma_free(struct anon_vma *av)
{
	ASSERT(RB_EMPTY_ROOT(&av->rb_root));
	for (unsigned c = 0; c < hal_cpu_count(); c++)
		while (unlikely(__atomic_fetch_or(&looked_at[c].av, 0, __ATOMIC_ACQ_REL) ==
				(uintptr_t)av))
			hal_cpu_relax();
	kmem_cache_free(anon_vma_cachep, av);
}

static bool anon_vma_put_ref(struct anon_vma *av)
{
	ASSERT_DEBUG(__atomic_load_n(&av->refcount, __ATOMIC_RELAXED));
	return __atomic_sub_fetch(&av->refcount, 1, __ATOMIC_ACQ_REL) == 0;
}

void put_anon_vma(struct anon_vma *av)
{
	struct anon_vma *root = av->root;

	ASSERT_DEBUG(root->root == root);
	if (!anon_vma_put_ref(av))
		return;
	anon_vma_free(av);
	if (root != av && anon_vma_put_ref(root))
		anon_vma_free(root);
}

static struct anon_vma_chain *avc_alloc(void)
{
	return kmem_cache_alloc(anon_vma_chain_cachep, GFP_KERNEL);
}

static void avc_free(struct anon_vma_chain *avc)
{
	kmem_cache_free(anon_vma_chain_cachep, avc);
}

/* Root locked for writing. */
static void avc_link(struct vm_area_struct *vma, struct anon_vma_chain *avc, struct anon_vma *av)
{
	assert_held_write(&av->root->rwsem);
	avc->vma = vma;
	avc->anon_vma = av;
	list_add(&avc->same_vma, &vma->anon_vma_chain);
	anon_vma_interval_tree_insert(avc, &av->rb_root);
}

/* ---- a VMA's own anon_vma -------------------------------------------------------------------- */

/* Could b simply continue a, rights and soft-dirty aside? */
static bool anon_vma_compatible(const struct vm_area_struct *a, const struct vm_area_struct *b)
{
	assert_held_any(&a->vm_mm->mmap_lock);
	ASSERT_DEBUG(a->vm_mm == b->vm_mm);
	return a->vm_end == b->vm_start && a->vm_policy == b->vm_policy &&
	       a->vm_file == b->vm_file &&
	       !((a->vm_flags ^ b->vm_flags) & ~(VM_ACCESS_FLAGS | VM_SOFTDIRTY)) &&
	       b->vm_pgoff == a->vm_pgoff + vma_pages(a);
}

/* A neighbour that went through a fork has several links: its anon_vma is not for sharing. */
static struct anon_vma *reusable_anon_vma(struct vm_area_struct *old, struct vm_area_struct *a,
					  struct vm_area_struct *b)
{
	struct anon_vma *av;

	ASSERT_DEBUG(old == a || old == b);
	if (!anon_vma_compatible(a, b))
		return NULL;
	av = __atomic_load_n(&old->anon_vma, __ATOMIC_ACQUIRE);
	return av && list_is_singular(&old->anon_vma_chain) ? av : NULL;
}

/* A neighbour's anon_vma that vma could share, so that both could merge one day; or NULL. */
static struct anon_vma *find_mergeable_anon_vma(struct vm_area_struct *vma)
{
	struct anon_vma *av = NULL;

	assert_held_any(&vma->vm_mm->mmap_lock);
	if (vma->vm_next)
		av = reusable_anon_vma(vma->vm_next, vma, vma->vm_next);
	if (!av && vma->vm_prev)
		av = reusable_anon_vma(vma->vm_prev, vma->vm_prev, vma);
	return av;
}

/* Two threads may fault here at once, under mmap_lock for reading: false if the other was quicker. */
static bool anon_vma_set_once(struct vm_area_struct *vma, struct anon_vma_chain *avc,
			      struct anon_vma *av)
{
	assert_held(&vma->vm_mm->page_table_lock);
	assert_held_write(&av->root->rwsem);
	if (vma->anon_vma)
		return false;
	avc_link(vma, avc, av);
	av->num_active_vmas++;
	__atomic_store_n(&vma->anon_vma, av, __ATOMIC_RELEASE);
	return true;
}

int __anon_vma_prepare(struct vm_area_struct *vma)
{
	struct anon_vma_chain *avc = avc_alloc();
	struct anon_vma *av, *fresh = NULL;
	struct mm_struct *mm = vma->vm_mm;

	assert_held_any(&mm->mmap_lock);
	if (!avc)
		return -ENOMEM;
	av = find_mergeable_anon_vma(vma);
	if (!av) {
		av = fresh = anon_vma_alloc(mm);
		if (!av) {
			avc_free(avc);
			return -ENOMEM;
		}
		av->num_children++; /* a root is its own parent */
	}
	anon_vma_lock_write(av);
	spin_lock(&mm->page_table_lock);
	if (anon_vma_set_once(vma, avc, av)) {
		fresh = NULL;
		avc = NULL;
	}
	spin_unlock(&mm->page_table_lock);
	anon_vma_unlock_write(av);
	if (fresh)
		put_anon_vma(fresh);
	if (avc)
		avc_free(avc);
	return 0;
}

/* ---- chains ---------------------------------------------------------------------------------- */

/* One more VMA calls it its own. */
static void anon_vma_count_active(struct anon_vma *av)
{
	assert_held_write(&av->root->rwsem);
	av->num_active_vmas++;
}

int anon_vma_clone(struct vm_area_struct *dst, struct vm_area_struct *src)
{
	struct anon_vma_chain *avc, *pavc;

	assert_held_write(&src->vm_mm->mmap_lock);
	ASSERT_DEBUG_I("I31", list_empty(&dst->anon_vma_chain));
	/* Oldest first, and each new link goes to the head: the order is kept. */
	list_for_each_entry_reverse(pavc, &src->anon_vma_chain, same_vma) {
		struct anon_vma *av = pavc->anon_vma;

		avc = avc_alloc();
		if (!avc) {
			/* dst never counted as active, so it must not be uncounted either. */
			dst->anon_vma = NULL;
			unlink_anon_vmas(dst);
			return -ENOMEM;
		}
		anon_vma_lock_write(av);
		avc_link(dst, avc, av);
		if (!dst->anon_vma && src->anon_vma && av->num_children < 2 &&
		    av->num_active_vmas == 0)
			dst->anon_vma = av;
		anon_vma_unlock_write(av);
	}
	if (dst->anon_vma) {
		anon_vma_lock_write(dst->anon_vma);
		WRITE_ONCE(dst->anon_vma->space, dst->vm_mm->lru_space);
		anon_vma_count_active(dst->anon_vma);
		anon_vma_unlock_write(dst->anon_vma);
	}
	return 0;
}

/* An anon_vma of the child's own, below the parent's. 0 or -ENOMEM. */
static int anon_vma_fork_own(struct vm_area_struct *vma, struct vm_area_struct *pvma)
{
	struct anon_vma *av = anon_vma_alloc(vma->vm_mm);
	struct anon_vma_chain *avc;

	ASSERT(!vma->anon_vma && pvma->anon_vma);
	if (!av)
		return -ENOMEM;
	avc = avc_alloc();
	if (!avc) {
		put_anon_vma(av);
		return -ENOMEM;
	}
	av->root = pvma->anon_vma->root;
	av->parent = pvma->anon_vma;
	av->num_active_vmas++;
	__atomic_fetch_add(&av->root->refcount, 1, __ATOMIC_RELAXED);
	vma->anon_vma = av;
	anon_vma_lock_write(av);
	avc_link(vma, avc, av);
	av->parent->num_children++;
	anon_vma_unlock_write(av);
	return 0;
}

int anon_vma_fork(struct vm_area_struct *vma, struct vm_area_struct *pvma)
{
	int err;

	assert_held_write(&pvma->vm_mm->mmap_lock);
	if (!pvma->anon_vma)
		return 0;
	vma->anon_vma = NULL;
	err = anon_vma_clone(vma, pvma);
	if (err)
		return err;
	if (vma->anon_vma) /* reused, see 3. above */
		return 0;
	err = anon_vma_fork_own(vma, pvma);
	if (err)
		unlink_anon_vmas(vma);
	return err;
}

/* Out of its anon_vma's tree; true: that was the last link there. */
static bool avc_unlink(struct anon_vma_chain *avc, struct anon_vma *root)
{
	struct anon_vma *av = avc->anon_vma;

	ASSERT_I("I31", av->root == root);
	assert_held_write(&root->rwsem);
	anon_vma_interval_tree_remove(avc, &av->rb_root);
	return RB_EMPTY_ROOT(&av->rb_root);
}

void unlink_anon_vmas(struct vm_area_struct *vma)
{
	struct anon_vma_chain *avc, *next;
	struct anon_vma *root = NULL;

	assert_held_write(&vma->vm_mm->mmap_lock);
	if (list_empty(&vma->anon_vma_chain))
		return;
	root = list_first_entry(&vma->anon_vma_chain, struct anon_vma_chain, same_vma)->anon_vma->root;
	down_write(&root->rwsem);
	list_for_each_entry_safe(avc, next, &vma->anon_vma_chain, same_vma) {
		/* An empty one stays in the list until the lock, which may be its own, is free. */
		if (avc_unlink(avc, root)) {
			avc->anon_vma->parent->num_children--;
			continue;
		}
		list_del(&avc->same_vma);
		avc_free(avc);
	}
	if (vma->anon_vma) {
		vma->anon_vma->num_active_vmas--;
		vma->anon_vma = NULL;
	}
	up_write(&root->rwsem);
	/* Newest to oldest, so that the root goes last. */
	list_for_each_entry_safe(avc, next, &vma->anon_vma_chain, same_vma) {
		put_anon_vma(avc->anon_vma);
		list_del(&avc->same_vma);
		avc_free(avc);
	}
}

void anon_vma_interval_tree_pre_update_vma(struct vm_area_struct *vma)
{
	struct anon_vma_chain *avc;

	list_for_each_entry(avc, &vma->anon_vma_chain, same_vma) {
		assert_held_write(&avc->anon_vma->root->rwsem);
		anon_vma_interval_tree_remove(avc, &avc->anon_vma->rb_root);
	}
}

void anon_vma_interval_tree_post_update_vma(struct vm_area_struct *vma)
{
	struct anon_vma_chain *avc;

	list_for_each_entry(avc, &vma->anon_vma_chain, same_vma) {
		assert_held_write(&avc->anon_vma->root->rwsem);
		anon_vma_interval_tree_insert(avc, &avc->anon_vma->rb_root);
	}
}

/* ---- pages ----------------------------------------------------------------------------------- */

/* Apart, for few pages are born locked. */
static __attribute__((noinline)) void lru_cache_add_mlocked(struct page *page)
{
	assert_table_locked();
	inc_node_page_state(NR_MLOCK);
	count_vm_event(UNEVICTABLE_PGMLOCKED);
	count_vm_event(UNEVICTABLE_PGCULLED);
	lru_cache_add_new(page, 1ul << PG_swapbacked | 1ul << PG_uptodate | PAGE_FLAGS_MLOCKED);
}

void page_add_new_anon_rmap(struct page *page, struct vm_area_struct *vma, uintptr_t addr)
{
	assert_table_locked();
	ASSERT_DEBUG_I("I26", page_mapcount(page) == 0);
	ASSERT_DEBUG(!page->mapping);
	ASSERT(vma->anon_vma);
	__atomic_store_n(&page->_mapcount, 0, __ATOMIC_RELAXED);
	page->index = linear_page_index(vma, addr);
	WRITE_ONCE(page->mapping, (void *)((uintptr_t)vma->anon_vma | PAGE_MAPPING_ANON));
	inc_node_page_state(NR_ANON_MAPPED);
	if (unlikely((vma->vm_flags & (VM_LOCKED | VM_SPECIAL)) == VM_LOCKED)) {
		lru_cache_add_mlocked(page);
		return;
	}
	lru_cache_add_new(page, 1ul << PG_swapbacked | 1ul << PG_uptodate);
}

void page_add_anon_rmap(struct page *page, struct vm_area_struct *vma, uintptr_t addr)
{
	assert_table_locked();
	ASSERT_DEBUG_I("I27", PageAnon(page));
	if (__atomic_fetch_add(&page->_mapcount, 1, __ATOMIC_RELAXED) == -1)
		inc_node_page_state(NR_ANON_MAPPED);
}

void do_page_add_anon_rmap(struct page *page, struct vm_area_struct *vma, uintptr_t addr,
			   bool exclusive)
{
	const struct reclaim_policy *policy = reclaim_policy_now();

	assert_page_locked(page);
	if (!PageAnon(page)) {
		struct anon_vma *av = exclusive ? vma->anon_vma : vma->anon_vma->root;

		ASSERT(!page->mapping);
		page->index = linear_page_index(vma, addr);
		WRITE_ONCE(page->mapping, (void *)((uintptr_t)av | PAGE_MAPPING_ANON));
	}
	page_add_anon_rmap(page, vma, addr);
	if (unlikely(policy->page_claimed))
		policy->page_claimed(page, vma->vm_mm->lru_space);
}

void page_add_file_rmap(struct page *page)
{
	assert_table_locked();
	ASSERT_DEBUG(!PageAnon(page));
	if (__atomic_fetch_add(&page->_mapcount, 1, __ATOMIC_RELAXED) == -1)
		inc_node_page_state(NR_FILE_MAPPED);
}

/* The last entry goes: nobody has to be asked. Apart, so that the common way calls nothing. */
static __attribute__((noinline)) void clear_page_mlock(struct page *page)
{
	assert_table_locked();
	if (lru_munlock(page))
		count_vm_event(UNEVICTABLE_PGCLEARED);
}

void page_remove_rmap(struct page *page)
{
	int32_t left = __atomic_sub_fetch(&page->_mapcount, 1, __ATOMIC_ACQ_REL);

	assert_table_locked();
	ASSERT_I("I26", left >= -1);
	if (left == -1) {
		dec_node_page_state(PageAnon(page) ? NR_ANON_MAPPED : NR_FILE_MAPPED);
		if (unlikely(page_test(page, PG_mlocked)))
			clear_page_mlock(page);
	}
}

uintptr_t vma_address(const struct page *page, const struct vm_area_struct *vma)
{
	uintptr_t addr;

	if (page->index < vma->vm_pgoff || page->index - vma->vm_pgoff >= vma_pages(vma))
		return -EFAULT;
	addr = vma->vm_start + ((page->index - vma->vm_pgoff) << PAGE_SHIFT);
	return addr;
}

typedef bool (*rmap_fn)(struct page *page, struct vm_area_struct *vma, uintptr_t addr, void *ctx);

/* One VMA that may map the page; the tree it was found in is locked by sem. */
static bool rmap_visit(struct page *page, struct vm_area_struct *vma,
		       const struct rw_semaphore *sem, rmap_fn fn, void *ctx)
{
	assert_held_read(sem);
	return fn(page, vma, vma_address(page, vma), ctx);
}

static bool get_anon_vma_unless_zero(struct anon_vma *av)
{
	uint32_t n = __atomic_load_n(&av->refcount, __ATOMIC_RELAXED);

	assert_irqs_off();
	while (n)
		if (__atomic_compare_exchange_n(&av->refcount, &n, n + 1, false, __ATOMIC_ACQ_REL,
						__ATOMIC_RELAXED))
			return true;
	return false;
}

struct anon_vma *page_get_anon_vma(const struct page *page)
{
	struct anon_vma *av;
	uintptr_t *look;
	irqflags_t flags;
	bool got = false;

	ASSERT_DEBUG_I("I7", page_count(page) > 0);
	flags = hal_irq_save();
	look = &looked_at[hal_cpu_id()].av;
	av = page_anon_vma(page);
	if (av) {
		__atomic_exchange_n(look, (uintptr_t)av, __ATOMIC_ACQ_REL);
		/* While an entry names the page, a VMA is linked to its anon_vma. */
		got = page_mapcount(page) > 0 && page_anon_vma(page) == av &&
		      get_anon_vma_unless_zero(av);
		__atomic_exchange_n(look, 0, __ATOMIC_ACQ_REL);
	}
	hal_irq_restore(flags);
	return got ? av : NULL;
}

/* As above: while it is announced and an entry is left, the anon_vma is there. */
unsigned anon_page_space(const struct page *page)
{
	uintptr_t *look = &looked_at[hal_cpu_id()].av;
	struct anon_vma *av = page_anon_vma(page);
	unsigned space = 0;

	assert_irqs_off();
	if (!av)
		return 0;
	__atomic_exchange_n(look, (uintptr_t)av, __ATOMIC_ACQ_REL);
	if (page_mapcount(page) > 0 && page_anon_vma(page) == av)
		space = READ_ONCE(av->space);
	__atomic_exchange_n(look, 0, __ATOMIC_ACQ_REL);
	return space;
}

static void rmap_walk_anon(struct page *page, struct anon_vma *av, rmap_fn fn, void *ctx)
{
	struct anon_vma_chain *avc;

	ASSERT_DEBUG_I("I27", av->root && page_anon_vma(page) == av);
	anon_vma_lock_read(av);
	anon_vma_interval_tree_foreach(avc, &av->rb_root, page->index, page->index)
		if (!rmap_visit(page, avc->vma, &av->root->rwsem, fn, ctx))
			break;
	anon_vma_unlock_read(av);
}

static void rmap_walk_file(struct page *page, rmap_fn fn, void *ctx)
{
	struct address_space *mapping = page->mapping;
	struct vm_area_struct *vma;

	ASSERT_DEBUG(!PageAnon(page));
	if (!mapping)
		return;
	down_read(&mapping->i_mmap_rwsem);
	vma_interval_tree_foreach(vma, i_mmap_read(mapping), page->index, page->index)
		if (!rmap_visit(page, vma, &mapping->i_mmap_rwsem, fn, ctx))
			break;
	up_read(&mapping->i_mmap_rwsem);
}

void rmap_walk_held(struct page *page, struct anon_vma *av, rmap_fn fn, void *ctx)
{
	might_sleep();
	if (av)
		rmap_walk_anon(page, av, fn, ctx);
	else if (!PageAnon(page))
		rmap_walk_file(page, fn, ctx);
}

void rmap_walk(struct page *page, rmap_fn fn, void *ctx)
{
	struct anon_vma *av = page_get_anon_vma(page);

	rmap_walk_held(page, av, fn, ctx);
	if (av)
		put_anon_vma(av);
}
