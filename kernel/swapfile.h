/* SPDX-License-Identifier: MIT */
/* Files to swap to (swapfile.c): for swapon, and for what must not happen to such a file meanwhile. */
#ifndef KERNEL_SWAPFILE_H
#define KERNEL_SWAPFILE_H

#include "kernel/file.h"

/* vnode.swapfile: nothing; its pages do not become dirty; nor are they written back. */
enum { SWAPFILE_OFF, SWAPFILE_STILL, SWAPFILE_ON };

/* A file in use for swap cannot be changed: -ETXTBSY, or 0. */
static inline int vnode_changeable(const struct vnode *v)
{
	return READ_ONCE(v->swapfile) ? -ETXTBSY : 0;
}

/* The file that p names. 0; -EINVAL: it cannot be used for that (no file of a disk, holes, no header); -EBUSY; what
 * opening it to write says; those of quire_swapon(). Context: sleep. */
int swap_file_on(struct path *p, unsigned flags);
/* -EINVAL: it is not in use; those of quire_swapoff(). */
int swap_file_off(const struct vnode *v);
/* quire_swapoff() of any device that quire_swap_info() has told. */
int swap_device_off(struct quire_blkdev *dev);
/* The end: no file is held any more, whether or not it is in use; and, once nothing lies there, none is. */
void swap_files_let_go(void);
void swap_files_end(void);

#endif
