/* SPDX-License-Identifier: MIT */
/*
 * Input and output of swap: one page, one slot, one transfer. Nothing here allocates: reclaim writes
 * when there is no memory. Each area has 128 transfers of its own; who finds none idle waits for one
 * that comes back, which needs nothing but the device.
 *
 * The end of a transfer comes from an interrupt, or from the device's submit itself. It takes no
 * lock: it gives the transfer back, marks the page, and wakes who waits for it. The area cannot go
 * meanwhile: the page is cached, and its lock or PG_writeback keeps it there until that very moment.
 *
 * A write that fails leaves the page dirty, with PG_error: the page stays in memory, and its slot is
 * retired once no entry names it (cache.c, uncache). A read that fails leaves the page not valid,
 * with PG_error: who touches it gets SIGBUS.
 */
#include "lib/printf.h"
#include "mm/base/memalloc.h"
#include "mm/base/vmstat.h"
#include "mm/lru/lru.h"
#include "mm/slab/slab.h"
#include "mm/swap/swap_def.h"
#include "mm/swap/zswap.h"
#include <quire/abi.h>
#include <quire/os.h>

#define SAY_ERRORS 10 /* of an area on the log; the rest is counted */
#define PLUG_MAX   32 /* transfers that are collected at most */

static uint64_t slot_sector(uint64_t off)
{
	return off << (PAGE_SHIFT - QUIRE_SECTOR_SHIFT);
}

/* ---- transfers ---------------------------------------------------------------------------------- */

int swap_io_init(struct swap_area *a)
{
	a->ios = kzalloc(SWAP_IOS * sizeof(a->ios[0]), GFP_KERNEL);
	if (!a->ios)
		return -ENOMEM;
	for (unsigned i = 0; i < SWAP_IOS; i++) {
		a->ios[i].area = a;
		a->ios[i].nr = i;
	}
	for (unsigned i = 0; i < SWAP_IOS / 64; i++)
		a->io_free[i] = UINT64_MAX;
	return 0;
}

void swap_io_exit(struct swap_area *a)
{
	for (unsigned i = 0; a->ios && i < SWAP_IOS / 64; i++)
		ASSERT(a->io_free[i] == UINT64_MAX);
	kfree(a->ios);
	a->ios = NULL;
}

