/* SPDX-License-Identifier: MIT */
/* What the rooms of mm/ supply to quire_init() and quire_exit(). */
#ifndef MM_INIT_H
#define MM_INIT_H

#include <quire/quire.h>

/* The configuration of this start; constant while the core runs. */
extern struct quire_config init_config;

/* Address spaces, VMAs, reverse map, page tables: after everything else. 0 or -ENOMEM. */
int mm_virt_init(void);
void mm_virt_exit(void);

/* Commitment (mm.c): promises pages to mm, which may be NULL; 0 or -ENOMEM. Takes them back. What
 * mode 2 allows in all, and what is promised now, in pages. */
struct mm_struct;
int security_vm_enough_memory_mm(struct mm_struct *mm, long pages);
void vm_unacct_memory(long pages);
unsigned long vm_commit_limit(void);
long vm_memory_committed(void);

/* /proc/sys/vm names of the physical side: gets, or sets if set, *value. -ENOENT: not ours. */
int phys_sysctl(const char *name, long *value, bool set);

#endif
