/* SPDX-License-Identifier: MIT */
/* Page faults as the machine reports them (fault.c): permission check, outcome, fatal ends. */
#ifndef MM_FAULT_H
#define MM_FAULT_H

#include "mm/space/mm.h"

void fault_init(void);
/* Says how addr translates, level by level, and ends: the tables cannot be trusted any more. */
_Noreturn void fault_panic(struct mm_struct *mm, uintptr_t addr, const char *why);
const char *fault_row_name(unsigned row);

#endif