static struct swap_io *io_try_get(struct swap_area *a)
{
	for (unsigned i = 0; i < SWAP_IOS / 64; i++) {
		uint64_t free = __atomic_load_n(&a->io_free[i], __ATOMIC_RELAXED);

		while (free)
			if (__atomic_compare_exchange_n(&a->io_free[i], &free, free & (free - 1),
							false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
				return &a->ios[i * 64 + (unsigned)__builtin_ctzll(free)];
	}
	return NULL;
}

/* What is collected is given to the device first: it may be all there is. */
static struct swap_io *io_get(struct swap_area *a, struct swap_plug *plug)
{
	struct swap_io *io = io_try_get(a);

	might_sleep();
	while (!io) {
		if (plug)
			swap_plug_flush(plug);
		/* As in page_wait.c: said, then looked again; the other side gives back, then looks. */
		__atomic_store_n(&a->io_waiters, 1, __ATOMIC_SEQ_CST);
		io = io_try_get(a);
		if (!io) {
			os_wait(&a->io_waiters, &a->io_waiters, 1);
			io = io_try_get(a);
		}
	}
	return io;
}

static void io_put(struct swap_io *io)
{
	struct swap_area *a = io->area;

	__atomic_fetch_or(&a->io_free[io->nr / 64], 1ull << io->nr % 64, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&a->io_waiters, __ATOMIC_SEQ_CST)) {
		__atomic_store_n(&a->io_waiters, 0, __ATOMIC_SEQ_CST);
		os_wake(&a->io_waiters, UINT32_MAX);
	}
}

static void submit_all(struct swap_area *a, struct quire_bio *chain)
{
	struct quire_bio *left = a->dev->ops->submit(a->dev, chain, true);

	ASSERT(!left); /* it was told to wait */
}

void swap_plug_flush(struct swap_plug *plug)
{
	struct quire_bio *chain = plug->first;
	struct swap_area *a = plug->area;

	if (!chain)
		return;
	*plug = (struct swap_plug)SWAP_PLUG_INIT;
	submit_all(a, chain);
}

static void io_submit(struct swap_io *io, struct swap_plug *plug)
{
	io->bio.next = NULL;
	if (!plug) {
		submit_all(io->area, &io->bio);
		return;
	}
	if (plug->area != io->area)
		swap_plug_flush(plug);
	plug->area = io->area;
	if (plug->last)
		plug->last->next = &io->bio;
	else
		plug->first = &io->bio;
	plug->last = &io->bio;
	if (++plug->n == PLUG_MAX)
		swap_plug_flush(plug);
}

/* A transfer for the page, of its area, filled in. */
static struct swap_io *io_for(struct page *page, enum quire_bio_op op,
			      void (*end)(struct quire_bio *bio, int err), struct swap_plug *plug)
{
	swp_entry_t entry = page_swap_entry(page);
	struct swap_io *io = io_get(&swap_areas[swp_type(entry)], plug);

	io->page = page;
	io->bio = (struct quire_bio){
		.op = op,
		.sector = slot_sector(swp_offset(entry)),
		.phys = (uint64_t)page_to_pfn(page).n << PAGE_SHIFT,
		.len = PAGE_SIZE,
		.end_io = end,
		.owner = io,
	};
	return io;
}

static void say_error(struct swap_area *a, const char *what, uint64_t sector)
{
	char line[96];

	if (__atomic_fetch_add(&a->errors, 1, __ATOMIC_RELAXED) >= SAY_ERRORS)
		return;
	scnprintf(line, sizeof(line), "%s-error on swap-device (%s:%llu)", what, a->dev->name,
		  (unsigned long long)sector);
	os_log(line);
}

/* ---- pages -------------------------------------------------------------------------------------- */

static void end_swap_write(struct quire_bio *bio, int err)
{
	struct swap_io *io = bio->owner;
	struct page *page = io->page;

	if (err) {
		say_error(io->area, "Write", bio->sector);
		page_set(page, PG_error);
		page_set(page, PG_dirty);
		page_clear(page, PG_reclaim);
	}
	io_put(io);
	dec_node_page_state(NR_WRITEBACK);
	/* It can go now: the next scan shall meet it first. */
	if (page_test_and_clear(page, PG_reclaim))
		rotate_reclaimable_page(page);
	end_page_writeback(page);
}

void swap_write_to_device(struct page *page, struct swap_plug *plug)
{
	struct swap_io *io;

	assert_page_locked(page);
	ASSERT(PageSwapCache(page) && PageUptodate(page));
	/* Nobody needs what would be written. */
	if (try_to_free_swap(page)) {
		unlock_page(page);
		return;
	}
	io = io_for(page, QUIRE_BIO_WRITE, end_swap_write, plug);
	page_set(page, PG_writeback);
	inc_node_page_state(NR_WRITEBACK);
	count_vm_event(PSWPOUT);
	count_vm_events(PGPGOUT, PAGE_SIZE / 1024);
	unlock_page(page);
	io_submit(io, plug);
}

bool swap_writepage(struct page *page, struct swap_plug *plug)
{
	struct swap_area *a = &swap_areas[swp_type(page_swap_entry(page))];

	assert_page_locked(page);
	ASSERT(PageSwapCache(page) && PageUptodate(page));
	if (try_to_free_swap(page) || zswap_store(page, plug)) {
		unlock_page(page);
		return true;
	}
	if (a->dev->in_memory) {
		page_set(page, PG_dirty);
		return false;
	}
	swap_write_to_device(page, plug);
	return true;
}

static void end_swap_read(struct quire_bio *bio, int err)
{
	struct swap_io *io = bio->owner;
	struct page *page = io->page;

	if (err) {
		say_error(io->area, "Read", bio->sector);
		page_set(page, PG_error);
	} else {
		SetPageUptodate(page);
	}
	io_put(io);
	unlock_page(page);
}

bool swap_readpage(struct page *page, struct swap_plug *plug)
{
	unsigned long stall;

	assert_page_locked(page);
	ASSERT(PageSwapCache(page) && !PageUptodate(page));
	if (zswap_load(page)) {
		unlock_page(page);
		return false;
	}
	count_vm_event(PSWPIN);
	count_vm_events(PGPGIN, PAGE_SIZE / 1024);
	stall = psi_memstall_enter(); /* the device may have no room */
	io_submit(io_for(page, QUIRE_BIO_READ, end_swap_read, plug), plug);
	psi_memstall_leave(stall);
	return true;
}

/* ---- the header --------------------------------------------------------------------------------- */

struct sync_read {
	struct quire_bio bio;
	uint32_t done; /* atomic */
	int err;
};

static void end_sync_read(struct quire_bio *bio, int err)
{
	struct sync_read *r = bio->owner;

	r->err = err;
	__atomic_store_n(&r->done, 1, __ATOMIC_RELEASE);
	os_wake(&r->done, 1); /* the address as a key only: the reader may have gone on */
}

int swap_read_sync(struct quire_blkdev *dev, uint64_t sector, struct page *page)
{
	struct sync_read r = {.done = 0};

	might_sleep();
	r.bio = (struct quire_bio){
		.op = QUIRE_BIO_READ,
		.sector = sector,
		.phys = (uint64_t)page_to_pfn(page).n << PAGE_SHIFT,
		.len = PAGE_SIZE,
		.end_io = end_sync_read,
		.owner = &r,
	};
	dev->ops->submit(dev, &r.bio, true);
	while (!__atomic_load_n(&r.done, __ATOMIC_ACQUIRE))
		os_wait(&r.done, &r.done, 0);
	return r.err;
}
