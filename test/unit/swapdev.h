/* SPDX-License-Identifier: MIT */
/*
 * A disk for the tests of swap: memory of the host, with mkswap's header on it. It answers at once,
 * or (held) when the test says so, in the order that it likes; chosen transfers fail.
 */
#ifndef TEST_UNIT_SWAPDEV_H
#define TEST_UNIT_SWAPDEV_H

#include "mm/lru/lru.h"
#include "mm/reclaim/shrink.h"
#include "mm/swap/swap.h"
#include <quire/abi.h>
#include <quire/block.h>

#define SWAPDEV_HELD 256

struct swapdev {
	struct quire_blkdev dev;
	char name[8];
	uint8_t *data;
	unsigned reads, writes;	  /* transfers */
	unsigned chains;	  /* calls of submit */
	unsigned fail_read, fail_write; /* the nth from now fails; 0: none */
	bool broken;		  /* every transfer fails */
	bool hold;
	struct quire_bio *held[SWAPDEV_HELD];
	unsigned nheld;
};

static inline void swapdev_do(struct swapdev *d, struct quire_bio *bio)
{
	uint8_t *at = d->data + (bio->sector << QUIRE_SECTOR_SHIFT);
	void *mem = hal_phys_to_virt(bio->phys);
	bool write = bio->op == QUIRE_BIO_WRITE;
	unsigned *fail = write ? &d->fail_write : &d->fail_read;
	bool fails = d->broken || (*fail && --*fail == 0);
	irqflags_t flags;

	cr_assert(bio->sector + (bio->len >> QUIRE_SECTOR_SHIFT) <= d->dev.sectors);
	if (!fails && write)
		memcpy(at, mem, bio->len);
	else if (!fails)
		memcpy(mem, at, bio->len);
	flags = hal_irq_save();
	bio->end_io(bio, fails ? -EIO : 0);
	hal_irq_restore(flags);
}

static inline struct quire_bio *swapdev_submit(struct quire_blkdev *dev, struct quire_bio *chain,
					       bool wait)
{
	struct swapdev *d = dev->driver;
	struct quire_bio *next;

	d->chains++;
	for (; chain; chain = next) {
		next = chain->next;
		chain->next = NULL;
		d->reads += chain->op == QUIRE_BIO_READ;
		d->writes += chain->op == QUIRE_BIO_WRITE;
		if (d->hold) {
			cr_assert(d->nheld < SWAPDEV_HELD);
			d->held[d->nheld++] = chain;
		} else {
			swapdev_do(d, chain);
		}
	}
	return NULL;
}

/* Answers the one that has been held for longest; false: none is. */
static inline bool swapdev_answer(struct swapdev *d)
{
	struct quire_bio *bio = d->held[0];

	if (!d->nheld)
		return false;
	memmove(d->held, d->held + 1, --d->nheld * sizeof(d->held[0]));
	swapdev_do(d, bio);
	return true;
}

/* Answers what is held, the last one first. */
static inline void swapdev_release(struct swapdev *d)
{
	d->hold = false;
	while (d->nheld)
		swapdev_do(d, d->held[--d->nheld]);
}

static const struct quire_blkdev_ops swapdev_ops = {.submit = swapdev_submit};

static inline void swapdev_put32(struct swapdev *d, size_t at, uint32_t v)
{
	memcpy(d->data + at, &v, 4);
}

/* As mkswap(8): pages of which number 0 is the header. */
static inline void swapdev_mkswap(struct swapdev *d, uint32_t pages)
{
	memset(d->data, 0, PAGE_SIZE);
	swapdev_put32(d, 1024, 1);
	swapdev_put32(d, 1028, pages - 1);
	memcpy(d->data + PAGE_SIZE - 10, "SWAPSPACE2", 10);
}

static inline void swapdev_init(struct swapdev *d, unsigned nr, uint32_t pages)
{
	memset(d, 0, sizeof(*d));
	snprintf(d->name, sizeof(d->name), "sd%c", 'a' + (int)nr);
	d->data = calloc(pages, PAGE_SIZE);
	cr_assert(d->data);
	d->dev = (struct quire_blkdev){
		.name = d->name,
		.sectors = (uint64_t)pages * (PAGE_SIZE >> QUIRE_SECTOR_SHIFT),
		.queue_depth = 32,
		.ops = &swapdev_ops,
		.driver = d,
	};
	swapdev_mkswap(d, pages);
}

/* What has been written, and that nobody maps, leaves memory, as the next scan would have it. */
static inline void swapdev_scan_cached(const struct swapdev *d)
{
	struct list_head pages = LIST_HEAD_INIT(pages);

	for (uint64_t off = 1; off < d->dev.sectors >> (PAGE_SHIFT - 9); off++) {
		struct page *page = lookup_swap_cache(swp_entry(0, off));

		if (!page)
			continue;
		if (page_mapcount(page) <= 0 && isolate_lru_page(page))
			list_add(&page->lru, &pages);
		put_page(page);
	}
	reclaim_pages(&pages);
}

static inline void swapdev_free(struct swapdev *d)
{
	free(d->data);
}

#endif
