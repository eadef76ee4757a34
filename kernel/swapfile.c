/* SPDX-License-Identifier: MIT */
/*
 * Files to swap to. When one is taken into use, where each of its pages lies is asked of its file system once;
 * from then on it is a device of its own for the core, whose transfers go on to the disk with other sectors: no
 * file system is entered while memory is short, and nothing is allocated.
 *
 * As in 5.10 a slot is a page whose blocks lie together on the disk, and on a boundary of a page; what of the
 * file does not is left out. A hole is refused. Slot 0 is never used for pages: reading it gives the header, as
 * the page cache has it.
 *
 * While it is in use the file has to stay where it is. Two steps, so that nothing which began before is written
 * behind our back: first nobody can make its pages dirty any more, and what is dirty is written; then nothing
 * of it is written back at all.
 */
#include "kernel.h"
#include "kernel/mount.h"
#include "kernel/swapfile.h"
#include "lib/mutex.h"
#include <quire/block.h>

#define SECTOR_BITS	 9
#define SECTORS_PER_PAGE (PAGE_SIZE >> SECTOR_BITS)
#define FIRST_EXTENTS	 16u
#define AT_VERSION	 1024u /* the header of mkswap: its words */
#define AT_LAST_PAGE	 1028u
#define SIGNATURE	 "SWAPSPACE2"

/* Pages of the file that follow each other on the disk. */
struct extent {
	uint64_t slot, sector, pages;
};

/* Constant while it is in use, but for file and v. */
struct swap_file {
	struct list_head link;	 /* swapfile_mutex */
	struct quire_blkdev dev; /* what the core sees */
	struct quire_blkdev *disk;
	struct open_file *file;	 /* NULL: let go of at the end; swapfile_mutex */
	struct vnode *v;	 /* file's */
	struct extent *extents;
	unsigned nr_extents, room;
	uint64_t slots;
	char *header;		 /* a page */
	char name[QUIRE_SWAP_PATH];
};

static DEFINE_MUTEX(swapfile_mutex);
static struct list_head swap_files = LIST_HEAD_INIT(swap_files);

/* ---- transfers ---------------------------------------------------------------------------------- */

static struct swap_file *file_of(struct quire_blkdev *dev)
{
	return container_of(dev, struct swap_file, dev);
}

/* The last extent that begins at or before the slot. */
static const struct extent *find_extent(const struct swap_file *sf, uint64_t slot)
{
	unsigned low = 0, high = sf->nr_extents;

	ASSERT(slot < sf->slots);
	while (high - low > 1) {
		unsigned mid = low + (high - low) / 2;

		if (sf->extents[mid].slot <= slot)
			low = mid;
		else
			high = mid;
	}
	return &sf->extents[low];
}

static void read_header(const struct swap_file *sf, struct quire_bio *bio)
{
	irqflags_t flags;

	ASSERT(bio->op == QUIRE_BIO_READ && bio->len == PAGE_SIZE && !bio->next);
	memcpy(hal_phys_to_virt(bio->phys), sf->header, PAGE_SIZE);
	flags = hal_irq_save();
	bio->end_io(bio, 0);
	hal_irq_restore(flags);
}

/* Swap always waits, so nothing comes back to be submitted again. */
static struct quire_bio *submit(struct quire_blkdev *dev, struct quire_bio *chain, bool wait)
{
	const struct swap_file *sf = file_of(dev);

	ASSERT(wait);
	if (!chain->sector) {
		read_header(sf, chain);
		return NULL;
	}
	for (struct quire_bio *bio = chain; bio; bio = bio->next) {
		uint64_t slot = bio->sector / SECTORS_PER_PAGE;
		const struct extent *e = find_extent(sf, slot);

		bio->sector = e->sector + (slot - e->slot) * SECTORS_PER_PAGE;
	}
	return sf->disk->ops->submit(sf->disk, chain, true);
}

static const struct quire_blkdev_ops swap_file_ops = {.submit = submit};

/* ---- where its pages lie ------------------------------------------------------------------------ */

