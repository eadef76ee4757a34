/* SPDX-License-Identifier: MIT */
/* The request layer over a device that the test plays by hand, and the RAM disk. */
#define _GNU_SOURCE
#include "mm_test.h"

#include "drivers/block.h"
#include "drivers/ramdisk.h"
#include <quire/abi.h>
#include <quire/os.h>

#define NBIO 700

/* ---- a device that does what the test says --------------------------------------------------- */

static struct blk_queue q;
static struct blk_stats st;
static struct blk_request *at_device[BLK_MAX_REQUESTS];
static unsigned ndevice, room, kicks;

static bool toy_start(struct blk_queue *queue, struct blk_request *rq)
{
	cr_assert(spin_is_locked(&queue->lock) && hal_irqs_off());
	if (ndevice == room)
		return false;
	at_device[ndevice++] = rq;
	return true;
}

static void toy_kick(struct blk_queue *queue)
{
	kicks++;
}

static const struct blk_driver toy = {toy_start, toy_kick};

/* The device answers the i-th request that it has. */
static void answer(unsigned i, int err)
{
	irqflags_t flags = blk_lock(&q);
	struct blk_request *rq = at_device[i];

	at_device[i] = at_device[--ndevice];
	blk_request_done(&q, rq, err);
	blk_unlock(&q, flags);
}

static struct quire_bio bios[NBIO];
static int result[NBIO];
static unsigned ended, order[NBIO];

static void toy_end(struct quire_bio *bio, int err)
{
	size_t i = bio - bios;

	cr_assert(hal_irqs_off() && !lockdep_held());
	cr_assert_eq(result[i], 1, "bio %zu ended twice", i);
	cr_assert_null(bio->next);
	result[i] = err;
	order[ended++] = i;
}

static struct quire_bio *bio(unsigned i, enum quire_bio_op op, uint64_t sector, uint32_t len)
{
	result[i] = 1;
	bios[i] = (struct quire_bio){.op = op, .sector = sector, .len = len,
				     .phys = 0x200000 + i * 0x2000, .end_io = toy_end};
	return &bios[i];
}

/* Bios first .. first + n - 1 of a page each, one after the other on the device, as a chain. */
static struct quire_bio *run_of(unsigned first, unsigned n, enum quire_bio_op op, uint64_t sector)
{
	for (unsigned i = 0; i < n; i++) {
		bio(first + i, op, sector + i * 8, 4096);
		if (i)
			bios[first + i - 1].next = &bios[first + i];
	}
	return &bios[first];
}

static void toy_up(unsigned requests, unsigned segments, bool cache)
{
	machine_up(64 << 20, 1);
	memset(&q, 0, sizeof(q));
	q.dev.name = "toy";
	q.dev.sectors = 1 << 20;
	room = BLK_MAX_REQUESTS;
	ndevice = ended = kicks = 0;
	blk_queue_init(&q, &toy, &(struct blk_limits){.requests = requests, .segments = segments,
						      .segment_len = 4096, .cache = cache});
}

static struct quire_bio *submit(struct quire_bio *chain)
{
	return q.dev.ops->submit(&q.dev, chain, false);
}

Test(block, neighbours_become_one_request)
{
	struct quire_bio *b;

	toy_up(8, 32, false);
	cr_assert_null(submit(run_of(0, 10, QUIRE_BIO_WRITE, 80)));
	cr_assert_eq(ndevice, 1);
	cr_expect_eq(at_device[0]->sector, 80);
	cr_expect_eq(at_device[0]->sectors, 80);
	cr_expect_eq(at_device[0]->segments, 10);
	cr_expect_eq(kicks, 1);
	b = at_device[0]->bios;
	for (unsigned i = 0; i < 10; i++) {
		struct blk_segment s = blk_next_segment(&b);

		cr_expect_eq(s.phys, bios[i].phys);
		cr_expect_eq(s.len, 4096);
	}
	cr_expect_null(b);
	cr_expect_eq(ended, 0);
	answer(0, 0);
	cr_assert_eq(ended, 10);
	for (unsigned i = 0; i < 10; i++)
		cr_expect(order[i] == i && result[i] == 0);
	cr_expect_eq(q.stats.merges[QUIRE_BIO_WRITE], 9);
	cr_expect_eq(q.stats.ios[QUIRE_BIO_WRITE], 1);
	cr_expect_eq(q.stats.largest[QUIRE_BIO_WRITE], 80);
	machine_down();
}

