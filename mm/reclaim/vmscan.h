/* SPDX-License-Identifier: MIT */
/* Reclaim: what leaves memory, and how. What lower rooms call is in their hooks.h. See vmscan.c. */
#ifndef MM_VMSCAN_H
#define MM_VMSCAN_H

#include "mm/phys/hooks.h"
#include "mm/space/hooks.h"

#endif
