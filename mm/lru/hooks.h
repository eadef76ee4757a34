/* SPDX-License-Identifier: MIT */
/* The upward call of mm/lru/: whose a page is. Declared here, defined there, called directly
 * (tools/check_rooms.py lists it). */
#ifndef MM_LRU_HOOKS_H
#define MM_LRU_HOOKS_H

struct page;

/* rmap/rmap.c. The number of the space into which an anonymous page was born; 0: no entry names it any
 * more, or its space has none. The frame cannot be freed meanwhile. Interrupts off. */
unsigned anon_page_space(const struct page *page);

#endif
