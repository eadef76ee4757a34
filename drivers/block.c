/* SPDX-License-Identifier: MIT */
/*
 * The request layer: transfers (bios) become requests, requests go to the device, and come back.
 *
 *   submit ──► pending (in order) ──► a request: those that follow each other on the device, up to
 *   the limits ──► the driver's start(), while it has room ──► the device ──► its interrupt, the
 *   driver's reap() ──► blk_request_done() ──► done ──► end_io of each transfer, the lock let go
 *
 * Everything is one list in the order of submission, and only its head is looked at: nobody starves,
 * and what one chain brings together stays together. There is no elevator: the devices here have no
 * arm, and what lies next to each other was allocated and is submitted next to each other.
 *
 * A flush waits until nothing is under way, and is started alone; what was submitted after it is
 * started behind it. So it covers all that was submitted before it, which is more than devices
 * promise (they cover what has completed).
 *
 * Room. The layer allocates nothing: a transfer brings its own link, requests are part of the queue.
 * So it works when no memory is left, which is when swap writes. What may be under way is bounded
 * all the same (dev.queue_depth), so that one who writes without end does not keep those who read
 * waiting behind an endless list.
 *
 * The lock is taken by submitters and by the interrupt, with interrupts off. The driver's start() and
 * kick() are called with it held; end_io never is.
 *
 * A device may be done with hundreds of transfers at once. So that interrupts are not off for as long as
 * all those take, whoever holds the lock starts, reaps and ends no more than BLK_BUDGET; a submitter then lets
 * interrupts in and goes on, an interrupt leaves the rest to a thread. Without threads it does all.
 */
#include "drivers/block.h"

#include "arch/hal.h"
#include "lib/string.h"
#include <quire/abi.h>
#include <quire/os.h>

#define QUEUE_DEPTH 512 /* transfers: 2 MiB of pages */
#define NO_BUDGET   (1l << 30)

static const struct quire_blkdev_ops queue_ops;

/* The thread for what interrupts leave over. Stands still before any queue goes. */
static struct {
	struct os_thread *thread; /* NULL: there is none; changed while no device is busy */
	uint32_t calls;		  /* atomic */
} worker;

static struct blk_queue *queue_of(struct quire_blkdev *dev)
{
	return container_of(dev, struct blk_queue, dev);
}

void blk_queue_init(struct blk_queue *q, const struct blk_driver *driver,
		    const struct blk_limits *limits)
{
	q->driver = driver;
	q->limits = *limits;
	q->dev.ops = &queue_ops;
	q->dev.queue_depth = QUEUE_DEPTH;
	q->done_last = &q->done;
	spin_lock_init_rank(&q->lock, "blk_queue", RANK_BLK_QUEUE);
	ASSERT(limits->requests && limits->requests <= BLK_MAX_REQUESTS && limits->segments);
	for (unsigned i = limits->requests; i-- > 0;) {
		q->requests[i].tag = (uint16_t)i;
		q->requests[i].next = q->free;
		q->free = &q->requests[i];
	}
}

/* ---- from transfers to requests -------------------------------------------------------------- */

struct blk_segment blk_next_segment(struct quire_bio **bio)
{
	struct blk_segment s = {(*bio)->phys, (*bio)->len};

	*bio = (*bio)->next;
	return s;
}

static struct quire_bio *pop_pending(struct blk_queue *q)
{
	struct quire_bio *bio = q->pending;

	assert_held(&q->lock);
	q->pending = bio->next;
	if (!q->pending)
		q->pending_last = NULL;
	bio->next = NULL;
	return bio;
}

/* The transfer goes on where the request ends, and the device takes both as one. */
static bool may_merge(const struct blk_queue *q, const struct blk_request *rq,
		      const struct quire_bio *bio)
{
	return bio->op == rq->op && rq->op != QUIRE_BIO_FLUSH &&
	       bio->sector == rq->sector + rq->sectors && rq->segments < q->limits.segments &&
	       rq->sectors + (bio->len >> QUIRE_SECTOR_SHIFT) <= BLK_MAX_SECTORS;
}

