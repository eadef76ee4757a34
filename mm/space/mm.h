/* SPDX-License-Identifier: MIT */
/*
 * Address spaces as a whole: their life, their counters, what they may commit, and the tunables of
 * /proc/sys/vm that the virtual half obeys.
 */
#ifndef MM_MM_H
#define MM_MM_H

#include "mm/base/mm_types.h"
#include <quire/os.h>
#include <quire/quire.h>

/* quire_mm is the public name of struct mm_struct. */
static inline struct mm_struct *to_mm(struct quire_mm *mm)
{
	return (struct mm_struct *)mm;
}

static inline struct quire_mm *from_mm(struct mm_struct *mm)
{
	return (struct quire_mm *)mm;
}

enum { OVERCOMMIT_GUESS, OVERCOMMIT_ALWAYS, OVERCOMMIT_NEVER };

/* Read anywhere, set by quire_sysctl_set(); plain loads and stores of words. */
struct vm_sysctl {
	long overcommit_memory;
	long overcommit_ratio;	     /* per cent */
	long overcommit_kbytes;	     /* 0: the ratio counts */
	long max_map_count;
	long mmap_min_addr;	     /* bytes; see lowest_mmap_addr() */
	long stack_guard_gap;	     /* pages; a boot option in Linux */
	long legacy_va_layout;	     /* not 0: mmap of new programs is bottom-up */
	long admin_reserve_kbytes, user_reserve_kbytes;
	long fault_around_bytes;     /* debugfs in Linux; a power of two, at least a page */
};
extern struct vm_sysctl vm_sysctl;

#define STACK_GUARD_GAP ((uintptr_t)vm_sysctl.stack_guard_gap << PAGE_SHIFT)

/* Caches, lists and tunables of the virtual half. Called by quire_init(); 0 or -ENOMEM. */
int mm_virt_init(void);
/* All spaces must be gone. */
void mm_virt_exit(void);
/* Places of new spaces are randomised (quire_config.aslr). */
extern bool mm_aslr;

extern struct list_head mmlist; /* all spaces, by mm->mmlist */
extern spinlock_t mmlist_lock;

/* An empty space with one user and a root table; owner may be NULL. NULL: no memory. */
struct mm_struct *mm_alloc(const struct quire_mm_params *p);
void mmget(struct mm_struct *mm);
/* The last one tears the space down. Context: sleep. */
void mmput(struct mm_struct *mm);
/* Keeps the structure and its mmap_lock, not what is mapped: whoever locks it may find it empty.
 * The caller knows that the space is not torn down yet. */
void mmgrab(struct mm_struct *mm);
/* The last one frees structure and root table. Any context, no lock of the space held. */
void mmdrop(struct mm_struct *mm);
/* Unmaps everything, frees all tables but the root. Nobody else uses mm any more. */
void exit_mmap(struct mm_struct *mm);
/* A copy-on-write copy of oldmm's VMAs and pages in the empty mm; on -ENOMEM or -EINTR mm holds
 * a part of it, which exit_mmap() undoes. */
int dup_mmap(struct mm_struct *mm, struct mm_struct *oldmm);
/* Where mmap searches, from the stack's limit. */
void arch_pick_mmap_layout(struct mm_struct *mm);

/* ---- counters -------------------------------------------------------------------------------- */

static inline void add_mm_counter(struct mm_struct *mm, int member, long n)
{
	__atomic_fetch_add(&mm->rss[member], n, __ATOMIC_RELAXED);
}

static inline unsigned long get_mm_counter(const struct mm_struct *mm, int member)
{
	long v = __atomic_load_n(&mm->rss[member], __ATOMIC_RELAXED);

	return v < 0 ? 0 : v;
}

static inline unsigned long get_mm_rss(const struct mm_struct *mm)
{
	return get_mm_counter(mm, MM_FILEPAGES) + get_mm_counter(mm, MM_ANONPAGES) +
	       get_mm_counter(mm, MM_SHMEMPAGES);
}

/* Which of the counters a mapped page belongs to. */
static inline int mm_counter(const struct page *page)
{
	if (PageAnon(page))
		return MM_ANONPAGES;
	return page_test(page, PG_swapbacked) ? MM_SHMEMPAGES : MM_FILEPAGES;
}

/* Remember the peaks before rss or total_vm falls. Truncation does so for others' spaces, at the
 * same time as they do: a peak may be lost, as in 5.10. */
static inline void update_hiwater_rss(struct mm_struct *mm)
{
	unsigned long rss = get_mm_rss(mm);

	if (READ_ONCE(mm->hiwater_rss) < rss)
		WRITE_ONCE(mm->hiwater_rss, rss);
}

static inline void update_hiwater_vm(struct mm_struct *mm)
{
	if (mm->hiwater_vm < mm->total_vm)
		mm->hiwater_vm = mm->total_vm;
}

/* ---- commitment ------------------------------------------------------------------------------ */

/* Promises pages to mm (may be NULL), as the overcommit mode allows. 0 or -ENOMEM. */
int security_vm_enough_memory_mm(struct mm_struct *mm, long pages);
/* The same, asked or not: as much was given back, or will be. */
void vm_acct_memory(long pages);
/* Takes the promise back. */
void vm_unacct_memory(long pages);
/* What mode 2 allows in all, in pages, and what is promised now. */
unsigned long vm_commit_limit(void);
long vm_memory_committed(void);

/*
 * Below which no mapping is placed and no stack grows: the tunable, but never less than what the
 * kernel was built with (Linux's CONFIG_LSM_MMAP_MIN_ADDR). The right to map there all the same is
 * asked for by the tunable alone.
 */
#define LSM_MMAP_MIN_ADDR 65536
static inline uintptr_t lowest_mmap_addr(void)
{
	return max((uintptr_t)vm_sysctl.mmap_min_addr, (uintptr_t)LSM_MMAP_MIN_ADDR);
}

/* 0, or -EPERM for an address below mmap_min_addr without CAP_SYS_RAWIO. */
int security_mmap_addr(struct mm_struct *mm, uintptr_t addr);
static inline uint64_t rlimit(const struct mm_struct *mm, int resource)
{
	return os_rlimit(mm->owner, resource);
}

static inline uint64_t rlimit_max(const struct mm_struct *mm, int resource)
{
	return os_rlimit_max(mm->owner, resource);
}

#endif
