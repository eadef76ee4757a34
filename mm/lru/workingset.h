/* SPDX-License-Identifier: MIT */
/* Refault distance: whether a page that comes back left memory too early. workingset.c has the theory. */
#ifndef MM_WORKINGSET_H
#define MM_WORKINGSET_H

#include "mm/lru/lru.h"

/* The page leaves memory: the shadow to keep in its place, at most 36 bits. Any context. */
uint64_t workingset_eviction(const struct page *page);
/* It came back into a fresh page that is on no list yet: sets its flags by the shadow. swap: there is
 * some. Any context. */
void workingset_refault(struct page *page, uint64_t shadow, bool swap);
/* A page was found to be used again: the lists have aged by one. Any context. */
void workingset_activation(void);

/* Reclaim of pages of a kind cost this much: how the two kinds of lists share the scanning. lru_lock
 * is taken. */
void lru_note_cost(bool file, unsigned long pages);
/* What was noted so far. */
void lru_costs(unsigned long *anon, unsigned long *file);

#endif
