/* SPDX-License-Identifier: MIT */
/*
 * The request layer between <quire/block.h> and a driver: a queue that merges transfers into
 * requests, starts as many as the device takes, and ends them. And the list of devices.
 *
 * drivers/ belongs to the kernel's side: it knows <quire/...>, lib/ and arch/hal*.h, nothing of mm/
 * or kernel/. docs/block.md.
 */
#ifndef DRIVERS_BLOCK_H
#define DRIVERS_BLOCK_H

#include "lib/spinlock.h"
#include <quire/block.h>

#define RANK_BLK_QUEUE 84 /* of one device; after all that the core and kernel/ hold (docs/locking.md) */

#define BLK_MAX_SECTORS	 256 /* of one request: 128 KiB */
#define BLK_MAX_REQUESTS 64
#define BLK_BUDGET	 10 /* transfers ended under one hold, less those that were started, in whole requests */

/* Transfers that follow each other on the device, as the device gets them. */
struct blk_request {
	struct blk_request *next;
	enum quire_bio_op op;
	uint64_t sector;
	uint32_t sectors;
	uint16_t segments;     /* pieces of memory */
	uint16_t tag;	       /* its number in the queue, below limits.requests */
	struct quire_bio *bios, *last;
	int err;
	bool started;
};

/* A piece of a request's memory; *bio is where the next call goes on, first rq->bios. */
struct blk_segment {
	uint64_t phys;
	uint32_t len;
};
struct blk_segment blk_next_segment(struct quire_bio **bio);

struct blk_stats {
	uint64_t ios[QUIRE_BIO_OPS];	 /* requests that ended */
	uint64_t merges[QUIRE_BIO_OPS];	 /* transfers that joined one before them */
	uint64_t sectors[QUIRE_BIO_OPS];
	uint64_t errors;		 /* requests that failed */
	unsigned in_flight, most_in_flight; /* requests */
	unsigned largest[QUIRE_BIO_OPS]; /* sectors of a request */
};

struct blk_queue;

struct blk_driver {
	/* Hands a request to the device. Queue locked. false: it has no room until another ends. */
	bool (*start)(struct blk_queue *q, struct blk_request *rq);
	/* Tells the device that requests were started. Queue locked. */
	void (*kick)(struct blk_queue *q);
	/* Says blk_request_done() of one request that the device is done with. Queue locked. false: of none.
	 * NULL: the driver says it of all when its interrupt comes. */
	bool (*reap)(struct blk_queue *q);
};

struct blk_limits {
	unsigned requests;    /* under way at once, at most BLK_MAX_REQUESTS */
	unsigned segments;    /* of one request */
	unsigned segment_len; /* bytes of one */
	bool cache;	      /* what was written is durable only after a flush */
};

struct blk_queue {
	struct quire_blkdev dev; /* constant */
	const struct blk_driver *driver;
	struct blk_limits limits;
	spinlock_t lock; /* all that follows, but room; interrupts off */
	struct quire_bio *pending, *pending_last;
	unsigned taken;	 /* bios pending or in a request */
	struct blk_request *free, *ready; /* ready: built, and the device had no room */
	struct blk_request *done, **done_last;
	bool dead;	 /* the device does not answer any more: everything fails */
	struct blk_stats stats;
	struct blk_request requests[BLK_MAX_REQUESTS];
	uint32_t room;	 /* atomic: counts when transfers ended, for those who wait for room */
};

/* Fills in a queue whose dev has name, sectors, read_only, rotational and driver. */
void blk_queue_init(struct blk_queue *q, const struct blk_driver *driver,
		    const struct blk_limits *limits);
/* The device has carried out rq. Queue locked, by blk_lock(). */
void blk_request_done(struct blk_queue *q, struct blk_request *rq, int err);
/* The device cannot be used any more: whatever it has, and all that comes, fails with -EIO. Queue
 * locked, by blk_lock(). */
void blk_queue_die(struct blk_queue *q);
/* For a driver's interrupt handler. blk_unlock() starts what waited, and calls end_io of what is
 * done with the lock let go; what is more than BLK_BUDGET is left to the thread. */
irqflags_t blk_lock(struct blk_queue *q);
void blk_unlock(struct blk_queue *q, irqflags_t flags);

/* The thread for what interrupts leave over in the devices of the list; without it they leave nothing. The
 * list is whole, or nobody submits any more. Context: sleep, or the boot context. */
void blk_thread_start(void);
void blk_thread_stop(void);

/* Why no device could do this transfer: 0 (it could), -EINVAL, -EROFS, -EIO (past the end). */
int blk_refuses(const struct quire_blkdev *dev, const struct quire_bio *bio);

/* ---- the list of devices --------------------------------------------------------------------- */

#define BLKDEV_MAX 16

/* Makes a device known, with its counters and the lock that they have. While the machine starts,
 * before anybody looks; what is in the list stays until blkdev_forget_all(). -ENOSPC, -EEXIST. */
int blkdev_add(struct quire_blkdev *dev, struct blk_stats *stats, spinlock_t *lock);
struct quire_blkdev *blkdev_at(unsigned i); /* NULL: past the last */
struct quire_blkdev *blkdev_find(const char *name); /* NULL: there is none */
/* What the i-th one did so far. Context: any. */
void blkdev_stats(unsigned i, struct blk_stats *stats);
void blkdev_forget_all(void);

/* One transfer of up to a page; waits for its end. 0 or -errno. Context: sleep. */
int blkdev_transfer(struct quire_blkdev *dev, enum quire_bio_op op, uint64_t sector, uint64_t phys,
		    uint32_t len);

#endif
