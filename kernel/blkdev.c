/* SPDX-License-Identifier: MIT */
/*
 * Block devices as files: /dev/vda, /dev/ram0. Reads and writes go to the device and come back before
 * the call does, through bounce pages of the kernel's: there is no cache in between, so what write()
 * took is on the device (though maybe in its own cache, until fsync()). Several transfers of one call
 * are under way together.
 *
 * A write that begins or ends inside a sector reads that sector first. Two such writes to one sector
 * wait for each other (edge_mutex); one beside a write of the whole sector has no order, as on Linux
 * without its cache.
 */
#include "kernel.h"

#include "drivers/block.h"
#include "drivers/drivers.h"
#include "drivers/ramdisk.h"
#include "drivers/zram.h"
#include <quire/os.h>

#define SECTOR	    (1u << QUIRE_SECTOR_SHIFT)
#define BATCH_PAGES 256 /* of one call, under way together */

/* Linux's numbers; a virtio disk has room for 16 partitions. */
#define MAJOR_RAM    1u
#define MAJOR_ZRAM   252u
#define MAJOR_VIRTIO 254u

static DEFINE_MUTEX(edge_mutex);

static struct quire_blkdev *dev_of(const struct open_file *f)
{
	return f->v->priv;
}

static uint64_t size_of(const struct quire_blkdev *dev)
{
	return dev->sectors << QUIRE_SECTOR_SHIFT;
}

/* ---- many transfers, waited for -------------------------------------------------------------- */

struct batch {
	uint32_t left; /* transfers under way; atomic */
	int err;       /* of any of them; atomic */
	unsigned npages;
	char *page[BATCH_PAGES];
	struct quire_bio bio[BATCH_PAGES];
};

/* The last touch is the count's: who waits for it may free the batch then. The key is an address. */
static void batch_end(struct quire_bio *bio, int err)
{
	struct batch *b = bio->owner;

	if (err)
		WRITE_ONCE(b->err, err);
	if (!__atomic_sub_fetch(&b->left, 1, __ATOMIC_ACQ_REL))
		os_wake(b, 1);
}

/* As many pages as can be had for n bytes, at least one; NULL: there is not even that. */
static struct batch *batch_alloc(uint64_t n)
{
	struct batch *b = quire_kmalloc(sizeof(*b), 0);
	unsigned want = (unsigned)min((n + PAGE_SIZE - 1) / PAGE_SIZE, (uint64_t)BATCH_PAGES);

	if (!b)
		return NULL;
	b->npages = 0;
	while (b->npages < want &&
	       (b->page[b->npages] = quire_alloc_pages(0, b->npages ? QUIRE_GFP_ATOMIC : 0)) != NULL)
		b->npages++;
	if (b->npages)
		return b;
	quire_kfree(b);
	return NULL;
}

static void batch_free(struct batch *b)
{
	while (b->npages)
		quire_free_pages(b->page[--b->npages], 0);
	quire_kfree(b);
}

/* Moves n bytes (whole sectors, not more than the pages hold) between the device and the pages. */
static int batch_transfer(struct batch *b, struct quire_blkdev *dev, enum quire_bio_op op,
			  uint64_t sector, uint32_t n)
{
	unsigned bios = (unsigned)((n + PAGE_SIZE - 1) / PAGE_SIZE);
	uint32_t left;

	b->left = bios;
	b->err = 0;
	for (unsigned i = 0; i < bios; i++) {
		uint32_t len = (uint32_t)min((uint64_t)n, (uint64_t)PAGE_SIZE);

		b->bio[i] = (struct quire_bio){.op = op, .sector = sector, .len = len,
					       .phys = hal_virt_to_phys(b->page[i]),
					       .end_io = batch_end, .owner = b,
					       .next = i + 1 < bios ? &b->bio[i + 1] : NULL};
		sector += len >> QUIRE_SECTOR_SHIFT;
		n -= len;
	}
	(void)dev->ops->submit(dev, b->bio, true);
	while ((left = __atomic_load_n(&b->left, __ATOMIC_ACQUIRE)) != 0)
		os_wait(b, &b->left, left);
	return READ_ONCE(b->err);
}

