/* SPDX-License-Identifier: MIT */
/* Page-fault handlers (memory.c): filling entries, row by row of docs/fault.md. fault.c checks the
 * access first. */
#ifndef MM_MEMORY_H
#define MM_MEMORY_H

#include "mm/space/hooks.h"
#include "mm/space/range.h"

/* handle_mm_fault() (space/hooks.h) for a caller that has walked already: pte is the level-0
 * entry of addr, or NULL. */
vm_fault_t __handle_mm_fault(struct vm_area_struct *vma, uintptr_t addr, unsigned flags, pte_t *pte,
			     unsigned *row);
/* How often each row was taken, since quire_init(); atomic. */
extern uint64_t fault_rows[];


#endif