/* A gap, a jump back, another operation: each begins a request. */
Test(block, others_do_not)
{
	toy_up(8, 32, false);
	bio(0, QUIRE_BIO_WRITE, 0, 4096)->next = bio(1, QUIRE_BIO_WRITE, 9, 4096);
	bios[1].next = bio(2, QUIRE_BIO_WRITE, 1, 4096);
	bios[2].next = bio(3, QUIRE_BIO_READ, 9, 512);
	bios[3].next = bio(4, QUIRE_BIO_READ, 10, 512);
	cr_assert_null(submit(&bios[0]));
	cr_assert_eq(ndevice, 4);
	cr_expect_eq(at_device[3]->sectors, 2);
	while (ndevice)
		answer(0, 0);
	cr_expect_eq(ended, 5);
	machine_down();
}

Test(block, a_request_has_an_end)
{
	toy_up(8, 4, false);
	cr_assert_null(submit(run_of(0, 10, QUIRE_BIO_READ, 0)));
	cr_assert_eq(ndevice, 3, "4 + 4 + 2 segments");
	cr_expect_eq(at_device[2]->sectors, 16);
	while (ndevice)
		answer(0, 0);
	q.limits.segments = 1000;
	cr_assert_null(submit(run_of(0, 40, QUIRE_BIO_READ, 0)));
	cr_assert_eq(ndevice, 2, "128 KiB, then the rest");
	cr_expect_eq(at_device[0]->sectors, BLK_MAX_SECTORS);
	while (ndevice)
		answer(0, 0);
	cr_expect_eq(q.taken, 0);
	machine_down();
}

/* Requests in flight, in any order of answers; what waits is merged meanwhile. */
Test(block, eight_under_way_and_answered_backwards)
{
	toy_up(8, 32, false);
	for (unsigned i = 0; i < 12; i++)
		cr_assert_null(submit(bio(i, QUIRE_BIO_READ, i < 8 ? i * 100 : 5000 + i * 8, 4096)));
	cr_assert_eq(ndevice, 8);
	cr_expect_eq(q.stats.in_flight, 8);
	answer(7, 0);
	cr_expect_eq(order[0], 7);
	cr_assert_eq(ndevice, 8, "the four that waited are one request now");
	cr_expect_eq(at_device[7]->segments, 4);
	for (unsigned i = 0; i < 8; i++)
		answer(7 - i, 0);
	cr_expect_eq(ended, 12);
	cr_expect_eq(q.stats.most_in_flight, 8);
	cr_expect_eq(q.stats.in_flight, 0);
	machine_down();
}

/* The device says that it is full: the request stays, and comes first later. */
Test(block, a_full_device_gets_it_later)
{
	toy_up(8, 32, false);
	room = 1;
	for (unsigned i = 0; i < 3; i++)
		cr_assert_null(submit(bio(i, QUIRE_BIO_WRITE, i * 100, 4096)));
	cr_assert_eq(ndevice, 1);
	cr_expect_eq(q.stats.in_flight, 1);
	for (unsigned i = 0; i < 3; i++) {
		cr_expect_eq(at_device[0]->sector, i * 100);
		answer(0, i == 1 ? -EIO : 0);
	}
	cr_expect(result[0] == 0 && result[1] == -EIO && result[2] == 0);
	cr_expect_eq(q.stats.errors, 1);
	machine_down();
}

