/* SPDX-License-Identifier: MIT */
/*
 * Trace records from inside mm/. Off, each costs one load and a branch. Formats:
 * include/quire/trace.h. Context: any; a full ring with a reader makes the caller wait.
 */
#ifndef MM_TRACE_H
#define MM_TRACE_H

#include "lib/bug.h"
#include <quire/trace.h>
#include <stdbool.h>
#include <stddef.h>

extern bool quire_trace_on;	    /* records are written */
extern bool trace_pages_on; /* page_alloc and page_free too: sysctl trace_pages */
extern bool trace_kmem_on;  /* kmalloc, kfree ... too: sysctl trace_kmem */

/* Writes one record of n words (at most 6). */
void trace_write(unsigned type, const uint64_t *w, unsigned n);

static inline void trace_page_fault(bool user, uintptr_t addr, uintptr_t ip, uint32_t code)
{
	if (unlikely(quire_trace_on))
		trace_write(user ? QUIRE_TR_PAGE_FAULT_USER : QUIRE_TR_PAGE_FAULT_KERNEL,
			    (uint64_t[]){addr, ip, code}, 3);
}

/* outcome: enum quire_fault_outcome; page: the page's address. */
static inline void trace_mm_fault(uintptr_t page, unsigned row, unsigned access, bool major,
				  unsigned outcome, uintptr_t vm_start, uintptr_t vm_end,
				  unsigned long vm_flags, uintptr_t ip)
{
	if (unlikely(quire_trace_on))
		trace_write(QUIRE_TR_MM_FAULT,
			    (uint64_t[]){page,
					 row | access << 8 | (uint64_t)major << 16 |
						 (uint64_t)outcome << 24,
					 vm_start, vm_end, vm_flags, ip},
			    6);
}

static inline void trace_fault_mismatch(uintptr_t addr, uint32_t derived, uint32_t raw,
					uint32_t mask)
{
	if (unlikely(quire_trace_on))
		trace_write(QUIRE_TR_FAULT_MISMATCH, (uint64_t[]){addr, derived, raw, mask}, 4);
}

static inline void trace_mmap(uintptr_t start, size_t len, uint64_t pgoff, unsigned long vm_flags,
			      uint64_t ino)
{
	if (unlikely(quire_trace_on))
		trace_write(QUIRE_TR_MMAP, (uint64_t[]){start, len, pgoff, vm_flags, ino}, 5);
}

/* A block of another type was taken; owned: its pageblock changed its type. */
static inline void trace_page_alloc_extfrag(uint64_t pfn, unsigned order, unsigned fallback_order,
					    unsigned mt, unsigned fallback_mt, bool owned)
{
	if (unlikely(trace_pages_on))
		trace_write(QUIRE_TR_PAGE_ALLOC_EXTFRAG,
			    (uint64_t[]){pfn, order, fallback_order, mt, fallback_mt, owned}, 6);
}

static inline void trace_page_pcpu_drain(uint64_t pfn, unsigned order, unsigned mt)
{
	if (unlikely(trace_pages_on))
		trace_write(QUIRE_TR_PAGE_PCPU_DRAIN, (uint64_t[]){pfn, order, mt}, 3);
}

/* Nothing could be had; reason: enum quire_alloc_failure. */
static inline void trace_page_alloc_fail(unsigned order, unsigned gfp, unsigned reason,
					 unsigned long free)
{
	if (unlikely(quire_trace_on))
		trace_write(QUIRE_TR_PAGE_ALLOC_FAIL, (uint64_t[]){order, gfp, reason, free}, 4);
}

/* Records of pages; the allocator's fast paths get here by page_slow only. */
static inline void trace_page_alloc(uint64_t pfn, unsigned order, unsigned gfp, unsigned mt)
{
	if (unlikely(trace_pages_on))
		trace_write(QUIRE_TR_PAGE_ALLOC, (uint64_t[]){pfn, order, gfp, mt}, 4);
}

