/* SPDX-License-Identifier: MIT */
/* What an allocation may do to get its page: Linux 5.10's GFP names, our own bit positions. */
#ifndef MM_GFP_H
#define MM_GFP_H

typedef unsigned int gfp_t;

#define __GFP_DMA	     0x0001u
#define __GFP_HIGHMEM	     0x0002u /* accepted and meaningless: every frame is mapped here */
#define __GFP_DMA32	     0x0004u
#define __GFP_MOVABLE	     0x0008u
#define __GFP_RECLAIMABLE    0x0010u
#define __GFP_HIGH	     0x0020u /* may dip below the min watermark */
#define __GFP_IO	     0x0040u
#define __GFP_FS	     0x0080u
#define __GFP_ZERO	     0x0100u
#define __GFP_ATOMIC	     0x0200u
#define __GFP_DIRECT_RECLAIM 0x0400u
#define __GFP_KSWAPD_RECLAIM 0x0800u
#define __GFP_NOWARN	     0x1000u
#define __GFP_RETRY_MAYFAIL  0x2000u
#define __GFP_NOFAIL	     0x4000u
#define __GFP_NORETRY	     0x8000u
#define __GFP_MEMALLOC	     0x10000u
#define __GFP_COMP	     0x20000u
#define __GFP_NOMEMALLOC     0x40000u
#define __GFP_ACCOUNT	     0x80000u

#define __GFP_RECLAIM	     (__GFP_DIRECT_RECLAIM | __GFP_KSWAPD_RECLAIM)
#define GFP_ATOMIC	     (__GFP_HIGH | __GFP_ATOMIC | __GFP_KSWAPD_RECLAIM)
#define GFP_KERNEL	     (__GFP_RECLAIM | __GFP_IO | __GFP_FS)
#define GFP_NOWAIT	     (__GFP_KSWAPD_RECLAIM)
#define GFP_NOFS	     (__GFP_RECLAIM | __GFP_IO)
#define GFP_NOIO	     (__GFP_RECLAIM)
#define GFP_USER	     (__GFP_RECLAIM | __GFP_IO | __GFP_FS)
#define GFP_HIGHUSER	     (GFP_USER | __GFP_HIGHMEM)
#define GFP_HIGHUSER_MOVABLE (GFP_HIGHUSER | __GFP_MOVABLE)
#define GFP_PGTABLE	     (GFP_KERNEL | __GFP_ZERO | __GFP_ACCOUNT)

#endif
