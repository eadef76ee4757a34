/* SPDX-License-Identifier: MIT */
/* virtio-blk over the machine's disks: every kind of request, in any order, with every accident. */
#define _GNU_SOURCE
#include "device_wait.h"
#include "mm_test.h"

#include "arch/fake/fake_disk.h"
#include "drivers/block.h"
#include "drivers/drivers.h"
#include "drivers/virtio.h"
#include "lib/rand.h"
#include <quire/abi.h>

#define NBIO	64
#define SECTORS 8192u
#define PER_PAGE (unsigned)(PAGE_SIZE / 512)

static struct quire_blkdev *dev;
static char *page[NBIO];
static struct quire_bio bios[NBIO];
static int result[NBIO];
static unsigned ended;
static uint32_t ended_word; /* atomic */
static uint64_t free_before;
static char logged[4096];

static void keep_log(const char *s, size_t n)
{
	size_t at = strlen(logged);

	n = n < sizeof(logged) - 1 - at ? n : sizeof(logged) - 1 - at;
	memcpy(logged + at, s, n);
	logged[at + n] = '\0';
}

static void up_disk(const struct fake_disk_config *dc, uint64_t seed)
{
	logged[0] = '\0';
	cr_assert_eq(fake_machine_create(&(struct fake_config){.ram = 64 << 20, .seed = seed,
							       .log = keep_log}), 0);
	cr_assert_eq(fake_disk_add(dc), 0);
	cr_assert_eq(quire_init(NULL), 0);
	for (unsigned i = 0; i < NBIO; i++)
		page[i] = quire_alloc_pages(0, QUIRE_GFP_ZERO);
	free_before = free_pages_now();
	drivers_init();
	dev = blkdev_find("vda");
	ended = 0;
}

static void up(uint64_t seed)
{
	up_disk(&(struct fake_disk_config){.sectors = SECTORS}, seed);
	cr_assert_not_null(dev);
}

static void down(void)
{
	drivers_exit();
	cr_expect_eq(free_pages_now(), free_before);
	for (unsigned i = 0; i < NBIO; i++)
		quire_free_pages(page[i], 0);
	machine_down();
}

static void bio_end(struct quire_bio *bio, int err)
{
	cr_assert(hal_irqs_off() && !lockdep_held());
	cr_assert_eq(result[bio - bios], 1, "ended twice");
	result[bio - bios] = err;
	ended++;
	__atomic_fetch_add(&ended_word, 1, __ATOMIC_RELEASE);
}

static struct quire_bio *bio(unsigned i, enum quire_bio_op op, uint64_t sector, uint32_t len)
{
	result[i] = 1;
	bios[i] = (struct quire_bio){.op = op, .sector = sector, .len = len, .end_io = bio_end,
				     .phys = hal_virt_to_phys(page[i])};
	return &bios[i];
}

static struct quire_bio *run_of(unsigned first, unsigned n, enum quire_bio_op op, uint64_t sector)
{
	for (unsigned i = 0; i < n; i++) {
		bio(first + i, op, sector + i * PER_PAGE, PAGE_SIZE);
		if (i)
			bios[first + i - 1].next = &bios[first + i];
	}
	return &bios[first];
}

static void submit(struct quire_bio *chain)
{
	cr_assert_null(dev->ops->submit(dev, chain, false));
}

static void wait_for(unsigned n)
{
	while (ended < n)
		os_wait(&ended_word, &ended_word, __atomic_load_n(&ended_word, __ATOMIC_ACQUIRE));
}

static int transfer(enum quire_bio_op op, uint64_t sector, void *mem)
{
	return blkdev_transfer(dev, op, sector, op == QUIRE_BIO_FLUSH ? 0 : hal_virt_to_phys(mem),
			       op == QUIRE_BIO_FLUSH ? 0 : PAGE_SIZE);
}

static struct blk_stats stats(void)
{
	struct blk_stats s;

	blkdev_stats(0, &s);
	return s;
}

