/* SPDX-License-Identifier: MIT */
/*
 * The request layer with several CPUs at once, under the thread sanitizer: three submit, chains and
 * single transfers, each to a part of a disk of its own; the fourth is the disk, and ends what it has
 * in any order. What was written is read back; a flush ends when nothing from before it is under way.
 *
 * usage: disks [ROUNDS]; TAP on standard output.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/host/host.h"
#include "drivers/block.h"
#include "drivers/ramdisk.h"
#include <quire/os.h>
#include <quire/quire.h>

#define SUBMITTERS 3
#define PAGES	   40 /* of a chain, at most */
#define PART	   256 /* pages of the disk, of each submitter */
#define SECTORS	   (SUBMITTERS * PART * 8u)

#define CHECK(cond)                                                                 \
	do {                                                                        \
		if (!(cond)) {                                                      \
			printf("not ok - %s:%d: %s\n", __FILE__, __LINE__, #cond);  \
			exit(1);                                                    \
		}                                                                   \
	} while (0)

static unsigned rounds;

/* ---- the disk -------------------------------------------------------------------------------- */

static struct blk_queue q;
static unsigned char contents[SECTORS * 512];
static struct blk_request *at_disk[BLK_MAX_REQUESTS]; /* q.lock */
static unsigned nat_disk;
static uint32_t kicks; /* atomic */
static bool over;      /* atomic */

static bool start(struct blk_queue *queue, struct blk_request *rq)
{
	if (nat_disk == 12)
		return false;
	CHECK(rq->op != QUIRE_BIO_FLUSH || !nat_disk);
	at_disk[nat_disk++] = rq;
	return true;
}

static void kick(struct blk_queue *queue)
{
	__atomic_fetch_add(&kicks, 1, __ATOMIC_RELEASE);
	os_wake(&kicks, 1);
}

static const struct blk_driver disk = {start, kick};

static void carry_out(const struct blk_request *rq)
{
	unsigned char *at = contents + rq->sector * 512;
	struct quire_bio *bio = rq->bios;

	while (bio && rq->op != QUIRE_BIO_FLUSH) {
		struct blk_segment s = blk_next_segment(&bio);

		if (rq->op == QUIRE_BIO_READ)
			memcpy(hal_phys_to_virt(s.phys), at, s.len);
		else
			memcpy(at, hal_phys_to_virt(s.phys), s.len);
		at += s.len;
	}
}

static void *disk_main(void *arg)
{
	uint64_t x = 88172645463325252ull;

	host_cpu_enter(SUBMITTERS);
	while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE)) {
		uint32_t seen = __atomic_load_n(&kicks, __ATOMIC_ACQUIRE);
		irqflags_t flags = blk_lock(&q);
		struct blk_request *rq = NULL;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		if (nat_disk) {
			unsigned i = x % nat_disk;

			rq = at_disk[i];
			at_disk[i] = at_disk[--nat_disk];
		}
		blk_unlock(&q, flags);
		if (!rq) {
			os_wait(&kicks, &kicks, seen);
			continue;
		}
		carry_out(rq); /* the request is ours */
		flags = blk_lock(&q);
		blk_request_done(&q, rq, 0);
		blk_unlock(&q, flags);
	}
	host_cpu_leave();
	return NULL;
}

/* ---- who submits ------------------------------------------------------------------------------ */

struct submitter {
	pthread_t thread;
	unsigned id;
	uint64_t x;
	unsigned char value[PART];
	unsigned char *page[PAGES];
	struct quire_bio bio[PAGES];
	uint32_t left; /* atomic */
};

static unsigned rnd(struct submitter *s, unsigned n)
{
	s->x ^= s->x << 13;
	s->x ^= s->x >> 7;
	s->x ^= s->x << 17;
	return (unsigned)((s->x >> 16) % n);
}

static void ended(struct quire_bio *bio, int err)
{
	struct submitter *s = bio->owner;

	CHECK(!err);
	if (!__atomic_sub_fetch(&s->left, 1, __ATOMIC_ACQ_REL))
		os_wake(s, 1);
}

