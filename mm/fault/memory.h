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
/* The pieces of a row that swapin.c shares: the entry's lock, taken and let go; a write to a present,
 * read-only entry (orig_pte), whose table is locked: unlocks. */
void fault_lock(struct vm_fault *vmf);
void fault_unlock(struct vm_fault *vmf);
vm_fault_t do_wp_page(struct vm_fault *vmf);
/* access.c. Pins the n pages from addr on, which is a page's: faulted in, and for a write the space's own, not
 * shared by copy-on-write; a device may write there, or read, until unpin_user_pages(). How many: fewer where one
 * cannot be had; -EFAULT, -ENOMEM: not the first one. As get_user_pages(FOLL_PIN) and its end. Context: sleep. */
long pin_user_pages(struct mm_struct *mm, uintptr_t addr, unsigned n, bool write, struct page **pages);
void unpin_user_pages(struct page **pages, unsigned n, bool wrote);
/* swapin.c. Row swap: the page is found or read in, and takes its entry's place. */
vm_fault_t do_swap_page(struct vm_fault *vmf);
/* How often each row was taken, since quire_init(); atomic. */
extern uint64_t fault_rows[];

#endif
