/* SPDX-License-Identifier: MIT */
/*
 * Waiting for a page: for its lock (PG_locked), and for the end of a write to a device
 * (PG_writeback). Both share one word, page->waiters: who is about to sleep sets it, who changes the
 * bit clears it and wakes all, and each looks again at what he waits for.
 *
 * The bit is changed before the word is read, and the word is set before the bit is read again, all
 * four by sequentially consistent accesses: one of the two sides sees the other.
 */
#include "mm/base/memalloc.h"
#include "mm/base/page.h"
#include <quire/os.h>

/* A page may be freed once the bit is clear: what then is woken in vain looks again. */
static void wake_page(struct page *p)
{
	if (__atomic_load_n(&p->waiters, __ATOMIC_SEQ_CST)) {
		__atomic_store_n(&p->waiters, 0, __ATOMIC_SEQ_CST);
		os_wake(&p->waiters, UINT32_MAX);
	}
}

/* Sleeps for the bit, which the caller has just seen set after it announced itself. Waiting for a page
 * to be read that was thrown out while it was in use is the memory's fault. */
static void sleep_for(struct page *p, enum pageflags bit)
{
	bool thrashing = bit == PG_locked && !PageUptodate(p) && page_test(p, PG_workingset);
	unsigned long saved = thrashing ? psi_memstall_enter() : 0;

	os_wait(&p->waiters, &p->waiters, 1);
	if (thrashing)
		psi_memstall_leave(saved);
}

bool trylock_page(struct page *p)
{
	ASSERT_DEBUG(page_count(p) > 0);
	return !page_test_and_set(p, PG_locked);
}

void lock_page(struct page *p)
{
	might_sleep();
	while (!trylock_page(p)) {
		/* Announce the wait, then try again: the owner reads the announcement after it
		 * unlocked. Both are full barriers, so one of the two sees the other. */
		__atomic_store_n(&p->waiters, 1, __ATOMIC_SEQ_CST);
		if (!page_test_and_set(p, PG_locked))
			return;
		sleep_for(p, PG_locked);
	}
}

void unlock_page(struct page *p)
{
	unsigned long old = __atomic_fetch_and(&p->flags, ~(1ul << PG_locked), __ATOMIC_SEQ_CST);

	if (unlikely(!(old >> PG_locked & 1)))
		lock_not_held(__FILE__, __LINE__, "page lock", "is not held, and let go");
	wake_page(p);
}

/* Sleeps until the bit is clear. */
static void wait_on_page_bit(struct page *p, enum pageflags bit)
{
	might_sleep();
	while (page_test(p, bit)) {
		__atomic_store_n(&p->waiters, 1, __ATOMIC_SEQ_CST);
		if (!(__atomic_load_n(&p->flags, __ATOMIC_SEQ_CST) >> bit & 1))
			return;
		sleep_for(p, bit);
	}
}

void wait_on_page_locked(struct page *p)
{
	wait_on_page_bit(p, PG_locked);
}

void wait_on_page_writeback(struct page *p)
{
	wait_on_page_bit(p, PG_writeback);
}

void end_page_writeback(struct page *p)
{
	unsigned long old = __atomic_fetch_and(&p->flags, ~(1ul << PG_writeback), __ATOMIC_SEQ_CST);

	ASSERT(old >> PG_writeback & 1);
	wake_page(p);
}
