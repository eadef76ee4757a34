/* SPDX-License-Identifier: MIT */
/* Compaction: larger free blocks by moving pages together. */
#ifndef MM_COMPACTION_H
#define MM_COMPACTION_H

#include "mm/phys/page_alloc.h"

/* Compacts every zone as far as it goes (sysctl compact_memory). Returns pages moved; 0 too if
 * another run is under way. Context: sleep. */
unsigned long compact_memory(void);

#endif
