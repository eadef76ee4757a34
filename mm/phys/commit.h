/* SPDX-License-Identifier: MIT */
/* Overcommit accounting: charging pages that mappings and shared memory may come to use. See
 * commit.c. */
#ifndef MM_COMMIT_H
#define MM_COMMIT_H

#include "mm/base/mm_types.h"

/* Charges pages for mm (NULL: the kernel's own), if the overcommit mode allows. 0 or -ENOMEM. */
int security_vm_enough_memory_mm(struct mm_struct *mm, long pages);
/* Charges pages without asking the mode: as many were uncharged, or will be. */
void vm_acct_memory(long pages);
/* Uncharges pages. */
void vm_unacct_memory(long pages);
/* What mode 2 allows in all, in pages, and what is charged now. */
unsigned long vm_commit_limit(void);
long vm_memory_committed(void);
/* Slots of all swap areas, in use or not: they can be promised too. Any context. */
unsigned long total_swap_pages(void);
void mod_total_swap_pages(long n);
/* Scales the reserves of strict overcommit to the memory that is there. Early. */
void commit_init(void);

#endif
