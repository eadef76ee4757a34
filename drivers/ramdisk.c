/* SPDX-License-Identifier: MIT */
/*
 * A RAM disk: memory that is asked for once, when it is made, and looks like a disk. It transfers in
 * submit itself, so nothing is ever under way: good to compare with, and for a machine without disks.
 *
 * Its memory is pages of the core's, taken in blocks; none is asked for later, so it serves for swap.
 * No lock covers the contents: as on a disk, transfers of the same sectors have no order.
 */
#include "drivers/ramdisk.h"

#include "arch/hal.h"
#include "drivers/block.h"
#include "lib/printf.h"
#include "lib/string.h"
#include <quire/abi.h>
#include <quire/quire.h>

#define CHUNK_ORDER 4 /* of pages: few pointers, and small enough to be had */
#define CHUNK_SIZE  ((uint64_t)1 << (ARCH_PAGE_SHIFT + CHUNK_ORDER))

struct ramdisk {
	struct quire_blkdev dev;
	char name[8];
	spinlock_t lock; /* stats */
	struct blk_stats stats;
	uint64_t nchunks;
	char *chunk[];
};

static void account(struct ramdisk *r, const struct quire_bio *bio)
{
	irqflags_t flags;

	spin_lock_irqsave(&r->lock, flags);
	r->stats.ios[bio->op]++;
	r->stats.sectors[bio->op] += bio->len >> QUIRE_SECTOR_SHIFT;
	r->stats.largest[bio->op] =
		max(r->stats.largest[bio->op], bio->len >> QUIRE_SECTOR_SHIFT);
	spin_unlock_irqrestore(&r->lock, flags);
}

static void transfer(struct ramdisk *r, const struct quire_bio *bio)
{
	uint64_t at = bio->sector << QUIRE_SECTOR_SHIFT;
	char *mem = hal_phys_to_virt(bio->phys);
	uint32_t left = bio->len;

	while (left) {
		char *disk = r->chunk[at / CHUNK_SIZE] + at % CHUNK_SIZE;
		uint32_t n = (uint32_t)min((uint64_t)left, CHUNK_SIZE - at % CHUNK_SIZE);

		if (bio->op == QUIRE_BIO_READ)
			memcpy(mem, disk, n);
		else
			memcpy(disk, mem, n);
		mem += n;
		at += n;
		left -= n;
	}
}

static struct quire_bio *ramdisk_submit(struct quire_blkdev *dev, struct quire_bio *chain, bool wait)
{
	struct ramdisk *r = container_of(dev, struct ramdisk, dev);

	while (chain) {
		struct quire_bio *bio = chain;
		int err = blk_refuses(dev, bio);
		irqflags_t flags;

		chain = bio->next;
		bio->next = NULL;
		if (!err) {
			transfer(r, bio);
			account(r, bio);
		}
		flags = hal_irq_save();
		bio->end_io(bio, err);
		hal_irq_restore(flags);
	}
	return NULL;
}

static const struct quire_blkdev_ops ramdisk_ops = {.submit = ramdisk_submit};

struct quire_blkdev *ramdisk_create(unsigned n, uint64_t bytes)
{
	uint64_t nchunks = DIV_ROUND_UP(bytes, CHUNK_SIZE);
	struct ramdisk *r;

	r = quire_kmalloc(sizeof(*r) + nchunks * sizeof(r->chunk[0]), QUIRE_GFP_ZERO);
	if (!r)
		return NULL;
	scnprintf(r->name, sizeof(r->name), "ram%u", n);
	spin_lock_init_rank(&r->lock, "ramdisk", RANK_BLK_QUEUE);
	r->nchunks = nchunks;
	r->dev = (struct quire_blkdev){
		.name = r->name,
		.sectors = bytes >> QUIRE_SECTOR_SHIFT,
		.queue_depth = 1,
		.ops = &ramdisk_ops,
		.driver = r,
	};
	for (uint64_t i = 0; i < nchunks; i++) {
		r->chunk[i] = quire_alloc_pages(CHUNK_ORDER, QUIRE_GFP_ZERO);
		if (!r->chunk[i])
			goto no_memory;
	}
	if (!blkdev_add(&r->dev, &r->stats, &r->lock))
		return &r->dev;
no_memory:
	ramdisk_destroy(&r->dev);
	return NULL;
}

void ramdisk_destroy(struct quire_blkdev *dev)
{
	struct ramdisk *r = dev->driver;

	for (uint64_t i = 0; i < r->nchunks && r->chunk[i]; i++)
		quire_free_pages(r->chunk[i], CHUNK_ORDER);
	quire_kfree(r);
}