Test(virtio, what_is_written_is_read)
{
	up(1);
	cr_expect_eq(dev->sectors, SECTORS);
	cr_expect(!dev->read_only);
	for (unsigned s = 0; s + PER_PAGE <= SECTORS; s += 3 * PER_PAGE + 1) {
		memset(page[0], (int)s, PAGE_SIZE);
		cr_assert_eq(transfer(QUIRE_BIO_WRITE, s, page[0]), 0);
		fake_disk_peek(0, s, page[1], PER_PAGE);
		cr_assert_eq(memcmp(page[0], page[1], PAGE_SIZE), 0);
		memset(page[2], 0x55, PAGE_SIZE);
		cr_assert_eq(transfer(QUIRE_BIO_READ, s, page[2]), 0);
		cr_assert_eq(memcmp(page[0], page[2], PAGE_SIZE), 0);
	}
	cr_expect_eq(transfer(QUIRE_BIO_FLUSH, 0, NULL), 0);
	cr_expect_eq(fake_disk_counters(0)->flushes, 1);
	cr_expect(device_waits > 0, "nothing was under way");
	cr_expect_eq(transfer(QUIRE_BIO_READ, SECTORS - PER_PAGE + 1, page[0]), -EIO);
	/* nothing is kept in between: what changes on the disk is read */
	memset(page[0], 0x77, PAGE_SIZE);
	fake_disk_poke(0, 40, page[0], PER_PAGE);
	cr_assert_eq(transfer(QUIRE_BIO_READ, 40, page[1]), 0);
	cr_expect_eq(memcmp(page[0], page[1], PAGE_SIZE), 0);
	down();
}

/* 128 KiB go as one request; without tables, in pages of 4 KiB, as two, of 30 and of 2 pieces. */
static void merged(bool no_tables)
{
	unsigned n = (128u << 10) / PAGE_SIZE;

	up_disk(&(struct fake_disk_config){.sectors = SECTORS, .no_tables = no_tables}, 2);
	cr_assert_not_null(dev);
	submit(run_of(0, n, QUIRE_BIO_WRITE, 0));
	wait_for(n);
	cr_expect_eq(fake_disk_counters(0)->writes, no_tables && n > 30 ? 2 : 1);
	for (unsigned i = 0; i < n; i++)
		cr_expect_eq(result[i], 0);
	down();
}

Test(virtio, a_chain_is_merged)
{
	merged(false);
	merged(true);
}

Test(virtio, eight_under_way)
{
	up(3);
	for (unsigned i = 0; i < 8; i++)
		submit(bio(i, QUIRE_BIO_READ, i * 100, PAGE_SIZE));
	cr_expect_eq(fake_disk_counters(0)->under_way, 8);
	wait_for(8);
	cr_expect_geq(stats().most_in_flight, 8);
	down();
}

/* Eight of 30 pieces fill the ring; the ninth waits for a place, and gets it. */
static void count_end(struct quire_bio *b, int err)
{
	cr_expect_eq(err, 0);
	ended++;
	__atomic_fetch_add(&ended_word, 1, __ATOMIC_RELEASE);
}

Test(virtio, a_full_ring)
{
	static struct quire_bio more[9 * 30];

	up_disk(&(struct fake_disk_config){.sectors = SECTORS, .no_tables = true}, 4);
	fake_disk_accident(0, "stall", 1);
	for (unsigned i = 0; i < 9 * 30; i++)
		more[i] = (struct quire_bio){.op = QUIRE_BIO_WRITE, .len = 512, .end_io = count_end,
					     .phys = hal_virt_to_phys(page[i % 2]),
					     .sector = i / 30 * 100 + i % 30,
					     .next = i < 9 * 30 - 1 ? &more[i + 1] : NULL};
	submit(more);
	cr_expect_eq(fake_disk_counters(0)->under_way, 8);
	fake_disk_accident(0, "stall", 0);
	wait_for(9 * 30);
	cr_expect_eq(fake_disk_counters(0)->writes, 9);
	/* and more requests than there are, of one piece */
	fake_disk_accident(0, "stall", 1);
	for (unsigned i = 0; i < BLK_MAX_REQUESTS + 10; i++) {
		more[i].sector = i * 3;
		more[i].next = i < BLK_MAX_REQUESTS + 9 ? &more[i + 1] : NULL;
	}
	submit(more);
	cr_expect_eq(fake_disk_counters(0)->under_way, BLK_MAX_REQUESTS);
	fake_disk_accident(0, "stall", 0);
	wait_for(9 * 30 + BLK_MAX_REQUESTS + 10);
	down();
}

/* More than may be under way: who submits them sleeps until there is room. */
Test(virtio, waiting_for_room)
{
	static struct quire_bio more[1200];

	up(17);
	for (unsigned i = 0; i < 1200; i++)
		more[i] = (struct quire_bio){.op = QUIRE_BIO_WRITE, .len = 512, .end_io = count_end,
					     .phys = hal_virt_to_phys(page[i % 2]), .sector = i * 2,
					     .next = i < 1199 ? &more[i + 1] : NULL};
	cr_expect_eq(dev->ops->submit(dev, more, true), NULL);
	cr_expect(device_waits > 0);
	wait_for(1200);
	cr_expect_eq(fake_disk_counters(0)->writes, 1200);
	down();
}

