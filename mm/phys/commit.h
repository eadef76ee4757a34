/* SPDX-License-Identifier: MIT */
/* Overcommit: what all spaces and objects together have been promised of memory. See commit.c. */
#ifndef MM_COMMIT_H
#define MM_COMMIT_H

#include "mm/base/mm_types.h"

/* Promises pages to mm (may be NULL), as the overcommit mode allows. 0 or -ENOMEM. */
int security_vm_enough_memory_mm(struct mm_struct *mm, long pages);
/* The same, asked or not: as much was given back, or will be. */
void vm_acct_memory(long pages);
/* Takes the promise back. */
void vm_unacct_memory(long pages);
/* What mode 2 allows in all, in pages, and what is promised now. */
unsigned long vm_commit_limit(void);
long vm_memory_committed(void);
/* Scales the reserves of strict overcommit to the memory that is there. Early. */
void commit_init(void);

#endif
