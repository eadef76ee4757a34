/* SPDX-License-Identifier: MIT */
/*
 * virtio-blk (virtio 1.0, 5.2): a request is a chain of a header, the pieces of memory, and a byte
 * that the device stores its answer in. Headers and answers lie in a page of their own, one of each
 * for each request of the queue (drivers/block.c), by its tag.
 *
 * Where the device knows indirect descriptors the chain lies in a table of the request's own, and takes
 * one entry of the ring: so requests can be long and many at once.
 *
 * queue.lock covers the virtqueue and the page.
 */
#include "drivers/virtio.h"

#include "arch/hal.h"
#include "drivers/block.h"
#include "drivers/drivers.h"
#include "lib/printf.h"
#include <quire/abi.h>
#include <quire/quire.h>

#define VIRTIO_BLK_F_SIZE_MAX (1ull << 1)
#define VIRTIO_BLK_F_SEG_MAX  (1ull << 2)
#define VIRTIO_BLK_F_RO	      (1ull << 5)
#define VIRTIO_BLK_F_FLUSH    (1ull << 9)

#define CONFIG_CAPACITY 0
#define CONFIG_SIZE_MAX 8
#define CONFIG_SEG_MAX	12

enum { TYPE_IN = 0, TYPE_OUT = 1, TYPE_FLUSH = 4 };
enum { ANSWER_OK = 0, ANSWER_NONE = 0xff };

struct header {
	uint32_t type, reserved;
	uint64_t sector;
};

struct shared {
	struct header header[BLK_MAX_REQUESTS];
	uint8_t answer[BLK_MAX_REQUESTS];
};
_Static_assert(sizeof(struct shared) <= 4096, "a page of the smallest machine");

/* Of 256 entries eight requests in flight are to have their share: header and answer off, 30 pages. With
 * tables what a request may hold. */
#define RING_SEGMENTS  30
#define TABLE_SEGMENTS 32
#define TABLE_ENTRIES  (TABLE_SEGMENTS + 2)
#define TABLES_A_PAGE  (4096 / (TABLE_ENTRIES * sizeof(struct virtq_desc)))
#define TABLE_PAGES    DIV_ROUND_UP(BLK_MAX_REQUESTS, TABLES_A_PAGE)

struct virtio_blk {
	struct virtio_blk *next;
	struct blk_queue queue;
	struct virtio_device vd;
	struct virtqueue vq;
	struct virtq_desc *tables[TABLE_PAGES]; /* NULL: the device takes none */
	struct shared *shared;
	uint64_t shared_phys;
	char name[8];
};

static struct virtio_blk *disks; /* written while the machine starts and ends */
static unsigned ndisks;

/* ---- requests -------------------------------------------------------------------------------- */

/* Pieces that adjoin in memory are one. */
static void push_data(struct virtio_blk *b, struct blk_request *rq)
{
	unsigned flags = rq->op == QUIRE_BIO_READ ? VIRTQ_DESC_WRITE : 0;
	struct quire_bio *bio = rq->bios;
	struct blk_segment s = blk_next_segment(&bio);

	while (bio) {
		struct blk_segment t = blk_next_segment(&bio);

		if (s.phys + s.len == t.phys && s.len + t.len <= b->queue.limits.segment_len) {
			s.len += t.len;
			continue;
		}
		virtq_push(&b->vq, s.phys, s.len, flags);
		s = t;
	}
	virtq_push(&b->vq, s.phys, s.len, flags);
}

static struct virtq_desc *table_of(struct virtio_blk *b, unsigned tag)
{
	return b->tables[tag / TABLES_A_PAGE] + tag % TABLES_A_PAGE * TABLE_ENTRIES;
}

static bool begin(struct virtio_blk *b, const struct blk_request *rq)
{
	if (b->tables[0])
		return virtq_begin_table(&b->vq, table_of(b, rq->tag));
	return virtq_begin(&b->vq, rq->segments + 2u);
}

