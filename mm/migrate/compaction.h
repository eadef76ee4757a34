/* SPDX-License-Identifier: MIT */
/* Compaction: larger free blocks by moving pages together. */
#ifndef MM_COMPACTION_H
#define MM_COMPACTION_H

#include "mm/phys/page_alloc.h"

/* Compacts every zone as far as it goes (sysctl compact_memory). Returns pages moved; -EBUSY
 * if another run is under way, or interrupts are off. Context: sleep. */
long compact_memory(void);
/* Enough is free in the zone, of whatever order, that moving pages can help a request for a block that
 * may go up to zone highest. Any context. */
bool compaction_suitable(const struct zone *z, unsigned order, unsigned highest);
/* Makes blocks of the order in the zones up to highest, for the background: nobody waits for them.
 * Context: sleep. */
void compact_node(unsigned order, unsigned highest);

#endif