static int add_page(struct swap_file *sf, uint64_t sector)
{
	struct extent *last = sf->nr_extents ? &sf->extents[sf->nr_extents - 1] : NULL, *more;

	if (last && last->sector + last->pages * SECTORS_PER_PAGE == sector) {
		last->pages++;
		sf->slots++;
		return 0;
	}
	if (sf->nr_extents == sf->room) {
		unsigned room = sf->room ? sf->room * 2 : FIRST_EXTENTS;

		more = quire_kmalloc(room * sizeof(*more), QUIRE_GFP_KERNEL);
		if (!more)
			return -ENOMEM;
		if (sf->extents)
			memcpy(more, sf->extents, sf->nr_extents * sizeof(*more));
		quire_kfree(sf->extents);
		sf->extents = more;
		sf->room = room;
	}
	sf->extents[sf->nr_extents++] = (struct extent){.slot = sf->slots++, .sector = sector, .pages = 1};
	return 0;
}

/* The sectors of n blocks from the given one on, if they lie together on a page's boundary: 1, and the first; 0:
 * they do not. A hole is -EINVAL. */
static int page_at(struct vnode *v, uint64_t block, unsigned n, uint64_t *first)
{
	unsigned bits = SECTOR_BITS;
	uint64_t sector;
	int err;

	for (unsigned i = 0; i < n; i++) {
		err = v->mnt->ops->bmap(v, block + i, &sector, &bits);
		if (err)
			return err;
		if (!sector)
			return -EINVAL;
		if (!i)
			*first = sector;
		if (*first % SECTORS_PER_PAGE || sector != *first + ((uint64_t)i << (bits - SECTOR_BITS)))
			return 0;
	}
	return 1;
}

static int map_pages(struct swap_file *sf)
{
	uint64_t size = quire_inode_size(sf->v->contents), sector, block = 0;
	unsigned bits, n;
	int r = sf->v->mnt->ops->bmap(sf->v, 0, &sector, &bits);

	if (r)
		return r;
	n = (unsigned)(PAGE_SIZE >> bits);
	while (block + n <= size >> bits) {
		r = page_at(sf->v, block, n, &sector);
		if (r == 1)
			r = add_page(sf, sector) ? -ENOMEM : 1;
		if (r == -EINVAL)
			klog("swapon: swapfile has holes");
		if (r < 0)
			return r;
		block += r ? n : 1;
	}
	return 0;
}

/* ---- on and off --------------------------------------------------------------------------------- */

static void free_swap_file(struct swap_file *sf)
{
	if (!sf)
		return;
	if (sf->v && READ_ONCE(sf->v->swapfile)) {
		/* What the page cache has is older than what lies on the disk, which is nobody's. */
		(void)quire_inode_invalidate(sf->v->contents);
		WRITE_ONCE(sf->v->swapfile, SWAPFILE_OFF);
	}
	if (sf->file)
		file_put(sf->file);
	quire_kfree(sf->extents);
	quire_kfree(sf->header);
	quire_kfree(sf);
}

/* From here on the file is ours. */
static int hold_still(struct swap_file *sf)
{
	struct quire_inode *inode = sf->v->contents;
	struct quire_file *qf = file_mapping(sf->file);
	int err;

	if (!qf)
		return -ENOMEM;
	WRITE_ONCE(sf->v->swapfile, SWAPFILE_STILL);
	/* Writers that did not see that hold the file's lock: they are through when we have had it. */
	err = quire_inode_truncate(inode, quire_inode_size(inode));
	if (!err)
		err = quire_file_sync(qf, 0, UINT64_MAX, false);
	if (!err)
		WRITE_ONCE(sf->v->swapfile, SWAPFILE_ON);
	return err;
}

/* The header, cut to what of the file can be used; without a signature the core says what is wrong. */
static int prepare(struct swap_file *sf)
{
	uint64_t pages = quire_inode_size(sf->v->contents) / PAGE_SIZE;
	uint32_t version, last;
	long n;
	int err;

	sf->dev.sectors = pages * SECTORS_PER_PAGE;
	if (!pages)
		return 0;
	n = quire_inode_read(sf->v->contents, 0, (uintptr_t)sf->header, PAGE_SIZE, false);
	if (n != (long)PAGE_SIZE)
		return n < 0 ? (int)n : -EINVAL;
	if (memcmp(sf->header + PAGE_SIZE - (sizeof(SIGNATURE) - 1), SIGNATURE, sizeof(SIGNATURE) - 1))
		return 0;
	err = map_pages(sf);
	if (err)
		return err;
	memcpy(&version, sf->header + AT_VERSION, sizeof(version));
	memcpy(&last, sf->header + AT_LAST_PAGE, sizeof(last));
	if (version != 1 && sf->slots < pages)
		return -EINVAL; /* of the other byte order, and some of it cannot be used */
	if (last < pages && last >= sf->slots)
		last = sf->slots ? (uint32_t)sf->slots - 1 : 0;
	memcpy(sf->header + AT_LAST_PAGE, &last, sizeof(last));
	return 0;
}

