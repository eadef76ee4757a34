/* SPDX-License-Identifier: MIT */
/* The OOM killer: its own interface. What the page allocator calls is declared in mm/phys/hooks.h. */
#ifndef MM_OOM_H
#define MM_OOM_H

#include "mm/phys/hooks.h"
#include "mm/space/mm.h"
#include <quire/os.h>

#define OOM_SCORE_ADJ_MIN (-1000)
#define OOM_SCORE_ADJ_MAX 1000
#define OOM_NEVER	  INT64_MIN

/* One search for a victim. oom_lock of the page allocator is held. */
struct oom_control {
	gfp_t gfp;
	unsigned order;
	unsigned long totalpages; /* what the points are compared with: memory and swap */
	void *chosen;		  /* the owner, NULL: nobody so far */
	long chosen_points;
	bool found;		  /* somebody can be killed */
	bool aborted;		  /* one is dying already: nobody is chosen */
	unsigned owners;	  /* processes that were looked at */
};

/* How much would be won by the end of that process, in pages; OOM_NEVER: it is never killed. */
long oom_badness(const struct os_owner_facts *f, unsigned long totalpages);

/* Who is to be chosen first; NULL: nobody. Under swapon_mutex. */
void set_oom_origin(void *owner);

/* Starts the reaper; 0, -ENOMEM. Without threads (-ENOSYS from os_thread_start()) it is 0 too: who
 * kills reaps. Context: sleep. */
int oom_reaper_start(void);
void oom_reaper_stop(void);

/* ---- oom_report.c ---- */

/* One line for people, in pieces as printf has them. */
void oom_log(const char *fmt, ...) __printf(1, 2);
/* Who asked for what, how memory stands, and who could be killed. victim: NULL: nobody. */
void dump_header(const struct oom_control *oc, const struct os_owner_facts *victim);

#endif
