/* SPDX-License-Identifier: MIT */
/* The tunables of /proc/sys/vm that the virtual half obeys, and their defaults (sysctl.c). */
#ifndef MM_SYSCTL_H
#define MM_SYSCTL_H

#include "arch/hal.h"

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

/* Back to the defaults. Early. */
void vm_sysctl_init(void);

#endif
