/* SPDX-License-Identifier: MIT */
/* A RAM disk of the core's pages (ramdisk.c). */
#ifndef DRIVERS_RAMDISK_H
#define DRIVERS_RAMDISK_H

#include <quire/block.h>

/* Makes the disk "ram<n>" of so many bytes (whole sectors count), zeroed, and makes it known. All its
 * memory is taken now; NULL: there is not so much, or the name is taken. Context: sleep. */
struct quire_blkdev *ramdisk_create(unsigned n, uint64_t bytes);
/* Gives the memory back. Nothing is under way, and nobody knows the device any more
 * (blkdev_forget_all()). Context: sleep. */
void ramdisk_destroy(struct quire_blkdev *dev);

#endif
