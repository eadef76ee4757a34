/* SPDX-License-Identifier: MIT */
/* zram0: a size to swap to, without a device. */
#ifndef DRIVERS_ZRAM_H
#define DRIVERS_ZRAM_H

#include <quire/block.h>

/* Makes the device "zram<n>", n < 10, of so many bytes, and adds it to the list of devices. What swaps to it
 * stays in memory, compressed, by the core (docs/zswap.md); transfers of anybody else fail. NULL: no memory,
 * or no room in the list. Context: sleep. */
struct quire_blkdev *zram_create(unsigned n, uint64_t bytes);
/* Nothing swaps to it, and the list of devices is forgotten. */
void zram_destroy(struct quire_blkdev *dev);

#endif
