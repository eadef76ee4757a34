/* SPDX-License-Identifier: MIT */
/* Upward calls of mm/object/: what the page cache needs of the rooms that map its pages. Declared
 * here, defined there, called directly (tools/check_rooms.py lists them). */
#ifndef MM_OBJECT_HOOKS_H
#define MM_OBJECT_HOOKS_H

#include "mm/base/mm_types.h"

/* fault/memory.c. Maps page, number index of the file, at its entry of vmf's window
 * (filemap_map_pages() found it cached and below the end of the file, and locked it). True: mapped,
 * and the reference is the entry's. Leaves vmf's position as it is. Table locked. */
bool filemap_map_one(struct vm_fault *vmf, struct page *page, unsigned long index);

/* fault/userfaultfd.c. The fault is a program's to resolve, which vmf->vma is registered with: VM_UFFD_MISSING, there is
 * no page, or VM_UFFD_WP, it is marked. Tells it, gives up mmap_lock and waits: VM_FAULT_RETRY | VM_FAULT_UNLOCKED; or
 * VM_FAULT_SIGBUS if the lock may not be given up. mmap_lock for reading, nothing else. After Linux' handle_userfault. */
vm_fault_t handle_userfault(struct vm_fault *vmf, vm_flags_t reason);

/* space/teardown.c. Unmaps [start, start + len) bytes of the file (len 0: to the end) from every
 * space; even_cows: private copies too. Context: sleep, i_mmap_rwsem not held. */
void unmap_mapping_range(struct address_space *m, uint64_t start, uint64_t len, bool even_cows);

/* rmap/mkclean.c. No entry of a file's page can be written by any more, none is dirty: true if one could or was.
 * The page is locked. Context: sleep, i_mmap_rwsem not held. */
bool page_mkclean(struct page *page);

#endif