/* ---- pieces of a call ------------------------------------------------------------------------ */

/* Copies between the user and the pages, from byte off of the first page on; bytes that were moved. */
static size_t batch_copy(struct batch *b, size_t off, uintptr_t buf, size_t n, bool to_user)
{
	size_t done = 0;

	while (done < n) {
		char *p = b->page[(off + done) / PAGE_SIZE] + (off + done) % PAGE_SIZE;
		size_t part = min(n - done, PAGE_SIZE - (off + done) % PAGE_SIZE);
		size_t left = to_user ? hal_copy_to_user(buf + done, p, part)
				      : hal_copy_from_user(p, buf + done, part);

		done += part - left;
		if (left)
			break;
	}
	return done;
}

/* Brings what of the sector at byte `at` of the batch lies before `from` or from `to` on. edge_mutex
 * is held up to the write. */
static int fill_edge(struct batch *b, struct quire_blkdev *dev, uint64_t sector, size_t at,
		     size_t from, size_t to, char *bounce)
{
	char *p = b->page[at / PAGE_SIZE] + at % PAGE_SIZE;
	int err = blkdev_transfer(dev, QUIRE_BIO_READ, sector, hal_virt_to_phys(bounce), SECTOR);

	if (err)
		return err;
	memcpy(p, bounce, from);
	memcpy(p + to, bounce + to, SECTOR - to);
	return 0;
}

/* Writes n bytes that begin at byte off of the batch's first sector. */
static int write_edges(struct batch *b, struct quire_blkdev *dev, uint64_t sector, size_t off, size_t n)
{
	size_t end = off + n, whole = ALIGN_UP(end, (size_t)SECTOR);
	char *bounce = quire_alloc_pages(0, 0);
	int err = 0;

	if (!bounce)
		return -ENOMEM;
	mutex_lock(&edge_mutex);
	if (off)
		err = fill_edge(b, dev, sector, 0, off, min(end, (size_t)SECTOR), bounce);
	if (!err && end % SECTOR && (end > SECTOR || !off))
		err = fill_edge(b, dev, sector + (end >> QUIRE_SECTOR_SHIFT),
				ALIGN_DOWN(end, (size_t)SECTOR), 0, end % SECTOR, bounce);
	if (!err)
		err = batch_transfer(b, dev, QUIRE_BIO_WRITE, sector, (uint32_t)whole);
	mutex_unlock(&edge_mutex);
	quire_free_pages(bounce, 0);
	return err;
}

/* One batch's worth of a call: bytes moved, or -errno. */
static long move_piece(struct batch *b, struct quire_blkdev *dev, uint64_t at, uintptr_t buf, size_t n,
		       bool write)
{
	size_t off = at % SECTOR, moved;
	uint64_t sector = at >> QUIRE_SECTOR_SHIFT;
	int err;

	n = min(n, b->npages * PAGE_SIZE - off);
	if (!write) {
		err = batch_transfer(b, dev, QUIRE_BIO_READ, sector,
				     (uint32_t)ALIGN_UP(off + n, (size_t)SECTOR));
		moved = err ? 0 : batch_copy(b, off, buf, n, true);
		return moved ? (long)moved : err ? err : -EFAULT;
	}
	moved = batch_copy(b, off, buf, n, false);
	if (!moved)
		return -EFAULT;
	err = off || moved % SECTOR ? write_edges(b, dev, sector, off, moved)
				    : batch_transfer(b, dev, QUIRE_BIO_WRITE, sector, (uint32_t)moved);
	return err ? err : (long)moved;
}