static void build_request(struct blk_queue *q, struct blk_request *rq)
{
	struct quire_bio *bio = pop_pending(q);

	rq->op = bio->op;
	rq->sector = bio->sector;
	rq->sectors = bio->len >> QUIRE_SECTOR_SHIFT;
	rq->segments = 1;
	rq->bios = rq->last = bio;
	rq->err = 0;
	rq->started = false;
	while (q->pending && may_merge(q, rq, q->pending)) {
		bio = pop_pending(q);
		rq->sectors += bio->len >> QUIRE_SECTOR_SHIFT;
		rq->segments++;
		rq->last = rq->last->next = bio;
		q->stats.merges[rq->op]++;
	}
}

/* The next request to start, or NULL: nothing waits, all requests are in use, or a flush waits for
 * those under way. */
static struct blk_request *next_request(struct blk_queue *q)
{
	struct blk_request *rq = q->ready;

	if (rq) {
		q->ready = NULL;
		return rq;
	}
	if (!q->pending || !q->free ||
	    (q->pending->op == QUIRE_BIO_FLUSH && q->stats.in_flight))
		return NULL;
	rq = q->free;
	q->free = rq->next;
	build_request(q, rq);
	return rq;
}

static void account_start(struct blk_queue *q, struct blk_request *rq)
{
	struct blk_stats *s = &q->stats;

	rq->started = true;
	s->in_flight++;
	s->most_in_flight = max(s->most_in_flight, s->in_flight);
	s->largest[rq->op] = max(s->largest[rq->op], rq->sectors);
}

/* Starts requests with about that many transfers, and takes them off the budget. */
static void dispatch(struct blk_queue *q, long *budget)
{
	struct blk_request *rq;
	bool any = false;

	assert_held(&q->lock);
	while (*budget > 0 && (rq = next_request(q)) != NULL) {
		*budget -= rq->segments;
		if (q->dead || (rq->op == QUIRE_BIO_FLUSH && !q->limits.cache)) {
			account_start(q, rq);
			blk_request_done(q, rq, q->dead ? -EIO : 0);
			continue;
		}
		/* A device with room answers after this at the earliest: its interrupt waits for
		 * the lock. */
		account_start(q, rq);
		if (!q->driver->start(q, rq)) {
			rq->started = false;
			q->stats.in_flight--;
			q->ready = rq;
			*budget += rq->segments; /* it waits for the device, not for another run */
			break;
		}
		any = true;
	}
	if (any)
		q->driver->kick(q);
}

/* ---- the end --------------------------------------------------------------------------------- */

void blk_request_done(struct blk_queue *q, struct blk_request *rq, int err)
{
	struct blk_stats *s = &q->stats;

	assert_held(&q->lock);
	ASSERT(rq->started);
	rq->started = false;
	rq->err = err;
	s->in_flight--;
	s->ios[rq->op]++;
	s->sectors[rq->op] += rq->sectors;
	s->errors += err != 0;
	rq->next = NULL;
	*q->done_last = rq;
	q->done_last = &rq->next;
}

void blk_queue_die(struct blk_queue *q)
{
	assert_held(&q->lock);
	q->dead = true;
	for (unsigned i = 0; i < q->limits.requests; i++)
		if (q->requests[i].started)
			blk_request_done(q, &q->requests[i], -EIO);
}

/* Transfers of the first request that is done, at most that many, as a chain; NULL: there are none.
 * *whole: the request if they are its last ones, which is off the list then. */
static struct quire_bio *take_done(struct blk_queue *q, long most, struct blk_request **whole, int *err)
{
	struct blk_request *rq;
	struct quire_bio *first, *last;

	assert_held(&q->lock);
	*whole = NULL;
	if (most <= 0 || (!q->done && !(q->driver->reap && q->driver->reap(q))))
		return NULL;
	rq = q->done;
	*err = rq->err;
	first = last = rq->bios;
	while (last->next && --most)
		last = last->next;
	rq->bios = last->next;
	last->next = NULL;
	if (rq->bios)
		return first;
	*whole = rq;
	q->done = rq->next;
	if (!q->done)
		q->done_last = &q->done;
	return first;
}

