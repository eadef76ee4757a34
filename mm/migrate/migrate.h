/* SPDX-License-Identifier: MIT */
/* Page migration: moving the contents of a page to another frame while spaces map it. */
#ifndef MM_MIGRATE_H
#define MM_MIGRATE_H

#include "mm/base/mm_types.h"
#include "mm/base/page.h"

/*
 * One at a time moves pages. begin: false if another migration is under way; pages that were given to
 * the lists before are on them afterwards. Context: sleep, interrupts on.
 */
bool migrate_begin(void);
void migrate_end(void);
/* Returns when one that was under way may have ended. Context: sleep. */
void migrate_wait(void);
/* Somebody is between the two. */
bool migrate_running(void);

/*
 * Moves old to fresh. The caller holds a reference of each besides those of entries and the page
 * cache; they are dropped: old becomes free, or fresh does if it could not be done. 0; -EAGAIN:
 * there is another reference, a space that maps the page is being changed, it is not user memory, or
 * somebody else has isolated it. Between begin and end. Context: sleep.
 */
int migrate_page(struct page *old, struct page *fresh);
/* The same for a page that the caller has isolated (the reference is isolation's). It is on its list
 * again if it stayed. */
int migrate_isolated_page(struct page *old, struct page *fresh);

/* Waits until the entry that the fault met is one of the page again, or gone. */
void migration_entry_wait(const pteval_t *pte);

#endif