/* The bytes of r until something goes wrong; that, if nothing was moved before. */
static long move_range(struct quire_blkdev *dev, const struct range *r, uintptr_t buf, bool write)
{
	struct batch *b = batch_alloc(r->start % SECTOR + r->n);
	size_t done = 0;
	long n = 0;

	if (!b)
		return -ENOMEM;
	while (done < r->n) {
		n = move_piece(b, dev, r->start + done, buf + done, r->n - done, write);
		if (n < 0)
			break;
		done += (size_t)n;
		if (fatal_signal_pending(current))
			break;
	}
	batch_free(b);
	return done ? (long)done : n;
}

/* ---- the file -------------------------------------------------------------------------------- */

/* O_DIRECT asks for whole sectors, of memory too. What is moved goes past any cache with and without it. */
static bool aligned(struct open_file *f, uintptr_t buf, size_t n, const uint64_t *pos)
{
	return !(file_flags(f) & O_DIRECT) || !n || !((pos_get(f, pos) | buf | n) % SECTOR);
}

static long block_read(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	struct range r;
	long done;

	if (!aligned(f, buf, n, pos))
		return -EINVAL;
	r = pos_take(f, pos, n, size_of(dev_of(f)));
	done = r.n ? move_range(dev_of(f), &r, buf, false) : 0;
	pos_done(f, pos, &r, done);
	return done;
}

static int flush(struct quire_blkdev *dev)
{
	return blkdev_transfer(dev, QUIRE_BIO_FLUSH, 0, 0, 0);
}

static long block_write(struct open_file *f, uintptr_t buf, size_t n, uint64_t *pos)
{
	struct range r;
	long done;
	int err;

	if (dev_of(f)->read_only)
		return -EPERM;
	if (!aligned(f, buf, n, pos))
		return -EINVAL;
	r = pos_take(f, pos, n, size_of(dev_of(f)));
	if (n && !r.n)
		return -ENOSPC;
	done = r.n ? move_range(dev_of(f), &r, buf, true) : 0;
	pos_done(f, pos, &r, done);
	err = done > 0 && file_flags(f) & O_DSYNC ? flush(dev_of(f)) : 0;
	return err ? err : done;
}

static long block_ioctl(struct open_file *f, unsigned cmd, unsigned long arg)
{
	struct quire_blkdev *dev = dev_of(f);
	uint64_t bytes = size_of(dev), sectors = dev->sectors;
	int sector = SECTOR, ro = dev->read_only;

	switch (cmd) {
	case BLKGETSIZE64:
		return COPY_OUT(arg, bytes);
	case BLKGETSIZE:
		return COPY_OUT(arg, sectors);
	case BLKSSZGET:
		return COPY_OUT(arg, sector);
	case BLKROGET:
		return COPY_OUT(arg, ro);
	case BLKFLSBUF:
		return capable(CAP_SYS_ADMIN) ? flush(dev) : -EACCES;
	default:
		return -ENOTTY;
	}
}

static const struct file_ops block_ops = {.read = block_read, .write = block_write,
					  .ioctl = block_ioctl};

struct quire_blkdev *blkdev_of(const struct vnode *v)
{
	return v->fops == &block_ops ? v->priv : NULL;
}

uint64_t blkdev_file_size(const struct vnode *v)
{
	struct quire_blkdev *dev = blkdev_of(v);

	return dev ? size_of(dev) : 0;
}

int blkdev_file_sync(const struct vnode *v)
{
	struct quire_blkdev *dev = blkdev_of(v);

	return dev ? flush(dev) : 0;
}

/* ---- start and end --------------------------------------------------------------------------- */

static unsigned rdev_of(const struct quire_blkdev *dev)
{
	if (!strncmp(dev->name, "ram", 3))
		return MAJOR_RAM << 8 | (unsigned)(dev->name[3] - '0');
	if (!strncmp(dev->name, "zram", 4))
		return MAJOR_ZRAM << 8 | (unsigned)(dev->name[4] - '0');
	return MAJOR_VIRTIO << 8 | (unsigned)(dev->name[2] - 'a') << 4;
}

static struct quire_blkdev *ramdisk, *zram;

