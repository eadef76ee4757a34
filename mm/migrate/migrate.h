/* SPDX-License-Identifier: MIT */
/* Moving the contents of a page to another frame, behind the back of whoever maps it. */
#ifndef MM_MIGRATE_H
#define MM_MIGRATE_H

#include "mm/base/mm_types.h"
#include "mm/base/page.h"

/*
 * Between begin and end pages may be looked up by frame number: references are taken of pages that
 * the caller does not hold, so nobody may drop a last reference without an atomic, nor free an
 * anon_vma. begin: false if somebody else is at it. Context: sleep, interrupts on.
 */
bool migrate_begin(void);
void migrate_end(void);
/* A reference of the page, if it has any already. Only between begin and end. */
bool get_page_unless_zero(struct page *page);

/*
 * Moves old to fresh. The caller holds a reference of each besides those of entries and the page
 * cache; they are dropped: old becomes free, or fresh does if it could not be done. 0; -EAGAIN:
 * somebody else holds the page, is changing a space that maps it, or it is no page of a user's.
 * Between begin and end. Context: sleep.
 */
int migrate_page(struct page *old, struct page *fresh);

/* Waits until the entry that the fault met is one of the page again, or gone. */
void migration_entry_wait(const pteval_t *pte);

#endif
