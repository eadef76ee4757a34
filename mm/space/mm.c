/* SPDX-License-Identifier: MIT */
/*
 * Address spaces (struct mm_struct): creation, empty or as a fork, switching, tear-down when the
 * last user is gone, layout and address randomisation.
 *
 * Two counts keep a space. mm_users are its users (tasks, and calls that inspect it): when the last
 * one is gone (mmput), exit_mmap() unmaps everything. mm_count keeps the structure and the root
 * table; all users together count once. Migration holds only this one (mmgrab), so that it never
 * has to do the work of unmapping.
 *
 * Every space is on mmlist (mmlist_lock), from the end of its creation until it has been unmapped.
 */
#include "mm/space/mm.h"
#include "lib/string.h"
#include "mm/base/lockrank.h"
#include "mm/base/mmzone.h"
#include "mm/base/param.h"
#include "mm/base/vmstat.h"
#include "mm/lru/spaces.h"
#include "mm/phys/commit.h"
#include "mm/phys/page_alloc.h"
#include "mm/rmap/rmap.h"
#include "mm/slab/slab.h"
#include "mm/space/range.h"
#include <quire/abi.h>

bool mm_aslr;
struct list_head mmlist = LIST_HEAD_INIT(mmlist);
spinlock_t mmlist_lock = SPINLOCK_INIT_RANK("mmlist_lock", RANK_MMLIST);
static struct kmem_cache *mm_cachep;
static int32_t oom_victims; /* spaces with MMF_OOM_VICTIM and without MMF_OOM_SKIP; atomic */
static uint64_t random_state; /* atomic; the seed, and a step for each number taken */

/* With a seed all later addresses are the same in each run; without one they are unpredictable. */
static void random_init(void)
{
	mm_aslr = init_config.aslr;
	random_state = boot_param_size("aslr_seed", 0);
	if (mm_aslr && !random_state)
		random_state = os_entropy();
}