static struct swap_file *new_swap_file(struct open_file *f, const char *path)
{
	struct swap_file *sf = quire_kmalloc(sizeof(*sf), QUIRE_GFP_ZERO);

	if (sf)
		sf->header = quire_kmalloc(PAGE_SIZE, QUIRE_GFP_ZERO);
	if (!sf || !sf->header) {
		quire_kfree(sf);
		file_put(f);
		return NULL;
	}
	strscpy(sf->name, path, sizeof(sf->name));
	sf->file = f;
	sf->v = f->v;
	sf->disk = f->v->mnt->dev;
	sf->dev = (struct quire_blkdev){
		.name = sf->name,
		.rotational = sf->disk->rotational,
		.queue_depth = sf->disk->queue_depth,
		.file = true,
		.ops = &swap_file_ops,
	};
	return sf;
}

static int swap_file_on_locked(struct path *p, unsigned flags)
{
	struct open_file *f = NULL;
	struct swap_file *sf;
	int err = open_vnode(p, O_RDWR, 0, &f);

	assert_mutex_held(&swapfile_mutex);
	if (err)
		return err;
	if (READ_ONCE(p->v->swapfile) || !p->v->mnt || !p->v->mnt->ops->bmap || !p->v->contents ||
	    vnode_type(p->v) != S_IFREG) {
		err = READ_ONCE(p->v->swapfile) ? -EBUSY : -EINVAL;
		file_put(f);
		return err;
	}
	sf = new_swap_file(f, p->full);
	if (!sf)
		return -ENOMEM;
	err = hold_still(sf);
	if (!err)
		err = prepare(sf);
	if (!err)
		err = quire_swapon(&sf->dev, sf->name, flags);
	if (err)
		free_swap_file(sf);
	else
		list_add_tail(&sf->link, &swap_files);
	return err;
}

int swap_file_on(struct path *p, unsigned flags)
{
	int err;

	mutex_lock(&swapfile_mutex);
	err = swap_file_on_locked(p, flags);
	mutex_unlock(&swapfile_mutex);
	return err;
}

static int off_locked(struct swap_file *sf)
{
	int err = quire_swapoff(&sf->dev);

	assert_mutex_held(&swapfile_mutex);
	if (err)
		return err;
	list_del(&sf->link);
	free_swap_file(sf);
	return 0;
}

int swap_file_off(const struct vnode *v)
{
	struct swap_file *sf;
	int err = -EINVAL;

	mutex_lock(&swapfile_mutex);
	list_for_each_entry(sf, &swap_files, link)
		if (sf->v == v) {
			err = off_locked(sf);
			break;
		}
	mutex_unlock(&swapfile_mutex);
	return err;
}

int swap_device_off(struct quire_blkdev *dev)
{
	int err;

	if (!dev->file)
		return quire_swapoff(dev);
	mutex_lock(&swapfile_mutex);
	err = off_locked(file_of(dev));
	mutex_unlock(&swapfile_mutex);
	return err;
}

void swap_files_let_go(void)
{
	struct swap_file *sf;

	mutex_lock(&swapfile_mutex);
	list_for_each_entry(sf, &swap_files, link) {
		struct open_file *f = sf->file;

		sf->file = NULL;
		sf->v = NULL;
		if (f)
			file_put(f);
	}
	mutex_unlock(&swapfile_mutex);
}

void swap_files_end(void)
{
	mutex_lock(&swapfile_mutex);
	while (!list_empty(&swap_files))
		if (off_locked(list_first_entry(&swap_files, struct swap_file, link)))
			break;
	mutex_unlock(&swapfile_mutex);
}