Test(block, a_flush_covers_what_came_before)
{
	toy_up(8, 32, true);
	cr_assert_null(submit(bio(0, QUIRE_BIO_WRITE, 0, 4096)));
	cr_assert_null(submit(bio(1, QUIRE_BIO_WRITE, 100, 4096)));
	cr_assert_null(submit(bio(2, QUIRE_BIO_FLUSH, 0, 0)));
	cr_assert_null(submit(bio(3, QUIRE_BIO_WRITE, 200, 4096)));
	cr_assert_eq(ndevice, 2);
	answer(1, 0);
	cr_assert_eq(ndevice, 1, "the flush waits for the other write");
	answer(0, 0);
	cr_assert_eq(ndevice, 2);
	cr_expect_eq(at_device[0]->op, QUIRE_BIO_FLUSH);
	cr_expect_eq(at_device[1]->sector, 200);
	answer(0, 0);
	answer(0, 0);
	cr_expect_eq(ended, 4);
	cr_expect_eq(order[2], 2);
	machine_down();
}

/* Two flushes in a row are two requests, and on a device without a cache they cost it nothing. */
Test(block, flushes_of_a_device_without_cache)
{
	toy_up(8, 32, false);
	cr_assert_null(submit(bio(0, QUIRE_BIO_WRITE, 0, 4096)));
	bio(1, QUIRE_BIO_FLUSH, 0, 0)->next = bio(2, QUIRE_BIO_FLUSH, 0, 0);
	cr_assert_null(submit(&bios[1]));
	cr_assert_eq(ended, 0);
	answer(0, 0);
	cr_expect_eq(ended, 3);
	cr_expect_eq(ndevice, 0);
	cr_expect_eq(q.stats.ios[QUIRE_BIO_FLUSH], 2);
	machine_down();
}

Test(block, what_no_device_could_do)
{
	toy_up(8, 32, false);
	bio(0, QUIRE_BIO_READ, (1 << 20) - 7, 4096)->next = bio(1, QUIRE_BIO_READ, 1 << 20, 512);
	bios[1].next = bio(2, QUIRE_BIO_READ, 0, 100);
	bios[2].next = bio(3, QUIRE_BIO_READ, 0, 0);
	bios[3].next = bio(4, QUIRE_BIO_READ, UINT64_MAX, 512);
	bios[4].next = bio(5, QUIRE_BIO_READ, (1 << 20) - 8, 4096);
	bios[5].next = bio(6, QUIRE_BIO_FLUSH, 0, 512);
	bios[6].next = bio(7, QUIRE_BIO_OPS, 0, 512);
	cr_assert_null(submit(&bios[0]));
	cr_assert_eq(ndevice, 1);
	cr_expect_eq(result[0], -EIO);
	cr_expect_eq(result[1], -EIO);
	cr_expect_eq(result[2], -EINVAL);
	cr_expect_eq(result[3], -EINVAL);
	cr_expect_eq(result[4], -EIO);
	cr_expect_eq(result[6], -EINVAL);
	cr_expect_eq(result[7], -EINVAL);
	answer(0, 0);
	cr_expect_eq(result[5], 0);
	q.dev.read_only = true;
	cr_assert_null(submit(bio(0, QUIRE_BIO_WRITE, 0, 4096)));
	cr_expect_eq(result[0], -EROFS);
	cr_expect_eq(q.taken, 0);
	machine_down();
}

/* The device answers for one who waits: the test's only thread. */
static unsigned waits;

void os_wait(const void *key, const uint32_t *word, uint32_t seen)
{
	cr_assert_eq(__atomic_load_n(word, __ATOMIC_ACQUIRE), seen, "room was there");
	waits++;
	cr_assert(ndevice > 0);
	answer(0, 0);
}