/* splitmix64: the n-th number depends on the seed and n alone. */
static uint64_t random_u64(void)
{
	uint64_t z = __atomic_add_fetch(&random_state, 0x9e3779b97f4a7c15ull, __ATOMIC_RELAXED);

	ASSERT(mm_aslr);
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static void destroy_caches(void)
{
	might_sleep();
	kmem_cache_destroy(vm_area_cachep);
	kmem_cache_destroy(mm_cachep);
	vm_area_cachep = NULL;
	mm_cachep = NULL;
}

int mm_virt_init(void)
{
	int err = -ENOMEM;

	ASSERT(!mm_cachep && !vm_area_cachep);
	commit_init();
	random_init();
#ifdef QUIRE_KEEP_REPLACED
	mmap_keeps_replaced = boot_param_bool("keep_replaced", true);
#else
	mmap_keeps_replaced = boot_param_bool("keep_replaced", false);
#endif
	INIT_LIST_HEAD(&mmlist);
	oom_victims = 0;
	pgtable_init();
	mm_cachep = kmem_cache_create("mm_struct", sizeof(struct mm_struct), 64,
				      SLAB_HWCACHE_ALIGN, NULL);
	vm_area_cachep = kmem_cache_create("vm_area_struct", sizeof(struct vm_area_struct), 8, 0,
					   NULL);
	if (mm_cachep && vm_area_cachep)
		err = rmap_init();
	if (err)
		destroy_caches();
	return err;
}

void mm_virt_exit(void)
{
	ASSERT(list_empty(&mmlist));
	rmap_exit();
	destroy_caches();
}

/* ---- life ------------------------------------------------------------------------------------ */

#define MMAP_MIN_GAP (128ul << 20)

/* How much lower a random stack may end: 16 GiB, or a 16th of a space smaller than that. */
static uintptr_t stack_room(uintptr_t top)
{
	ASSERT(top);
	return min((uintptr_t)16 << 30, PAGE_ALIGN(top / 16));
}

/* Where mmap searches, from the stack's limit. */
static void arch_pick_mmap_layout(struct mm_struct *mm, const struct quire_mm_params *p)
{
	uintptr_t top = mm->stack_top, max_gap = top / 6 * 5, rnd = 0, third = (top - mm->start) / 3;
	uint64_t gap = rlimit(mm, RLIMIT_STACK), pad = STACK_GUARD_GAP;

	ASSERT(mm->start < mm->task_size && mm->stack_top <= mm->task_size);
	if (mm_aslr && !p->not_random) {
		/* Linux's 28 random bits of pages, and room for a stack 16 GiB lower. */
		rnd = (random_u64() & 0xfffffff) << PAGE_SHIFT;
		pad += stack_room(top);
		/* A space that small has fewer bits to give. */
		if (rnd > top / 8)
			rnd %= ALIGN_DOWN(top / 8, PAGE_SIZE);
	}
	if (gap + pad > gap)
		gap += pad;
	gap = min(max(gap, (uint64_t)MMAP_MIN_GAP), (uint64_t)max_gap);
	mm->legacy_layout = vm_sysctl.legacy_va_layout || p->bottom_up;
	mm->mmap_base = PAGE_ALIGN(top - gap - rnd);
	if (mm->mmap_base < mm->start || mm->mmap_base > top)
		mm->mmap_base = top;
	mm->mmap_legacy_base = mm->start + PAGE_ALIGN(third) + (rnd <= third ? rnd : rnd % third);
	mm->mmap_legacy_base &= PAGE_MASK;
}

bool quire_mm_random(struct quire_mm_random *r)
{
	*r = (struct quire_mm_random){0};
	if (!mm_aslr)
		return false;
	/* The ranges of 5.10 on x86-64: 22 bits of pages, half a page's worth of lines, 32 MiB. */
	r->stack = random_u64() % stack_room(hal_mmu_info()->user_end) & PAGE_MASK;
	r->sp = random_u64() % 8192 & ~15ul;
	r->brk = random_u64() % (32ul << 20) & PAGE_MASK;
	return true;
}

/* The fields of an empty space; no tables yet. */
static void mm_init(struct mm_struct *mm, void *owner)
{
	ASSERT(!mm->mm_users);
	mm->mm_users = 1;
	mm->mm_count = 1;
	mm->owner = owner;
	init_rwsem_named(&mm->mmap_lock, "mmap_lock");
	spin_lock_init_rank(&mm->page_table_lock, "page_table_lock", RANK_PTL_UPPER);
	mm->mm_rb = RB_ROOT;
	INIT_LIST_HEAD(&mm->oom_reap);
}

static int mm_finish(struct mm_struct *mm)
{
	int err = pgd_alloc(mm);

	if (err)
		return err;
	lru_space_begin(mm);
	spin_lock(&mmlist_lock);
	list_add_tail(&mm->mmlist, mm_list());
	spin_unlock(&mmlist_lock);
	return 0;
}

/* Whether tables of this machine can hold the range, beside what the kernel has in them. */
static bool range_is_possible(uintptr_t start, uintptr_t end, uintptr_t stack_top, bool user)
{
	const struct mmu_info *mmu = hal_mmu_info();
	uintptr_t most = user ? mmu->user_end : 1ul << (mmu->va_bits - 1);

	return start < stack_top && stack_top <= end && end <= most &&
	       !((start | end | stack_top) & ~PAGE_MASK);
}

/* An empty space with one user and a root table; owner may be NULL. NULL: no memory. */
static struct mm_struct *mm_alloc(const struct quire_mm_params *p)
{
	uintptr_t end = p->start || p->end ? p->end : hal_mmu_info()->user_end;
	uintptr_t stack_top = p->stack_top ? p->stack_top : end;
	struct mm_struct *mm;

	if (!range_is_possible(p->start, end, stack_top, !p->supervisor))
		return NULL;
	mm = kmem_cache_zalloc(mm_cachep, GFP_KERNEL);
	if (!mm)
		return NULL;
	mm_init(mm, p->owner);
	mm->user = !p->supervisor;
	mm->start = p->start;
	mm->task_size = end;
	mm->stack_top = stack_top;
	arch_pick_mmap_layout(mm, p);
	if (mm_finish(mm)) {
		kmem_cache_free(mm_cachep, mm);
		return NULL;
	}
	return mm;
}

static void mmget(struct mm_struct *mm)
{
	ASSERT_DEBUG(READ_ONCE(mm->mm_users));
	__atomic_fetch_add(&mm->mm_users, 1, __ATOMIC_RELAXED);
}

static void mm_unlist(struct mm_struct *mm)
{
	assert_held(&mmlist_lock);
	list_del(&mm->mmlist);
}

/* The last one tears the space down. Context: sleep. */
static void mmput(struct mm_struct *mm)
{
	ASSERT_DEBUG(READ_ONCE(mm->mm_users));
	if (__atomic_sub_fetch(&mm->mm_users, 1, __ATOMIC_ACQ_REL))
		return;
	exit_mmap(mm);
	lru_space_end(mm);
	spin_lock(&mmlist_lock);
	mm_unlist(mm);
	spin_unlock(&mmlist_lock);
	mmdrop(mm);
}

bool mmget_not_zero(struct mm_struct *mm)
{
	uint32_t users = __atomic_load_n(&mm->mm_users, __ATOMIC_RELAXED);

	while (users && !__atomic_compare_exchange_n(&mm->mm_users, &users, users + 1, false,
						     __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		;
	return users != 0;
}

/* Both flags change in one atomic each, and whoever makes the pair count or stop counting sees it. */
void mm_mark_victim(struct mm_struct *mm)
{
	if (!(mm_set_flag(mm, MMF_OOM_VICTIM) & (MMF_OOM_VICTIM | MMF_OOM_SKIP)))
		__atomic_fetch_add(&oom_victims, 1, __ATOMIC_RELAXED);
}

void mm_oom_skip(struct mm_struct *mm)
{
	if ((mm_set_flag(mm, MMF_OOM_SKIP) & (MMF_OOM_VICTIM | MMF_OOM_SKIP)) == MMF_OOM_VICTIM)
		__atomic_fetch_sub(&oom_victims, 1, __ATOMIC_RELAXED);
}

bool mm_victims_left(void)
{
	return READ_ONCE(oom_victims) > 0;
}

struct mm_struct *mm_next(struct mm_struct *prev)
{
	struct mm_struct *mm = NULL, *found = NULL;
	struct list_head *at;

	spin_lock(&mmlist_lock);
	for (at = prev ? prev->mmlist.next : mm_list()->next; at != mm_list() && !found; at = at->next) {
		mm = list_entry(at, struct mm_struct, mmlist);
		if (mmget_not_zero(mm))
			found = mm;
	}
	spin_unlock(&mmlist_lock);
	if (prev)
		mmput(prev);
	return found;
}

void mmgrab(struct mm_struct *mm)
{
	ASSERT_DEBUG(READ_ONCE(mm->mm_count));
	__atomic_fetch_add(&mm->mm_count, 1, __ATOMIC_RELAXED);
}

void mmdrop(struct mm_struct *mm)
{
	if (__atomic_sub_fetch(&mm->mm_count, 1, __ATOMIC_ACQ_REL))
		return;
	pgd_free(mm);
	ASSERT(mm->map_count == 0);
	for (int i = 0; i < NR_MM_COUNTERS; i++)
		ASSERT_I("I28", mm->rss[i] == 0);
	ASSERT_I("I29", mm->pgtables_bytes == 0);
	kmem_cache_free(mm_cachep, mm);
}

/* An empty space like old, for its fork. */
static struct mm_struct *mm_dup_empty(struct mm_struct *old, void *owner)
{
	struct mm_struct *mm = kmem_cache_zalloc(mm_cachep, GFP_KERNEL);

	ASSERT(READ_ONCE(old->mm_users));
	if (!mm)
		return NULL;
	mm_init(mm, owner);
	mm->user = old->user;
	mm->start = old->start;
	mm->task_size = old->task_size;
	mm->stack_top = old->stack_top;
	mm->mmap_base = old->mmap_base;
	mm->mmap_legacy_base = old->mmap_legacy_base;
	mm->legacy_layout = old->legacy_layout;
	if (mm_finish(mm)) {
		kmem_cache_free(mm_cachep, mm);
		return NULL;
	}
	return mm;
}

struct quire_mm *quire_mm_create(const struct quire_mm_params *p)
{
	return from_mm(mm_alloc(p));
}

int quire_mm_fork(struct quire_mm *parent, void *owner, struct quire_mm **child)
{
	struct mm_struct *old = to_mm(parent), *mm = mm_dup_empty(old, owner);
	int err;

	*child = NULL;
	if (!mm)
		return -ENOMEM;
	err = dup_mmap(mm, old);
	if (err) {
		mmput(mm);
		return err;
	}
	*child = from_mm(mm);
	return 0;
}

void quire_mm_get(struct quire_mm *mm)
{
	mmget(to_mm(mm));
}

void quire_mm_put(struct quire_mm *mm)
{
	mmput(to_mm(mm));
}

void quire_mm_grab(struct quire_mm *mm)
{
	mmgrab(to_mm(mm));
}

void quire_mm_drop(struct quire_mm *mm)
{
	mmdrop(to_mm(mm));
}

bool quire_mm_tryget(struct quire_mm *mm)
{
	return mmget_not_zero(to_mm(mm));
}

void quire_mm_sleeps(struct quire_mm *mm)
{
	WRITE_ONCE(to_mm(mm)->slept, READ_ONCE(node_spaces.evictions) + 1);
}

void quire_mm_runs(struct quire_mm *mm)
{
	WRITE_ONCE(to_mm(mm)->slept, 0);
}

void quire_mm_switch(struct quire_mm *mm)
{
	if (mm)
		quire_mm_runs(mm);
	hal_space_switch(mm ? &to_mm(mm)->arch : NULL);
}

static void store_layout(struct mm_struct *mm, const struct quire_mm_layout *l)
{
	assert_held_write(&mm->mmap_lock);
	mm->start_code = l->start_code;
	mm->end_code = l->end_code;
	mm->start_data = l->start_data;
	mm->end_data = l->end_data;
	mm->start_brk = l->start_brk;
	mm->brk = l->brk;
	mm->start_stack = l->start_stack;
	mm->arg_start = l->arg_start;
	mm->arg_end = l->arg_end;
	mm->env_start = l->env_start;
	mm->env_end = l->env_end;
}

static void load_layout(const struct mm_struct *mm, struct quire_mm_layout *l)
{
	assert_held_any(&mm->mmap_lock);
	*l = (struct quire_mm_layout){
		.start_code = mm->start_code,
		.end_code = mm->end_code,
		.start_data = mm->start_data,
		.end_data = mm->end_data,
		.start_brk = mm->start_brk,
		.brk = mm->brk,
		.start_stack = mm->start_stack,
		.arg_start = mm->arg_start,
		.arg_end = mm->arg_end,
		.env_start = mm->env_start,
		.env_end = mm->env_end,
	};
}

void quire_mm_set_layout(struct quire_mm *qmm, const struct quire_mm_layout *l)
{
	struct mm_struct *mm = to_mm(qmm);

	down_write(&mm->mmap_lock);
	store_layout(mm, l);
	up_write(&mm->mmap_lock);
}

void quire_mm_get_layout(struct quire_mm *qmm, struct quire_mm_layout *l)
{
	struct mm_struct *mm = to_mm(qmm);

	down_read(&mm->mmap_lock);
	load_layout(mm, l);
	up_read(&mm->mmap_lock);
}

void quire_mm_faults(struct quire_mm *qmm, uint64_t *minor, uint64_t *major)
{
	struct mm_struct *mm = to_mm(qmm);

	*minor = __atomic_load_n(&mm->min_flt, __ATOMIC_RELAXED);
	*major = __atomic_load_n(&mm->maj_flt, __ATOMIC_RELAXED);
}

int security_mmap_addr(struct mm_struct *mm, uintptr_t addr)
{
	if (addr < (uintptr_t)vm_sysctl.mmap_min_addr && !os_capable(mm->owner, CAP_SYS_RAWIO))
		return -EPERM;
	return 0;
}
