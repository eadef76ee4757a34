/* SPDX-License-Identifier: MIT */
/*
 * Block devices, as the core and the drivers see them: what a device offers, and one transfer. A
 * kernel plugs its own disk in by filling a struct quire_blkdev and handing it to quire_swapon().
 *
 * After Linux' struct bio and struct gendisk, with only what is needed here. docs/block.md.
 */
#ifndef QUIRE_BLOCK_H
#define QUIRE_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QUIRE_SECTOR_SHIFT 9 /* positions and sizes are in units of 512 bytes */

enum quire_bio_op {
	QUIRE_BIO_READ,
	QUIRE_BIO_WRITE,
	QUIRE_BIO_FLUSH, /* what was submitted before is durable when it completes; no data */
	QUIRE_BIO_OPS
};

/*
 * One transfer of up to a page that is contiguous on the device and in memory. From submit to end_io
 * the structure and the memory are the driver's: the submitter changes neither (and reads what a
 * READ fills only afterwards). Two transfers of the same sectors that are under way at once have no
 * order, unless both lie on their side of a flush.
 */
struct quire_bio {
	enum quire_bio_op op;
	uint64_t sector;	/* first sector on the device */
	uint64_t phys;		/* physical address of the data */
	uint32_t len;		/* bytes, a multiple of 512; 0 for a flush */
	/* Called exactly once, err 0 or -errno: -EIO (the device failed, or it is past its end),
	 * -EROFS, -EINVAL (no multiple of 512). Interrupts are off and no lock of the driver is held:
	 * takes no sleeping lock, submits nothing. The bio may be reused or freed in it. From an
	 * interrupt, or from submit itself. */
	void (*end_io)(struct quire_bio *bio, int err);
	void *owner;		/* the submitter's */
	struct quire_bio *next;	/* links a chain for submit; then the driver's, until end_io */
};

struct quire_blkdev;

struct quire_blkdev_ops {
	/* Takes a chain of transfers (linked by next, the last one's is NULL) and starts them.
	 * Neighbours of a chain that follow each other on the device become one request, so what
	 * belongs together is submitted together. Errors come by end_io. With `wait` everything is
	 * taken, and it sleeps while more than queue_depth are under way; without, it returns what
	 * it had no room for (NULL: all are taken). Context: sleep if wait, else any, no lock of a
	 * rank above the core's held. It allocates nothing. */
	struct quire_bio *(*submit)(struct quire_blkdev *dev, struct quire_bio *chain, bool wait);
};

struct quire_blkdev {
	const char *name;	/* as /proc/partitions has it: "vda", "ram0" */
	uint64_t sectors;	/* size */
	bool read_only;
	bool rotational;	/* neighbours are worth a seek: readahead in clusters */
	bool in_memory;		/* nothing but a size: what swaps to it stays in memory, compressed
				 * (docs/zswap.md). The core submits nothing to it */
	bool file;		/* blocks of a file: /proc/swaps says so */
	unsigned queue_depth;	/* transfers that may be under way */
	const struct quire_blkdev_ops *ops;
	void *driver;		/* the driver's */
};

#endif
