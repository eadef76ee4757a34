/* SPDX-License-Identifier: MIT */
/* Page migration: moving the contents of a page to another frame while spaces map it. */
#ifndef MM_MIGRATE_H
#define MM_MIGRATE_H

#include "mm/base/mm_types.h"
#include "mm/base/page.h"

/*
 * Between begin and end pages may be looked up by frame number: references are taken of pages that
 * the caller does not hold, so no CPU may drop a last reference without an atomic, nor free an
 * anon_vma. begin: false if another migration is under way. Context: sleep, interrupts on.
 */
bool migrate_begin(void);
void migrate_end(void);
/* Somebody is between the two. */
bool migrate_running(void);
/* A reference of the page, if it has any already. Only between begin and end. */
bool get_page_unless_zero(struct page *page);

/*
 * Moves old to fresh. The caller holds a reference of each besides those of entries and the page
 * cache; they are dropped: old becomes free, or fresh does if it could not be done. 0; -EAGAIN:
 * there is another reference, a space that maps the page is being changed, or it is not user
 * memory. Between begin and end. Context: sleep.
 */
int migrate_page(struct page *old, struct page *fresh);

/* Waits until the entry that the fault met is one of the page again, or gone. */
void migration_entry_wait(const pteval_t *pte);

#endif
