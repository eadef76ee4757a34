/* SPDX-License-Identifier: MIT */
/*
 * The pool of compressed pages: memory for objects of 1 byte to almost a page. docs/zswap.md tells how
 * it is laid out, zpool.c how it works.
 */
#ifndef MM_ZPOOL_H
#define MM_ZPOOL_H

#include "mm/base/gfp.h"
#include "mm/base/page.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ZCHUNKS	     64u /* of a page: one word of bits */
#define ZCHUNK_SIZE  (PAGE_SIZE / ZCHUNKS)
#define ZBLOCK_PAGES 4u
#define ZHEAD_SIZE   sizeof(uint64_t) /* in front of each object: its tag and its length */

/* An object: the frame in which it begins, and the chunk there. 0: none. */
typedef uint64_t zhandle_t;
#define ZHANDLE_CHUNK_SHIFT 2
#define ZHANDLE_PFN_SHIFT   8
#define ZHANDLE_OBJECT	    2ull /* set in all of them */
#define ZHANDLE_USER	    1ull /* the owner's, not looked at here */

struct zblock;

/* Before anything else, and after the last object has gone. 0 or -ENOMEM. Context: sleep. */
int zpool_init(void);
void zpool_exit(void);

/* Room for len bytes (at most PAGE_SIZE - ZHEAD_SIZE) that carry the tag (40 bits); 0: the pool has no
 * hole that large. Any context. */
zhandle_t zpool_alloc(uint64_t tag, unsigned len);
void zpool_free(zhandle_t h);
/* The object's bytes, len of them. The object is the caller's: nobody frees it meanwhile. */
void zpool_write(zhandle_t h, const void *src);
/* The same as one piece: where they lie, or copied to scratch (a page). */
const void *zpool_read(zhandle_t h, void *scratch);
uint64_t zpool_tag(zhandle_t h);
unsigned zpool_len(zhandle_t h);

enum zgrow { ZGROW_DONE, ZGROW_LIMIT, ZGROW_NO_PAGE, ZGROW_NO_BLOCK };
/* One page more, if there are fewer than limit: any object finds a hole then, unless somebody else was
 * quicker. Context: by gfp. */
enum zgrow zpool_grow(gfp_t gfp, unsigned long limit);
/* The pool has more than limit pages, or as many and no hole for len bytes. */
bool zpool_is_full(unsigned long limit, unsigned len);
unsigned long zpool_pages(void);

/* Takes the block that has been left alone for the longest out of use: its objects are still there, and
 * may be freed, but none joins them. NULL: there is none. */
struct zblock *zpool_take_oldest(void);
/* The first object of a block that was taken, from position *pos on, and moves *pos behind it. */
bool zpool_next(struct zblock *b, unsigned *pos, zhandle_t *h, uint64_t *tag);
/* What is left of the block is in use again, as the youngest, or as the oldest still. */
void zpool_give_back(struct zblock *b, bool oldest);

/* Objects that there are; *broken grows by what is not as it should be (I42). */
unsigned long zpool_check(long *broken);

#endif