static int add_node(struct vnode *dir, struct quire_blkdev *dev)
{
	struct vnode *v = vnode_new(S_IFBLK | 0660);
	int err = -ENOMEM;

	if (v) {
		v->fops = &block_ops;
		v->priv = dev;
		v->rdev = rdev_of(dev);
		dir_unlink(dir, dev->name); /* a node of the initramfs has no device behind it */
		err = dir_add(dir, dev->name, v);
	}
	vnode_put(v);
	return err;
}

int blkdevs_init(void)
{
	struct quire_blkdev *dev;
	struct vnode *dir;
	int err = 0;

	drivers_init();
	if (options.ramdisk) {
		ramdisk = ramdisk_create(0, options.ramdisk);
		if (!ramdisk)
			klog("no memory for a RAM disk of %llu bytes",
			     (unsigned long long)options.ramdisk);
	}
	if (options.zram) {
		zram = zram_create(0, options.zram);
		if (!zram)
			klog("no memory for zram0");
	}
	if (!blkdev_at(0))
		return 0;
	dir = mkdir_path("/dev");
	if (!dir)
		return -ENOMEM;
	for (unsigned i = 0; (dev = blkdev_at(i)) != NULL && !err; i++) {
		klog("%s: %llu sectors of 512 bytes%s", dev->name, (unsigned long long)dev->sectors,
		     dev->read_only ? ", read-only" : "");
		err = add_node(dir, dev);
	}
	vnode_put(dir);
	return err;
}

void swap_on_at_boot(void)
{
	const char *path = options.swap, *name = strrchr(path, '/');
	struct quire_blkdev *dev = blkdev_find(name ? name + 1 : path);
	int err = -ENODEV;

	if (!path[0])
		return;
	if (dev)
		err = quire_swapon(dev, path, 0);
	if (err)
		klog("cannot swap to %s: error %d", path, -err);
	options.swap[0] = '\0'; /* the monitor starts programs later */
}

/* What kernel threads have under way ends by itself. */
void blkdevs_exit(void)
{
	drivers_quiet();
	while (blkdevs_busy()) {
		hal_irq_disable();
		hal_idle();
		hal_irq_enable();
	}
	drivers_exit();
	if (ramdisk)
		ramdisk_destroy(ramdisk);
	ramdisk = NULL;
	if (zram)
		zram_destroy(zram);
	zram = NULL;
}

bool blkdevs_busy(void)
{
	struct blk_stats s;

	for (unsigned i = 0; blkdev_at(i); i++) {
		blkdev_stats(i, &s);
		if (s.in_flight)
			return true;
	}
	return false;
}

/* ---- what /proc shows ------------------------------------------------------------------------ */

void show_partitions(quire_emit_fn emit, void *ctx)
{
	struct quire_blkdev *dev;

	if (blkdev_at(0))
		emitf(emit, ctx, "major minor  #blocks  name\n\n");
	for (unsigned i = 0; (dev = blkdev_at(i)) != NULL; i++)
		emitf(emit, ctx, "%4u  %7u %10llu %s\n", rdev_of(dev) >> 8, rdev_of(dev) & 0xff,
		      (unsigned long long)(dev->sectors >> 1), dev->name);
}

void show_block_counters(quire_emit_fn emit, void *ctx)
{
	static const char *const ops[QUIRE_BIO_OPS] = {"read", "write", "flush"};
	struct quire_blkdev *dev;
	struct blk_stats s;

	for (unsigned i = 0; (dev = blkdev_at(i)) != NULL; i++) {
		blkdev_stats(i, &s);
		emitf(emit, ctx, "%s in_flight %u most %u errors %llu\n", dev->name, s.in_flight,
		      s.most_in_flight, (unsigned long long)s.errors);
		for (unsigned op = 0; op < QUIRE_BIO_OPS; op++)
			emitf(emit, ctx, "%s %s requests %llu merged %llu sectors %llu largest %u\n",
			      dev->name, ops[op], (unsigned long long)s.ios[op],
			      (unsigned long long)s.merges[op], (unsigned long long)s.sectors[op],
			      s.largest[op]);
	}
}