static bool start(struct blk_queue *q, struct blk_request *rq)
{
	static const uint32_t types[QUIRE_BIO_OPS] = {
		[QUIRE_BIO_READ] = TYPE_IN,
		[QUIRE_BIO_WRITE] = TYPE_OUT,
		[QUIRE_BIO_FLUSH] = TYPE_FLUSH,
	};
	struct virtio_blk *b = container_of(q, struct virtio_blk, queue);
	unsigned tag = rq->tag;

	assert_held(&q->lock);
	if (!begin(b, rq))
		return false;
	b->shared->header[tag] = (struct header){.type = types[rq->op], .sector = rq->sector};
	b->shared->answer[tag] = ANSWER_NONE;
	virtq_push(&b->vq, b->shared_phys + offsetof(struct shared, header[tag]),
		   sizeof(struct header), 0);
	if (rq->op != QUIRE_BIO_FLUSH)
		push_data(b, rq);
	virtq_push(&b->vq, b->shared_phys + offsetof(struct shared, answer[tag]), 1,
		   VIRTQ_DESC_WRITE);
	virtq_end(&b->vq, rq);
	return true;
}

static void kick(struct blk_queue *q)
{
	struct virtio_blk *b = container_of(q, struct virtio_blk, queue);

	if (virtq_wants_notify(&b->vq))
		b->vd.t->notify(&b->vd);
}

/* What the device says that it is done with it may not touch any more; so a lie here costs data of
 * its own, and an answer that cannot be ends the device. */
static bool reap(struct blk_queue *q)
{
	struct virtio_blk *b = container_of(q, struct virtio_blk, queue);
	struct blk_request *rq = virtq_get(&b->vq);

	if (rq) {
		blk_request_done(q, rq, READ_ONCE(b->shared->answer[rq->tag]) == ANSWER_OK ? 0 : -EIO);
		return true;
	}
	if (!b->vq.broken || q->dead)
		return false;
	drivers_log("%s: the device answers what it was not asked: not used any more", b->name);
	/* It keeps no memory that others may get: reset first, then everything fails. */
	(void)virtio_reset(&b->vd);
	blk_queue_die(q);
	return q->done;
}

static const struct blk_driver virtio_blk_driver = {.start = start, .kick = kick, .reap = reap};

