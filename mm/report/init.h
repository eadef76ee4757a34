/* SPDX-License-Identifier: MIT */
/* What the rooms of mm/ supply to quire_init() and quire_exit(). */
#ifndef MM_INIT_H
#define MM_INIT_H

#include <quire/quire.h>

/* /proc/sys/vm names of the physical side: gets, or sets if set, *value. -ENOENT: not ours. */
int phys_sysctl(const char *name, long *value, bool set);

#endif
