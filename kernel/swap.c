/* SPDX-License-Identifier: MIT */
/* swapon and swapoff: paths to devices, rights, and Linux's answers; the work is the core's. */
#include "kernel.h"

#define NAME_SHOWN 64 /* bytes of a path in /proc/swaps */

/* The device that the path names, and its canonical path. 0; what resolving it says; -EISDIR; -EINVAL:
 * no block device (a file to swap to is not built). */
static int device_at(uintptr_t path, char *name, struct quire_blkdev **dev)
{
	struct path *p = quire_kmalloc(sizeof(*p), 0);
	int err;

	if (!p)
		return -ENOMEM;
	err = user_path(AT_FDCWD, path, 0, p);
	if (!err) {
		*dev = blkdev_of(p->v);
		if (!*dev)
			err = vnode_type(p->v) == S_IFDIR ? -EISDIR : -EINVAL;
		strscpy(name, p->full, NAME_SHOWN);
		path_put(p);
	}
	quire_kfree(p);
	return err;
}

/* What lies on devices would fit into memory, with an eighth of it to spare. */
static bool swap_would_fit(void)
{
	struct quire_counts c;

	quire_drain();
	quire_drop_caches();
	quire_get_counts(&c);
	return c.swap_pages - c.free_swap_pages + c.managed_pages / 8 <= c.free_pages;
}

/* Files that memory does not hold stay where they are: the first process cannot be killed for the memory
 * that it asks for. */
void swap_off_at_end(void)
{
	struct quire_swap_info info;
	irqflags_t flags;
	bool alone;
	int err;

	spin_lock_irqsave(&tasks_lock, flags);
	alone = all_processes.next == all_processes.prev;
	spin_unlock_irqrestore(&tasks_lock, flags);
	while (alone && quire_swap_info(0, &info)) {
		if (!swap_would_fit())
			break;
		err = quire_swapoff(info.dev);
		if (err) {
			klog("swap stays on at the end: error %d", -err);
			break;
		}
	}
}

SYSCALL2(swapon, uintptr_t, path, unsigned, flags)
{
	struct quire_blkdev *dev;
	char name[NAME_SHOWN];
	int err;

	if (flags & ~QUIRE_SWAP_FLAGS_VALID)
		return -EINVAL;
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	err = device_at(path, name, &dev);
	if (err)
		return err;
	return quire_swapon(dev, name, flags);
}

SYSCALL1(swapoff, uintptr_t, path)
{
	struct quire_blkdev *dev;
	char name[NAME_SHOWN];
	int err;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	err = device_at(path, name, &dev);
	if (err)
		return err;
	return quire_swapoff(dev);
}