static void interrupt(void *arg)
{
	struct virtio_blk *b = arg;
	enum latency_path before;

	if (!b->vd.t->irq_ack(&b->vd))
		return;
	before = latency_enter(PATH_DEVICE);
	blk_unlock(&b->queue, blk_lock(&b->queue));
	latency_leave(before);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void destroy(struct virtio_blk *b)
{
	for (unsigned i = 0; i < TABLE_PAGES && b->tables[i]; i++)
		quire_free_pages(b->tables[i], 0);
	if (b->shared)
		quire_free_pages(b->shared, 0);
	virtq_free(&b->vq);
	quire_kfree(b);
}

/* What the device's registers say. 0, or why not. */
static const char *read_config(struct virtio_blk *b, uint64_t features, struct blk_limits *limits)
{
	uint64_t v;

	*limits = (struct blk_limits){.requests = BLK_MAX_REQUESTS, .segments = TABLE_SEGMENTS,
				      .segment_len = BLK_MAX_SECTORS << QUIRE_SECTOR_SHIFT,
				      .cache = features & VIRTIO_BLK_F_FLUSH};
	if (!virtio_config(&b->vd, CONFIG_CAPACITY, 8, &v))
		return "it has no capacity";
	if (!v || v >> (63 - QUIRE_SECTOR_SHIFT))
		return "its capacity makes no sense";
	b->queue.dev.sectors = v;
	if (features & VIRTIO_BLK_F_SEG_MAX && virtio_config(&b->vd, CONFIG_SEG_MAX, 4, &v) && v)
		limits->segments = (unsigned)min(v, (uint64_t)limits->segments);
	if (features & VIRTIO_BLK_F_SIZE_MAX && virtio_config(&b->vd, CONFIG_SIZE_MAX, 4, &v)) {
		if (v < 1ull << ARCH_PAGE_SHIFT)
			return "it takes no whole page";
		limits->segment_len = (unsigned)min(v, (uint64_t)limits->segment_len);
	}
	b->queue.dev.read_only = features & VIRTIO_BLK_F_RO;
	return NULL;
}

static bool make_tables(struct virtio_blk *b)
{
	for (unsigned i = 0; i < TABLE_PAGES; i++)
		if (!(b->tables[i] = quire_alloc_pages(0, QUIRE_GFP_ZERO)))
			return false;
	return true;
}

/* The queue, as large as both can; a request fits into it. */
static const char *make_queue(struct virtio_blk *b, bool tables, struct blk_limits *limits)
{
	unsigned n = b->vd.t->queue_max(&b->vd);

	if (n < 4)
		return "its queue is too short";
	n = min(n, (unsigned)VIRTQ_MAX);
	while (n & (n - 1))
		n &= n - 1;
	if (!tables)
		limits->segments = min(min(limits->segments, (unsigned)RING_SEGMENTS), n - 2);
	if (tables && !make_tables(b))
		return "there is no memory";
	b->shared = quire_alloc_pages(0, QUIRE_GFP_ZERO);
	if (!b->shared || virtq_alloc(&b->vq, n))
		return "there is no memory";
	b->shared_phys = hal_virt_to_phys(b->shared);
	return NULL;
}

static const char *bring_up(struct virtio_blk *b)
{
	const uint64_t wanted = VIRTIO_BLK_F_SIZE_MAX | VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_RO |
				VIRTIO_BLK_F_FLUSH | VIRTIO_F_INDIRECT;
	struct blk_limits limits;
	uint64_t features;
	const char *why;

	if (virtio_begin(&b->vd, wanted, &features))
		return "it is not of version 1";
	why = read_config(b, features, &limits);
	if (!why)
		why = make_queue(b, features & VIRTIO_F_INDIRECT, &limits);
	if (why)
		return why;
	blk_queue_init(&b->queue, &virtio_blk_driver, &limits);
	if (b->vd.t->queue_start(&b->vd, &b->vq))
		return "it can have no interrupt";
	virtio_ready(&b->vd);
	if (!blkdev_add(&b->queue.dev, &b->queue.stats, &b->queue.lock))
		return NULL;
	(void)virtio_reset(&b->vd);
	b->vd.t->release(&b->vd);
	return "there are too many disks";
}

int virtio_blk_probe(const struct virtio_device *vd)
{
	struct virtio_blk *b = quire_kmalloc(sizeof(*b), QUIRE_GFP_ZERO);
	const char *why = "there is no memory";

	if (b) {
		scnprintf(b->name, sizeof(b->name), "vd%c", (char)('a' + ndisks));
		b->vd = *vd;
		b->vd.irq_fn = interrupt;
		b->vd.irq_arg = b;
		b->queue.dev.name = b->name;
		b->queue.dev.driver = b;
		why = bring_up(b);
	}
	if (why) {
		drivers_log("virtio-blk: disk %u is not used: %s", ndisks, why);
		if (b) {
			virtio_fail(&b->vd);
			destroy(b);
		}
		return -ENODEV;
	}
	b->next = disks;
	disks = b;
	ndisks++;
	return 0;
}

/* A device that does not let itself be reset keeps its memory. */
void virtio_blk_exit(void)
{
	while (disks) {
		struct virtio_blk *b = disks;

		disks = b->next;
		if (virtio_reset(&b->vd)) {
			drivers_log("%s: it does not stop", b->name);
			continue;
		}
		b->vd.t->release(&b->vd);
		destroy(b);
	}
	ndisks = 0;
}
