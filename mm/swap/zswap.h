/* SPDX-License-Identifier: MIT */
/*
 * Compressed swap inside this room: pages that leave for their slots are kept in memory, compressed, in
 * front of a device or instead of one. docs/zswap.md tells the whole, zswap.c how it works.
 */
#ifndef MM_ZSWAP_H
#define MM_ZSWAP_H

#include "mm/swap/swap_def.h"

void zswap_init(void);
/* No slot is in use any more. Context: sleep. */
void zswap_exit(void);
/* What compressing needs is there from now on. 0, -ENODEV: no compressor, -ENOMEM. swapon_mutex held, or
 * nobody else runs. Context: sleep. */
int zswap_start(void);

/* Compresses a locked page of the cache for its slot: true, and nothing has to be written. Whatever the
 * answer, an older copy is gone. Context: sleep, with PF_MEMALLOC. */
bool zswap_store(struct page *page, struct swap_plug *plug);
/* Fills a locked page of the cache, not valid yet, if its slot's contents are compressed: true, and it is
 * valid, or has PG_error. Context: sleep. */
bool zswap_load(struct page *page);
/* The slot's contents, if they are compressed, are not needed any more. Cluster locked. */
void zswap_drop(struct swap_area *a, uint64_t off);

/* I42 of all areas. swapon_mutex held. Context: sleep. */
long check_zswap(void);

#endif