Test(virtio, a_small_ring)
{
	up_disk(&(struct fake_disk_config){.sectors = SECTORS, .queue_size = 4, .no_tables = true}, 5);
	cr_assert_not_null(dev);
	submit(run_of(0, 20, QUIRE_BIO_WRITE, 0));
	cr_expect_eq(fake_disk_counters(0)->under_way, 1);
	wait_for(20);
	cr_expect_eq(fake_disk_counters(0)->writes, 10, "two pieces each");
	down();
}

Test(virtio, as_many_pieces_as_the_device_says)
{
	up_disk(&(struct fake_disk_config){.sectors = SECTORS, .seg_max = 5}, 6);
	cr_assert_not_null(dev);
	submit(run_of(0, 20, QUIRE_BIO_WRITE, 0));
	wait_for(20);
	cr_expect_eq(fake_disk_counters(0)->writes, 4);
	down();
}

Test(virtio, answers_in_reverse)
{
	up(7);
	fake_disk_accident(0, "reversed", 1);
	for (unsigned i = 0; i < 16; i++) {
		memset(page[i], (int)i + 1, PAGE_SIZE);
		submit(bio(i, QUIRE_BIO_WRITE, i * 2 * PER_PAGE, PAGE_SIZE));
	}
	wait_for(16);
	cr_expect(fake_disk_counters(0)->overtaken > 0);
	for (unsigned i = 0; i < 16; i++) {
		cr_assert_eq(transfer(QUIRE_BIO_READ, i * 2 * PER_PAGE, page[20]), 0);
		cr_expect_eq(page[20][PAGE_SIZE - 1], (char)(i + 1));
	}
	down();
}

Test(virtio, the_nth_request_fails)
{
	up(8);
	cr_assert(fake_disk_accident(0, "fail", 2));
	cr_assert(!fake_disk_accident(0, "fails", 2));
	cr_expect_eq(transfer(QUIRE_BIO_WRITE, 0, page[0]), 0);
	cr_expect_eq(transfer(QUIRE_BIO_WRITE, 0, page[0]), -EIO);
	cr_expect_eq(transfer(QUIRE_BIO_WRITE, 0, page[0]), 0);
	fake_disk_accident(0, "fail-reads", 1);
	cr_expect_eq(transfer(QUIRE_BIO_WRITE, 0, page[0]), 0);
	cr_expect_eq(transfer(QUIRE_BIO_READ, 0, page[0]), -EIO);
	fake_disk_accident(0, "fail-flushes", 1);
	cr_expect_eq(transfer(QUIRE_BIO_FLUSH, 0, NULL), -EIO);
	fake_disk_accident(0, "bad-sector", 100);
	cr_expect_eq(transfer(QUIRE_BIO_READ, 100 - PER_PAGE, page[0]), 0);
	cr_expect_eq(transfer(QUIRE_BIO_READ, 100, page[0]), -EIO);
	cr_expect_eq(transfer(QUIRE_BIO_READ, 101 - PER_PAGE, page[0]), -EIO);
	cr_expect_eq(stats().errors, 5);
	down();
}

/* Whatever is left unsaid is a failure. */
Test(virtio, a_device_that_does_not_answer)
{
	up(9);
	fake_disk_accident(0, "mute", 1);
	cr_expect_eq(transfer(QUIRE_BIO_WRITE, 0, page[0]), -EIO);
	cr_expect_eq(transfer(QUIRE_BIO_WRITE, 0, page[0]), 0);
	down();
}

/* A device that answers what it was not asked is used no more: all that waits fails, once. */
static void lie(const char *how)
{
	up(10);
	fake_disk_accident(0, "reversed", 1); /* all at once, the lie first */
	fake_disk_accident(0, how, 1);
	for (unsigned i = 0; i < 4; i++)
		submit(bio(i, QUIRE_BIO_READ, i * 100, PAGE_SIZE));
	wait_for(4);
	cr_expect_neq(strstr(logged, "vda: the device answers what it was not asked"), NULL);
	cr_expect_eq(transfer(QUIRE_BIO_READ, 0, page[0]), -EIO);
	cr_expect_eq(ended, 4);
	down();
}

