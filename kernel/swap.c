/* SPDX-License-Identifier: MIT */
/* swapon and swapoff: paths to devices and files, rights, and Linux's answers; the work is the core's. Files:
 * swapfile.c. */
#include "kernel.h"
#include "kernel/swapfile.h"

#define NAME_SHOWN QUIRE_SWAP_PATH /* bytes of a path in /proc/swaps */

/* The path, resolved, for path_put() and quire_kfree(), and the device that it is; NULL: it is none. 0 or what
 * resolving it says. */
static int path_at(uintptr_t path, struct path **out, struct quire_blkdev **dev)
{
	struct path *p = quire_kmalloc(sizeof(*p), 0);
	int err;

	if (!p)
		return -ENOMEM;
	err = user_path(AT_FDCWD, path, 0, p);
	if (err) {
		quire_kfree(p);
		return err;
	}
	*dev = blkdev_of(p->v);
	*out = p;
	return 0;
}

static void path_done(struct path *p)
{
	path_put(p);
	quire_kfree(p);
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
		err = swap_device_off(info.dev);
		if (err) {
			klog("swap stays on at the end: error %d", -err);
			break;
		}
	}
	swap_files_let_go();
}

SYSCALL2(swapon, uintptr_t, path, unsigned, flags)
{
	struct quire_blkdev *dev;
	char name[NAME_SHOWN];
	struct path *p;
	int err;

	if (flags & ~QUIRE_SWAP_FLAGS_VALID)
		return -EINVAL;
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	err = path_at(path, &p, &dev);
	if (err)
		return err;
	strscpy(name, p->full, sizeof(name));
	err = dev ? quire_swapon(dev, name, flags) : vnode_type(p->v) == S_IFDIR ? -EISDIR :
	      vnode_type(p->v) == S_IFREG ? swap_file_on(p, flags) : -EINVAL;
	path_done(p);
	return err;
}

SYSCALL1(swapoff, uintptr_t, path)
{
	struct quire_blkdev *dev;
	struct path *p;
	int err;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	err = path_at(path, &p, &dev);
	if (err)
		return err;
	err = dev ? quire_swapoff(dev) : vnode_type(p->v) == S_IFDIR ? -EISDIR : swap_file_off(p->v);
	path_done(p);
	return err;
}
