/* SPDX-License-Identifier: MIT */
/* The tunables of /proc/sys/vm: their values, and the one table of names, bounds and defaults. */
#ifndef MM_SYSCTL_H
#define MM_SYSCTL_H

#include "mm/base/mmzone.h"
#include <quire/quire.h>

enum { OVERCOMMIT_GUESS, OVERCOMMIT_ALWAYS, OVERCOMMIT_NEVER };

/* Read anywhere, set by quire_sysctl_set() and quire_sysctl_write(); plain loads and stores of
 * words. What each one is: vm_tunables[] in sysctl.c. */
struct vm_sysctl {
	long admin_reserve_kbytes;
	long compact_memory;
	long dirty_background_bytes; /* 0: the ratio holds */
	long dirty_background_ratio;
	long dirty_bytes;	     /* 0: the ratio holds */
	long dirty_expire_centisecs;
	long dirty_ratio;
	long dirty_writeback_centisecs; /* a negative one is a very long time, as Linux takes it */
	long drop_caches;
	long fault_around_bytes; /* a power of two, at least a page */
	long legacy_va_layout;
	long lowmem_reserve_ratio[MAX_NR_ZONES];
	long max_map_count;
	long min_free_kbytes;
	long mmap_min_addr; /* bytes; see lowest_mmap_addr() */
	long oom_dump_tasks;
	long oom_kill_allocating_task;
	long overcommit_kbytes;
	long overcommit_memory;
	long overcommit_ratio;
	long page_cluster; /* log2 of pages */
	long panic_on_oom;
	long reclaim_policy; /* number of a struct reclaim_policy (reclaim/policy.c) */
	long stack_guard_gap; /* pages */
	long swappiness; /* 0 .. 200 */
	long trace_kmem;
	long trace_pages;
	long unprivileged_userfaultfd;
	long user_reserve_kbytes;
	long watermark_boost_factor;
	long watermark_scale_factor;
};
extern struct vm_sysctl vm_sysctl;

#define STACK_GUARD_GAP ((uintptr_t)vm_sysctl.stack_guard_gap << PAGE_SHIFT)

/* What min_free_kbytes is computed to be at the start lies between these. */
#define MIN_FREE_KBYTES_LEAST 128ul
#define MIN_FREE_KBYTES_MOST  262144ul

/* How a number that is written as text is taken (Linux's proc_dointvec and its relatives). */
enum sysctl_kind {
	SYSCTL_INT,
	SYSCTL_ULONG,	/* a negative number is passed over */
	SYSCTL_TRIGGER, /* whatever is written, it happens; nothing is kept */
};

struct vm_tunable {
	struct quire_sysctl shown;
	long *value; /* shown.count of them */
	enum sysctl_kind kind;
};

/* The tunables by number, in the order of their names; NULL past the last. */
const struct vm_tunable *vm_tunable_at(unsigned i);
/* NULL: no such name. */
const struct vm_tunable *vm_tunable_find(const char *name);

/* All values back to their defaults. Before anything of the core reads one. */
void vm_sysctl_init(void);

#endif