Test(block, what_may_be_under_way_is_bounded)
{
	struct quire_bio *rest;

	toy_up(2, 1, false);
	rest = submit(run_of(0, 600, QUIRE_BIO_WRITE, 0));
	cr_assert_eq(rest, &bios[q.dev.queue_depth]);
	cr_assert_eq(q.taken, q.dev.queue_depth);
	cr_assert_null(q.dev.ops->submit(&q.dev, rest, true));
	cr_expect(waits >= 600 - q.dev.queue_depth);
	while (ndevice)
		answer(0, 0);
	cr_assert_eq(ended, 600);
	for (unsigned i = 0; i < 600; i++)
		cr_expect_eq(result[i], 0);
	cr_expect_eq(q.taken, 0);
	machine_down();
}

Test(block, one_transfer_waited_for)
{
	toy_up(2, 1, false);
	cr_expect_eq(blkdev_transfer(&q.dev, QUIRE_BIO_READ, 8, 0x200000, 4096), 0);
	cr_expect_eq(waits, 1);
	cr_expect_eq(blkdev_transfer(&q.dev, QUIRE_BIO_READ, 1 << 20, 0x200000, 4096), -EIO);
	cr_expect_eq(waits, 1);
	machine_down();
}

Test(block, a_dead_device_fails_everything_once)
{
	irqflags_t flags;

	toy_up(4, 2, true);
	room = 2;
	for (unsigned i = 0; i < 8; i++)
		cr_assert_null(submit(bio(i, QUIRE_BIO_WRITE, i * 100, 4096)));
	cr_assert_null(submit(bio(8, QUIRE_BIO_FLUSH, 0, 0)));
	flags = blk_lock(&q);
	blk_queue_die(&q);
	blk_unlock(&q, flags);
	cr_assert_eq(ended, 9);
	cr_assert_null(submit(bio(9, QUIRE_BIO_READ, 0, 4096)));
	for (unsigned i = 0; i < 10; i++)
		cr_expect_eq(result[i], -EIO);
	cr_expect_eq(q.stats.in_flight, 0);
	machine_down();
}

Test(block, the_list_of_devices)
{
	static struct quire_blkdev other = {.name = "other"};

	toy_up(4, 2, true);
	cr_assert_eq(blkdev_add(&q.dev, &q.stats, &q.lock), 0);
	cr_expect_eq(blkdev_add(&q.dev, &q.stats, &q.lock), -EEXIST);
	cr_assert_eq(blkdev_add(&other, &q.stats, &q.lock), 0);
	cr_expect_eq(blkdev_at(0), &q.dev);
	cr_expect_eq(blkdev_at(1), &other);
	cr_expect_null(blkdev_at(2));
	cr_expect_eq(blkdev_find("other"), &other);
	cr_expect_null(blkdev_find("oth"));
	submit(bio(0, QUIRE_BIO_WRITE, 0, 4096));
	blkdev_stats(0, &st);
	cr_expect_eq(st.in_flight, 1);
	answer(0, 0);
	blkdev_forget_all();
	cr_expect_null(blkdev_at(0));
	machine_down();
}

/* ---- the RAM disk ---------------------------------------------------------------------------- */