Test(virtio, a_lie_about_what_ended)
{
	lie("lie-id");
	for (unsigned i = 0; i < 4; i++)
		cr_expect_eq(result[i], -EIO);
}

Test(virtio, a_lie_about_how_often)
{
	lie("lie-twice");
	cr_expect_eq(result[3], 0);
}

Test(virtio, a_lie_about_how_many)
{
	lie("lie-count");
	for (unsigned i = 0; i < 4; i++)
		cr_expect_eq(result[i], -EIO);
}

Test(virtio, read_only)
{
	up_disk(&(struct fake_disk_config){.sectors = SECTORS, .read_only = true}, 11);
	cr_assert(dev && dev->read_only);
	cr_expect_eq(transfer(QUIRE_BIO_WRITE, 0, page[0]), -EROFS);
	cr_expect_eq(transfer(QUIRE_BIO_READ, 0, page[0]), 0);
	down();
}

/* What no version-1 driver may use, and what makes no sense, is left alone, with a reason. */
Test(virtio, disks_that_are_not_used)
{
	up_disk(&(struct fake_disk_config){.sectors = SECTORS, .old = true}, 12);
	cr_expect_null(dev);
	cr_expect_neq(strstr(logged, "old registers: not used"), NULL);
	down();
	up_disk(&(struct fake_disk_config){.sectors = SECTORS, .queue_size = 2}, 12);
	cr_expect_null(dev);
	cr_expect_neq(strstr(logged, "its queue is too short"), NULL);
	down();
}

Test(virtio, several_disks)
{
	char name[4] = "vda";

	cr_assert_eq(fake_machine_create(&(struct fake_config){.ram = 64 << 20}), 0);
	for (unsigned i = 0; i < 3; i++)
		fake_disk_add(&(struct fake_disk_config){.sectors = 100 + i});
	cr_assert_eq(quire_init(NULL), 0);
	drivers_init();
	for (unsigned i = 0; i < 3; i++) {
		name[2] = (char)('a' + i);
		cr_assert_not_null(blkdev_find(name));
		cr_expect_eq(blkdev_find(name)->sectors, 100 + i);
		cr_expect_eq(blkdev_at(i), blkdev_find(name));
	}
	drivers_exit();
	cr_expect_null(blkdev_find("vda"));
	machine_down();
}

/* The same with tables: four requests, and all their pieces. */
Test(virtio, a_small_ring_with_tables)
{
	up_disk(&(struct fake_disk_config){.sectors = SECTORS, .queue_size = 4}, 5);
	cr_assert_not_null(dev);
	for (unsigned i = 0; i < 6; i++)
		submit(run_of(i * 8, 8, QUIRE_BIO_WRITE, i * 1000));
	cr_expect_eq(fake_disk_counters(0)->under_way, 4);
	wait_for(48);
	cr_expect_eq(fake_disk_counters(0)->writes, 6);
	down();
}

/* Without memory for its queue a disk is not there, and nothing is lost. */
Test(virtio, no_memory)
{
	void *all = NULL, **p;

	cr_assert_eq(fake_machine_create(&(struct fake_config){.ram = 16 << 20, .log = keep_log}), 0);
	fake_disk_add(&(struct fake_disk_config){.sectors = 100});
	cr_assert_eq(quire_init(NULL), 0);
	while ((p = quire_alloc_pages(0, QUIRE_GFP_ATOMIC)) != NULL) {
		*p = all;
		all = p;
	}
	drivers_init();
	cr_expect_null(blkdev_find("vda"));
	for (unsigned given = 0; !blkdev_find("vda"); given++) {
		cr_assert(given < 1000);
		drivers_exit();
		p = all;
		all = *p;
		quire_free_pages(p, 0);
		quire_drain();
		drivers_init();
	}
	drivers_exit();
	while ((p = all) != NULL) {
		all = *p;
		quire_free_pages(p, 0);
	}
	machine_down();
}

/* Freeing memory that a disk still has is an accusation. */
static void accused(enum fake_accusation what, const char *msg, void *ctx)
{
}

Test(virtio, memory_that_is_freed_too_soon)
{
	void *p;

	up(13);
	fake_on_accusation(accused, NULL);
	fake_disk_accident(0, "stall", 1);
	p = page[5];
	submit(bio(5, QUIRE_BIO_READ, 0, PAGE_SIZE));
	cr_expect_eq(fake_accused(FAKE_FREED_DMA), 0);
	quire_free_pages(p, 0);
	quire_drain();
	cr_expect_eq(fake_accused(FAKE_FREED_DMA), 1);
	page[5] = quire_alloc_pages(0, 0);
	fake_disk_accident(0, "stall", 0);
	wait_for(1);
	fake_on_accusation(NULL, NULL);
	down();
}

