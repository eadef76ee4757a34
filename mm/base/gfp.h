/* SPDX-License-Identifier: MIT */
/* What an allocation may do to get its page: Linux 5.10's GFP names and bits. */
#ifndef MM_GFP_H
#define MM_GFP_H

typedef unsigned int gfp_t;

#define __GFP_DMA	     0x01u
#define __GFP_HIGHMEM	     0x02u /* with __GFP_MOVABLE: ZONE_MOVABLE will do */
#define __GFP_DMA32	     0x04u
#define __GFP_MOVABLE	     0x08u /* can be moved by migration: user pages, page cache */
#define __GFP_RECLAIMABLE    0x10u /* slab that a shrinker can free */
#define __GFP_HIGH	     0x20u /* may dip below the min watermark */
#define __GFP_IO	     0x40u
#define __GFP_FS	     0x80u
#define __GFP_ZERO	     0x100u
#define __GFP_ATOMIC	     0x200u /* may not wait, and matters: ALLOC_HARDER */
#define __GFP_DIRECT_RECLAIM 0x400u /* the caller may reclaim, so may sleep */
#define __GFP_KSWAPD_RECLAIM 0x800u /* the background may be woken */
#define __GFP_WRITE	     0x1000u /* accepted and meaningless: no dirty limits per zone */
#define __GFP_NOWARN	     0x2000u
#define __GFP_RETRY_MAYFAIL  0x4000u /* try hard, but no OOM kill */
/* The caller cannot do without. Only with __GFP_DIRECT_RECLAIM. 5.10 tries for ever; here, once
 * nothing is left to reclaim, no victim to kill and the reserves are empty, the machine ends with
 * a message: never a hang. Not counted among what failure injection may refuse. */
#define __GFP_NOFAIL	     0x8000u
#define __GFP_NORETRY	     0x10000u
#define __GFP_MEMALLOC	     0x20000u /* frees more than it takes: no watermarks */
#define __GFP_COMP	     0x40000u /* a compound page */
#define __GFP_NOMEMALLOC     0x80000u /* never the reserves */
#define __GFP_HARDWALL	     0x100000u /* accepted and meaningless: no cpusets */
#define __GFP_THISNODE	     0x200000u /* accepted and meaningless: one node */
#define __GFP_ACCOUNT	     0x400000u /* accepted and meaningless: no memory cgroups */

#define __GFP_RECLAIM	     (__GFP_DIRECT_RECLAIM | __GFP_KSWAPD_RECLAIM)
#define GFP_ATOMIC	     (__GFP_HIGH | __GFP_ATOMIC | __GFP_KSWAPD_RECLAIM)
#define GFP_KERNEL	     (__GFP_RECLAIM | __GFP_IO | __GFP_FS)
#define GFP_KERNEL_ACCOUNT   (GFP_KERNEL | __GFP_ACCOUNT)
#define GFP_NOWAIT	     (__GFP_KSWAPD_RECLAIM)
#define GFP_NOFS	     (__GFP_RECLAIM | __GFP_IO)
#define GFP_NOIO	     (__GFP_RECLAIM)
#define GFP_USER	     (__GFP_RECLAIM | __GFP_IO | __GFP_FS | __GFP_HARDWALL)
#define GFP_DMA		     __GFP_DMA
#define GFP_DMA32	     __GFP_DMA32
#define GFP_HIGHUSER	     (GFP_USER | __GFP_HIGHMEM)
#define GFP_HIGHUSER_MOVABLE (GFP_HIGHUSER | __GFP_MOVABLE)
#define GFP_TRANSHUGE_LIGHT                                                               \
	((GFP_HIGHUSER_MOVABLE | __GFP_COMP | __GFP_NOMEMALLOC | __GFP_NOWARN) & ~__GFP_RECLAIM)
#define GFP_TRANSHUGE	     (GFP_TRANSHUGE_LIGHT | __GFP_DIRECT_RECLAIM)
#define GFP_PGTABLE	     (GFP_KERNEL | __GFP_ZERO | __GFP_ACCOUNT)

#endif
