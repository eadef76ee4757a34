/* SPDX-License-Identifier: MIT */
/* The invariant checker behind quire_check(): its parts, and how they report. */
#ifndef MM_CHECK_H
#define MM_CHECK_H

/* The invariants of physical memory (docs/invariants.md, I1..I19): how many are broken, each said
 * through os_log(). Context: sleep. */
long check_phys(void);

#endif