static inline void trace_page_free(uint64_t pfn, unsigned order)
{
	if (unlikely(trace_pages_on))
		trace_write(QUIRE_TR_PAGE_FREE, (uint64_t[]){pfn, order}, 2);
}

/* Small objects, as Linux's events of the same names: event is QUIRE_TR_KMALLOC or _CACHE_ALLOC. The
 * allocator's fast paths get here by kmem_hooks only. */
static inline void trace_kmem_alloc(unsigned event, uintptr_t call_site, const void *ptr,
				    size_t bytes_req, size_t bytes_alloc, unsigned gfp)
{
	if (unlikely(trace_kmem_on))
		trace_write(event, (uint64_t[]){call_site, (uintptr_t)ptr, bytes_req, bytes_alloc,
						gfp}, 5);
}

/* event: QUIRE_TR_KFREE or QUIRE_TR_KMEM_CACHE_FREE. */
static inline void trace_kmem_free(unsigned event, uintptr_t call_site, const void *ptr)
{
	if (unlikely(trace_kmem_on))
		trace_write(event, (uint64_t[]){call_site, (uintptr_t)ptr}, 2);
}

static inline void trace_reclaim_retry_zone(unsigned zone, unsigned order, unsigned long reclaimable,
					    unsigned long available, unsigned long min_mark,
					    unsigned loops, bool enough)
{
	if (unlikely(quire_trace_on))
		trace_write(QUIRE_TR_RECLAIM_RETRY_ZONE,
			    (uint64_t[]){zone, order | loops << 8 | (uint64_t)enough << 32, reclaimable,
					 available, min_mark}, 5);
}

static inline void trace_compact_retry(unsigned order, bool progress, unsigned retries, unsigned most,
				       bool again)
{
	if (unlikely(quire_trace_on))
		trace_write(QUIRE_TR_COMPACT_RETRY, (uint64_t[]){order, progress, retries, most, again}, 5);
}

/* event: QUIRE_TR_MARK_VICTIM .. QUIRE_TR_SKIP_TASK_REAPING. */
static inline void trace_oom_pid(unsigned event, uint32_t pid)
{
	if (unlikely(quire_trace_on))
		trace_write(event, (uint64_t[]){pid}, 1);
}

/* Records of reclaim, each of few words: event is one of QUIRE_TR_KSWAPD_SLEEP .. _DIRECT_RECLAIM_END. */
static inline void trace_vmscan(unsigned event, uint64_t a, uint64_t b)
{
	if (unlikely(quire_trace_on))
		trace_write(event, (uint64_t[]){a, b}, 2);
}

static inline void trace_shrink_slab(unsigned event, const void *shrinker, uint64_t a, uint64_t b,
				     uint64_t c, uint64_t d, uint64_t e)
{
	if (unlikely(quire_trace_on))
		trace_write(event, (uint64_t[]){(uintptr_t)shrinker, a, b, c, d, e}, 6);
}

static inline void trace_lru_isolate(unsigned highest, unsigned order, unsigned list, uint64_t asked,
				     uint64_t looked, uint64_t skipped, uint64_t taken)
{
	if (unlikely(quire_trace_on))
		trace_write(QUIRE_TR_LRU_ISOLATE,
			    (uint64_t[]){highest | order << 8 | list << 16, asked, looked, skipped,
					 taken}, 5);
}

/* four: numbers below 2^16 in one word. */
static inline uint64_t trace_four(uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	return a | b << 16 | c << 32 | d << 48;
}

static inline void trace_lru_shrink(unsigned event, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
				    uint64_t e)
{
	if (unlikely(quire_trace_on))
		trace_write(event, (uint64_t[]){a, b, c, d, e}, 5);
}

/* page_alloc and page_free records too, from the next quire_trace_enable() or at once. */
void trace_set_pages(bool on);
void trace_set_kmem(bool on); /* the same for small objects */
int trace_init(void *ring, size_t size); /* NULL ring: no trace. 0 or -EINVAL */
void trace_exit(void);

#endif
