/* SPDX-License-Identifier: MIT */
/*
 * zram0: what swaps to it is compressed and stays in memory. All of that is done where pages are known, in
 * the core's mm/swap; this is the name by which swapon(2) finds it, and a size. Linux' zram is a disk for
 * any use; this one has no contents.
 */
#include "drivers/zram.h"

#include "arch/hal.h"
#include "drivers/block.h"
#include "lib/printf.h"
#include <quire/abi.h>
#include <quire/quire.h>

struct zram {
	struct quire_blkdev dev;
	char name[8];
	spinlock_t lock; /* stats */
	struct blk_stats stats;
};

static struct quire_bio *zram_submit(struct quire_blkdev *dev, struct quire_bio *chain, bool wait)
{
	struct zram *z = dev->driver;

	while (chain) {
		struct quire_bio *bio = chain;
		irqflags_t flags;

		chain = bio->next;
		bio->next = NULL;
		spin_lock_irqsave(&z->lock, flags);
		z->stats.errors++;
		spin_unlock_irqrestore(&z->lock, flags);
		flags = hal_irq_save();
		bio->end_io(bio, -EIO);
		hal_irq_restore(flags);
	}
	return NULL;
}

static const struct quire_blkdev_ops zram_ops = {.submit = zram_submit};

struct quire_blkdev *zram_create(unsigned n, uint64_t bytes)
{
	struct zram *z = quire_kmalloc(sizeof(*z), QUIRE_GFP_ZERO);

	if (!z)
		return NULL;
	scnprintf(z->name, sizeof(z->name), "zram%u", n);
	spin_lock_init_rank(&z->lock, "zram", RANK_BLK_QUEUE);
	z->dev = (struct quire_blkdev){
		.name = z->name,
		.sectors = bytes >> QUIRE_SECTOR_SHIFT,
		.in_memory = true,
		.queue_depth = 1,
		.ops = &zram_ops,
		.driver = z,
	};
	if (!blkdev_add(&z->dev, &z->stats, &z->lock))
		return &z->dev;
	zram_destroy(&z->dev);
	return NULL;
}

void zram_destroy(struct quire_blkdev *dev)
{
	quire_kfree(dev->driver);
}