/* How many transfers that were. Interrupts off, lock not held: end_io may do what an interrupt may. */
static unsigned end_bios(struct quire_bio *bio, int err)
{
	unsigned n = 0;

	while (bio) {
		struct quire_bio *next = bio->next;

		bio->next = NULL;
		bio->end_io(bio, err);
		bio = next;
		n++;
	}
	return n;
}

irqflags_t blk_lock(struct blk_queue *q)
{
	irqflags_t flags;

	spin_lock_irqsave(&q->lock, flags);
	return flags;
}

/* Starts and ends what can be, within the budget, and lets the lock go; whether something is left.
 * A request is free again only when its last transfers have ended, so that there is always an end to what
 * is under way; then the next ones may start. */
static bool run_and_unlock(struct blk_queue *q, irqflags_t flags, long budget)
{
	struct blk_request *whole;
	struct quire_bio *bio;
	bool room = false, left;
	int err;

	dispatch(q, &budget);
	while ((bio = take_done(q, budget, &whole, &err)) != NULL) {
		unsigned ended;

		spin_unlock(&q->lock);
		ended = end_bios(bio, err);
		spin_lock(&q->lock);
		q->taken -= ended;
		budget -= ended;
		if (whole) {
			whole->next = q->free;
			q->free = whole;
		}
		room = true;
		dispatch(q, &budget);
	}
	left = budget <= 0;
	spin_unlock(&q->lock);
	if (room) {
		__atomic_fetch_add(&q->room, 1, __ATOMIC_RELEASE); /* pairs with submit()'s look */
		os_wake(&q->room, ~0u);
	}
	hal_irq_restore(flags);
	return left;
}

void blk_unlock(struct blk_queue *q, irqflags_t flags)
{
	if (run_and_unlock(q, flags, worker.thread ? BLK_BUDGET : NO_BUDGET)) {
		__atomic_fetch_add(&worker.calls, 1, __ATOMIC_RELEASE); /* pairs with the thread's look */
		os_wake(&worker, 1);
	}
}

/* ---- submission ------------------------------------------------------------------------------ */

int blk_refuses(const struct quire_blkdev *dev, const struct quire_bio *bio)
{
	uint32_t sectors = bio->len >> QUIRE_SECTOR_SHIFT;

	if (bio->op == QUIRE_BIO_FLUSH)
		return bio->len ? -EINVAL : 0;
	if (bio->op >= QUIRE_BIO_OPS || !sectors || bio->len & ((1u << QUIRE_SECTOR_SHIFT) - 1) ||
	    sectors > BLK_MAX_SECTORS)
		return -EINVAL;
	if (bio->op == QUIRE_BIO_WRITE && dev->read_only)
		return -EROFS;
	return bio->sector >= dev->sectors || sectors > dev->sectors - bio->sector ? -EIO : 0;
}

/* Moves from the chain to the queue what there is room for; refused ones go to *bad. What is left. */
static struct quire_bio *take(struct blk_queue *q, struct quire_bio *bio, struct quire_bio **bad)
{
	assert_held(&q->lock);
	while (bio && q->taken < q->dev.queue_depth) {
		struct quire_bio *next = bio->next;

		if (blk_refuses(&q->dev, bio)) {
			bio->next = *bad;
			*bad = bio;
		} else {
			bio->next = NULL;
			if (q->pending)
				q->pending_last->next = bio;
			else
				q->pending = bio;
			q->pending_last = bio;
			q->taken++;
		}
		bio = next;
	}
	return bio;
}

static void end_refused(const struct quire_blkdev *dev, struct quire_bio *bad)
{
	irqflags_t flags = hal_irq_save();

	while (bad) {
		struct quire_bio *bio = bad;

		bad = bio->next;
		bio->next = NULL;
		bio->end_io(bio, blk_refuses(dev, bio));
	}
	hal_irq_restore(flags);
}

static struct quire_bio *queue_submit(struct quire_blkdev *dev, struct quire_bio *chain, bool wait)
{
	struct blk_queue *q = queue_of(dev);