Test(block, ram_disk)
{
	static unsigned char *a, *b;
	struct quire_blkdev *dev;
	uint64_t before;

	machine_up(64 << 20, 1);
	a = quire_alloc_pages(0, QUIRE_GFP_ZERO);
	b = quire_alloc_pages(0, QUIRE_GFP_ZERO);
	before = free_pages_now();
	dev = ramdisk_create(3, (1 << 20) + 512);
	cr_assert_not_null(dev);
	cr_assert_null(ramdisk_create(3, 4096), "the name is taken");
	cr_expect_str_eq(dev->name, "ram3");
	cr_expect_eq(dev->sectors, 2049);
	/* pages that lie across the disk's blocks, so also across its blocks' borders */
	for (unsigned s = 1; s + 8 <= 2049; s += 8) {
		for (unsigned i = 0; i < 4096; i++)
			a[i] = (unsigned char)(s * 7 + i);
		cr_assert_eq(blkdev_transfer(dev, QUIRE_BIO_WRITE, s, hal_virt_to_phys(a), 4096), 0);
	}
	for (unsigned s = 1; s + 8 <= 2049; s += 8) {
		cr_assert_eq(blkdev_transfer(dev, QUIRE_BIO_READ, s, hal_virt_to_phys(b), 4096), 0);
		for (unsigned i = 0; i < 4096; i++)
			cr_assert_eq(b[i], (unsigned char)(s * 7 + i));
	}
	cr_assert_eq(blkdev_transfer(dev, QUIRE_BIO_READ, 0, hal_virt_to_phys(b), 512), 0);
	cr_expect_eq(b[0], 0);
	cr_expect_eq(blkdev_transfer(dev, QUIRE_BIO_FLUSH, 0, 0, 0), 0);
	cr_expect_eq(blkdev_transfer(dev, QUIRE_BIO_READ, 2049, hal_virt_to_phys(b), 512), -EIO);
	blkdev_stats(0, &st);
	cr_expect_eq(st.ios[QUIRE_BIO_WRITE], 256);
	cr_expect_eq(st.sectors[QUIRE_BIO_READ], 256 * 8 + 1);
	blkdev_forget_all();
	ramdisk_destroy(dev);
	cr_expect_eq(free_pages_now(), before);
	quire_free_pages(a, 0);
	quire_free_pages(b, 0);
	machine_down();
}

/* One that is larger than memory is refused, and leaves nothing behind. */
Test(block, ram_disk_without_memory)
{
	uint64_t before;

	machine_up(64 << 20, 1);
	before = free_pages_now();
	cr_assert_null(ramdisk_create(0, 80 << 20));
	cr_expect_eq(free_pages_now(), before);
	machine_down();
}

/* ---- what interrupts leave over -------------------------------------------------------------- */

static void (*thread_fn)(void *);
static unsigned stops_after;

int os_thread_start(const char *name, void (*fn)(void *arg), void *arg, struct os_thread **thread)
{
	thread_fn = fn;
	*thread = (struct os_thread *)&thread_fn;
	return 0;
}

void os_thread_stop(struct os_thread *thread)
{
}

bool os_thread_should_stop(void)
{
	return !stops_after--;
}

void os_wait_until(const void *key, const uint32_t *word, uint32_t seen, uint64_t deadline_ns)
{
}

static void device_answers_all(void)
{
	irqflags_t flags = blk_lock(&q);
	unsigned n = ndevice;

	ndevice = 0;
	for (unsigned i = 0; i < n; i++)
		blk_request_done(&q, at_device[i], 0);
	blk_unlock(&q, flags);
}

/* 16 requests of 16 pages end at once: an interrupt ends a part of the first one, the next interrupt goes on
 * where that stopped, the thread ends all others. */
Test(block, an_interrupt_ends_no_more_than_its_budget)
{
	toy_up(BLK_MAX_REQUESTS, 16, false);
	cr_assert_eq(blkdev_add(&q.dev, &q.stats, &q.lock), 0);
	blk_thread_start();
	cr_assert(thread_fn != NULL);
	cr_expect_null(submit(run_of(0, 256, QUIRE_BIO_WRITE, 0)));
	cr_assert_eq(ndevice, 16);
	device_answers_all();
	cr_expect_eq(ended, BLK_BUDGET);
	device_answers_all();
	cr_expect_eq(ended, 2 * BLK_BUDGET);
	stops_after = 1;
	thread_fn(NULL);
	cr_expect_eq(ended, 256);
	cr_expect_eq(q.taken, 0);
	for (unsigned i = 0; i < 256; i++)
		cr_assert_eq(order[i], i);
	blk_thread_stop();
	blkdev_forget_all();
	machine_down();
}
