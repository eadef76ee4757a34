/* SPDX-License-Identifier: MIT */
/*
 * What a thread may do to get memory, kept in the word that os_thread_word() gives: the flags that
 * Linux keeps in task->flags. They are set for a stretch of code, by pairs of save and restore that
 * nest, and bind every allocation in it however deep it is called. Only the thread itself reads and
 * writes its word, and an interrupt that allocates while it is interrupted reads it.
 */
#ifndef MM_MEMALLOC_H
#define MM_MEMALLOC_H

#include "lib/bug.h"
#include "mm/base/gfp.h"
#include <quire/os.h>

#define PF_MEMALLOC	 0x1ul /* reclaims: may use the reserves, and never reclaims in turn */
#define PF_MEMALLOC_NOFS 0x2ul /* holds what a file's own code may want: no __GFP_FS */
#define PF_MEMALLOC_NOIO 0x4ul /* the device may wait for us: neither __GFP_IO nor __GFP_FS */
#define PF_KSWAPD	 0x8ul /* is kswapd */
#define PF_MEMSTALL	 0x10ul /* waits for memory, and the kernel knows it */

static inline unsigned long current_flags(void)
{
	return READ_ONCE(*os_thread_word());
}

/* Sets flag; the result is for memalloc_restore(). */
static inline unsigned long memalloc_save(unsigned long flag)
{
	unsigned long *word = os_thread_word(), old = *word;

	WRITE_ONCE(*word, old | flag);
	return old & flag;
}

static inline void memalloc_restore(unsigned long flag, unsigned long saved)
{
	unsigned long *word = os_thread_word();

	WRITE_ONCE(*word, (*word & ~flag) | saved);
}

static inline unsigned long memalloc_noreclaim_save(void)
{
	return memalloc_save(PF_MEMALLOC);
}

static inline void memalloc_noreclaim_restore(unsigned long saved)
{
	memalloc_restore(PF_MEMALLOC, saved);
}

static inline unsigned long memalloc_nofs_save(void)
{
	return memalloc_save(PF_MEMALLOC_NOFS);
}

static inline void memalloc_nofs_restore(unsigned long saved)
{
	memalloc_restore(PF_MEMALLOC_NOFS, saved);
}

static inline unsigned long memalloc_noio_save(void)
{
	return memalloc_save(PF_MEMALLOC_NOIO);
}

static inline void memalloc_noio_restore(unsigned long saved)
{
	memalloc_restore(PF_MEMALLOC_NOIO, saved);
}

/* The thread waits for memory from here to psi_memstall_leave(), which gets the result: pressure stall
 * information. Pairs nest. Any context but interrupts. */
static inline unsigned long psi_memstall_enter(void)
{
	unsigned long saved = memalloc_save(PF_MEMSTALL);

	if (!saved)
		os_memstall(true);
	return saved;
}

static inline void psi_memstall_leave(unsigned long saved)
{
	memalloc_restore(PF_MEMSTALL, saved);
	if (!saved)
		os_memstall(false);
}

/* A request's flags without what its thread must not do now. */
static inline gfp_t current_gfp_context(gfp_t gfp)
{
	unsigned long pf = current_flags();

	if (pf & PF_MEMALLOC_NOIO)
		return gfp & ~(__GFP_IO | __GFP_FS);
	return pf & PF_MEMALLOC_NOFS ? gfp & ~__GFP_FS : gfp;
}

#endif