/* ---- without power --------------------------------------------------------------------------- */

/* What a flush covered is there afterwards; of the rest each sector is the old one or the new. */
Test(virtio, a_power_cut)
{
	static char image[SECTORS * 512];
	unsigned old = 0, new = 0;

	memset(image, 0, sizeof(image));
	up_disk(&(struct fake_disk_config){.sectors = SECTORS, .image = image}, 14);
	for (unsigned i = 0; i < 32; i++)
		memset(page[i], i < 16 ? 1 : 2, PAGE_SIZE);
	submit(run_of(0, 16, QUIRE_BIO_WRITE, 0));
	wait_for(16);
	cr_assert_eq(transfer(QUIRE_BIO_FLUSH, 0, NULL), 0);
	submit(run_of(16, 16, QUIRE_BIO_WRITE, 4000));
	wait_for(32);
	fake_disk_power_cut(0);
	for (unsigned s = 0; s < 16 * PER_PAGE; s++) {
		cr_assert_eq(image[s * 512], 1);
		old += image[(4000 + s) * 512] == 0;
		new += image[(4000 + s) * 512] == 2;
	}
	cr_expect_eq(old + new, 16 * PER_PAGE);
	cr_expect(old && new);
	down();
	/* another machine finds what was left */
	up_disk(&(struct fake_disk_config){.sectors = SECTORS, .image = image}, 15);
	cr_assert_eq(transfer(QUIRE_BIO_READ, 0, page[0]), 0);
	cr_expect_eq(page[0][77], 1);
	down();
}

Test(virtio, a_torn_write)
{
	up(16);
	memset(page[0], 9, PAGE_SIZE);
	fake_disk_accident(0, "tear", 1);
	cr_expect_eq(transfer(QUIRE_BIO_WRITE, 0, page[0]), -EIO);
	fake_disk_peek(0, 0, page[1], PER_PAGE);
	cr_expect_eq(page[1][0], 9);
	cr_expect_eq(page[1][PAGE_SIZE / 2 - 1], 9);
	cr_expect_eq(page[1][PAGE_SIZE / 2], 0);
	down();
}

/* ---- at random ------------------------------------------------------------------------------- */

/* Requests of all lengths at random, several chains under way, failures and reversals between them:
 * what is read is what was written last and did not fail. */
Test(virtio, at_random, .timeout = 100)
{
	static uint8_t model[SECTORS / 8], uncertain[SECTORS / 8];

	for (uint64_t seed = 1; seed <= 30; seed++) {
		struct rand_state r;

		rand_seed(&r, seed);
		memset(model, 0, sizeof(model));
		memset(uncertain, 0, sizeof(uncertain));
		up_disk(&(struct fake_disk_config){.sectors = SECTORS, .no_tables = seed % 3 == 0}, seed);
		fake_disk_accident(0, "reversed", seed % 2);
		for (unsigned round = 0; round < 60; round++) {
			unsigned at = rand_u64(&r) % (SECTORS / PER_PAGE - NBIO);
			unsigned n = 1 + rand_u64(&r) % (NBIO - 1);
			enum quire_bio_op op = rand_u64(&r) % 2 ? QUIRE_BIO_WRITE : QUIRE_BIO_READ;

			if (rand_u64(&r) % 4 == 0)
				fake_disk_accident(0, "fail", 1 + rand_u64(&r) % 3);
			for (unsigned i = 0; i < n; i++)
				memset(page[i], op == QUIRE_BIO_WRITE ? (int)(round + 1) : 0xee, PAGE_SIZE);
			ended = 0;
			submit(run_of(0, n, op, (uint64_t)at * PER_PAGE));
			wait_for(n);
			for (unsigned i = 0; i < n; i++) {
				if (op == QUIRE_BIO_READ && !result[i] && !uncertain[at + i]) {
					cr_assert_eq((uint8_t)page[i][0], model[at + i]);
					cr_assert_eq((uint8_t)page[i][PAGE_SIZE - 1], model[at + i]);
				}
				if (op == QUIRE_BIO_WRITE && !result[i]) {
					model[at + i] = (uint8_t)(round + 1);
					uncertain[at + i] = 0;
				}
			}
		}
		cr_expect(stats().errors > 0);
		cr_expect_eq(stats().in_flight, 0);
		down();
	}
}
