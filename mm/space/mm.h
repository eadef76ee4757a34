/* SPDX-License-Identifier: MIT */
/*
 * Address spaces as a whole (struct mm_struct): creating, referencing and destroying them, resident
 * counters, bounds.
 */
#ifndef MM_MM_H
#define MM_MM_H

#include "mm/base/mm_types.h"
#include "mm/base/sysctl.h"
#include "mm/phys/commit.h"
#include <quire/os.h>
#include <quire/quire.h>

/* Caches, lists and tunables of the virtual half. Called by quire_init(); 0 or -ENOMEM. */
int mm_virt_init(void);
/* All spaces must be gone. */
void mm_virt_exit(void);
/* Places of new spaces are randomised (quire_config.aslr). */
extern bool mm_aslr;

extern struct list_head mmlist; /* all spaces, by mm->mmlist */
extern spinlock_t mmlist_lock;
static inline struct list_head *mm_list(void)
{
	assert_held(&mmlist_lock);
	return &mmlist;
}

/* The space after prev (NULL: the first), with a user of ours; lets prev go. NULL: no more. Spaces that
 * are made meanwhile come last. Context: sleep. */
struct mm_struct *mm_next(struct mm_struct *prev);
/* Keeps the structure and its mmap_lock, not what is mapped: the space may be empty by the time
 * that it is locked. The caller knows that it is not torn down yet. */
void mmgrab(struct mm_struct *mm);
/* The last one frees structure and root table. Any context, no lock of the space held. */
void mmdrop(struct mm_struct *mm);
/* A user more, by whoever only keeps the structure; false: the space is torn down. quire_mm_put() afterwards. */
bool mmget_not_zero(struct mm_struct *mm);
/* Unmaps everything, frees all tables but the root. mm has no user left. */
void exit_mmap(struct mm_struct *mm);
/* A copy-on-write copy of oldmm's VMAs and pages in the empty mm; on -ENOMEM or -EINTR mm holds
 * a part of it, which exit_mmap() undoes. */
int dup_mmap(struct mm_struct *mm, struct mm_struct *oldmm);

/* ---- victims of the OOM killer --------------------------------------------------------------- */

/* Who uses mm was killed for its memory. Any context. */
void mm_mark_victim(struct mm_struct *mm);
/* Its memory is given back, or will not be: it keeps nobody from choosing another victim. */
void mm_oom_skip(struct mm_struct *mm);
/* A victim's memory is still to come. Any context. */
bool mm_victims_left(void);

/* ---- counters -------------------------------------------------------------------------------- */

/* One of a space's sizes (total_vm, locked_vm ...) changes; mmap_lock for writing, but reports read
 * them without. */
static inline void vm_count(unsigned long *pages, long n)
{
	WRITE_ONCE(*pages, *pages + n);
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
	assert_held_write(&mm->mmap_lock);
	if (mm->hiwater_vm < mm->total_vm)
		WRITE_ONCE(mm->hiwater_vm, mm->total_vm);
}

/* ---- bounds ---------------------------------------------------------------------------------- */

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
