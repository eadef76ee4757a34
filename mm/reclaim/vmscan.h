/* SPDX-License-Identifier: MIT */
/* Page reclaim: its own interface. What lower rooms call is declared in their hooks.h. */
#ifndef MM_VMSCAN_H
#define MM_VMSCAN_H

#include "mm/phys/hooks.h"
#include "mm/space/hooks.h"

#endif