static void chain(struct submitter *s, struct quire_blkdev *dev, enum quire_bio_op op, unsigned at,
		  unsigned n)
{
	uint32_t left;

	s->left = n;
	for (unsigned i = 0; i < n; i++)
		s->bio[i] = (struct quire_bio){.op = op, .sector = (s->id * PART + at + i) * 8, .len = 4096,
					       .phys = hal_virt_to_phys(s->page[i]), .end_io = ended,
					       .owner = s, .next = i + 1 < n ? &s->bio[i + 1] : NULL};
	(void)dev->ops->submit(dev, s->bio, true);
	while ((left = __atomic_load_n(&s->left, __ATOMIC_ACQUIRE)) != 0)
		os_wait(s, &s->left, left);
}

static void one_round(struct submitter *s, struct quire_blkdev *dev)
{
	unsigned n = 1 + rnd(s, PAGES), at = rnd(s, PART - n), v = 1 + rnd(s, 255);

	if (rnd(s, 8) == 0) {
		CHECK(!blkdev_transfer(dev, QUIRE_BIO_FLUSH, 0, 0, 0));
	} else if (rnd(s, 2)) {
		for (unsigned i = 0; i < n; i++)
			memset(s->page[i], s->value[at + i] = (unsigned char)(v + i), 4096);
		chain(s, dev, QUIRE_BIO_WRITE, at, n);
	} else {
		chain(s, dev, QUIRE_BIO_READ, at, n);
		for (unsigned i = 0; i < n; i++)
			CHECK(s->page[i][0] == s->value[at + i] && s->page[i][4095] == s->value[at + i]);
	}
}

static struct quire_blkdev *tried;

static void *submit_main(void *arg)
{
	struct submitter *s = arg;

	host_cpu_enter(s->id);
	for (unsigned i = 0; i < PAGES; i++)
		CHECK((s->page[i] = quire_alloc_pages(0, QUIRE_GFP_ZERO)) != NULL);
	for (unsigned i = 0; i < rounds; i++)
		one_round(s, tried);
	for (unsigned i = 0; i < PAGES; i++)
		quire_free_pages(s->page[i], 0);
	host_cpu_leave();
	return NULL;
}

static void try_disk(unsigned n, const char *name, struct quire_blkdev *dev)
{
	static struct submitter s[SUBMITTERS];
	pthread_t device;

	tried = dev;
	over = false;
	host_cpu_leave();
	pthread_create(&device, NULL, disk_main, NULL);
	memset(s, 0, sizeof(s));
	for (unsigned i = 0; i < SUBMITTERS; i++) {
		s[i].id = i;
		s[i].x = 0x9e3779b97f4a7c15ull * (i + 1);
		pthread_create(&s[i].thread, NULL, submit_main, &s[i]);
	}
	for (unsigned i = 0; i < SUBMITTERS; i++)
		pthread_join(s[i].thread, NULL);
	__atomic_store_n(&over, true, __ATOMIC_RELEASE);
	__atomic_fetch_add(&kicks, 1, __ATOMIC_RELEASE);
	os_wake(&kicks, 1);
	pthread_join(device, NULL);
	host_cpu_enter(0);
	printf("ok %u - %s\n", n, name);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct quire_blkdev *ram;
	struct blk_stats st;

	rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 400;
	printf("1..2\n");
	CHECK(!host_machine_create(64ull << 20, SUBMITTERS + 1));
	CHECK(!quire_init(&(struct quire_config){0}));
	q.dev.name = "disk";
	q.dev.sectors = SECTORS;
	blk_queue_init(&q, &disk, &(struct blk_limits){.requests = 16, .segments = 8, .segment_len = 4096,
						       .cache = true});
	CHECK(!blkdev_add(&q.dev, &q.stats, &q.lock));
	try_disk(1, "a disk", &q.dev);
	blkdev_stats(0, &st);
	printf("# %llu reads, %llu writes, %llu merged, %u at once\n",
	       (unsigned long long)st.ios[QUIRE_BIO_READ], (unsigned long long)st.ios[QUIRE_BIO_WRITE],
	       (unsigned long long)(st.merges[QUIRE_BIO_READ] + st.merges[QUIRE_BIO_WRITE]),
	       st.most_in_flight);
	CHECK(!st.in_flight && !q.taken && st.most_in_flight > 1);
	ram = ramdisk_create(0, SECTORS * 512ull);
	CHECK(ram);
	try_disk(2, "a RAM disk", ram);
	blkdev_forget_all();
	ramdisk_destroy(ram);
	CHECK(!quire_exit());
	host_machine_destroy();
	return 0;
}