	for (;;) {
		uint32_t seen = __atomic_load_n(&q->room, __ATOMIC_ACQUIRE);
		struct quire_bio *bad = NULL;
		irqflags_t flags = blk_lock(q);

		chain = take(q, chain, &bad);
		while (run_and_unlock(q, flags, BLK_BUDGET))
			flags = blk_lock(q);
		if (bad)
			end_refused(dev, bad);
		if (!chain || !wait)
			return chain;
		os_wait(&q->room, &q->room, seen);
	}
}

static const struct quire_blkdev_ops queue_ops = {.submit = queue_submit};

/* ---- the list of devices --------------------------------------------------------------------- */

/* Written while the machine starts and ends, when nobody reads it. */
static struct {
	struct quire_blkdev *dev;
	struct blk_stats *stats;
	spinlock_t *lock;
} devices[BLKDEV_MAX];
static unsigned ndevices;

int blkdev_add(struct quire_blkdev *dev, struct blk_stats *stats, spinlock_t *lock)
{
	if (blkdev_find(dev->name))
		return -EEXIST;
	if (ndevices == BLKDEV_MAX)
		return -ENOSPC;
	devices[ndevices].dev = dev;
	devices[ndevices].stats = stats;
	devices[ndevices].lock = lock;
	ndevices++;
	return 0;
}

struct quire_blkdev *blkdev_at(unsigned i)
{
	return i < ndevices ? devices[i].dev : NULL;
}

struct quire_blkdev *blkdev_find(const char *name)
{
	for (unsigned i = 0; i < ndevices; i++)
		if (!strcmp(devices[i].dev->name, name))
			return devices[i].dev;
	return NULL;
}

void blkdev_stats(unsigned i, struct blk_stats *stats)
{
	irqflags_t flags;

	spin_lock_irqsave(devices[i].lock, flags);
	*stats = *devices[i].stats;
	spin_unlock_irqrestore(devices[i].lock, flags);
}

void blkdev_forget_all(void)
{
	ndevices = 0;
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void run_queues(void)
{
	for (unsigned i = 0; i < ndevices; i++) {
		struct blk_queue *q = queue_of(devices[i].dev);

		while (devices[i].dev->ops == &queue_ops && run_and_unlock(q, blk_lock(q), BLK_BUDGET))
			os_cond_resched();
	}
}

static void worker_main(void *arg)
{
	os_thread_urgent();
	for (;;) {
		uint32_t seen = __atomic_load_n(&worker.calls, __ATOMIC_ACQUIRE);

		run_queues();
		if (os_thread_should_stop())
			return;
		os_wait_until(&worker, &worker.calls, seen, UINT64_MAX);
	}
}

void blk_thread_start(void)
{
	if (ndevices && os_thread_start("kblockd", worker_main, NULL, &worker.thread))
		worker.thread = NULL;
}

void blk_thread_stop(void)
{
	struct os_thread *thread = worker.thread;

	if (!thread)
		return;
	os_thread_stop(thread);
	worker.thread = NULL;
	run_queues(); /* what interrupts left since its last look */
}

/* ---- one transfer, waited for ---------------------------------------------------------------- */

struct waited {
	struct quire_bio bio;
	int err;
	uint32_t done; /* atomic */
};

/* The waiter may be gone once it sees done: the key is an address, and nothing more. */
static void waited_end(struct quire_bio *bio, int err)
{
	struct waited *w = bio->owner;

	w->err = err;
	__atomic_store_n(&w->done, 1, __ATOMIC_RELEASE); /* pairs with the acquire below */
	os_wake(w, 1);
}

int blkdev_transfer(struct quire_blkdev *dev, enum quire_bio_op op, uint64_t sector, uint64_t phys,
		    uint32_t len)
{
	struct waited w = {.bio = {.op = op, .sector = sector, .phys = phys, .len = len,
				   .end_io = waited_end, .owner = &w}};

	(void)dev->ops->submit(dev, &w.bio, true);
	while (!__atomic_load_n(&w.done, __ATOMIC_ACQUIRE))
		os_wait(&w, &w.done, 0);
	return w.err;
}
