/* SPDX-License-Identifier: MIT */
/*
 * The replayer's state: what each of its processes knows. The table itself is constant and lies
 * elsewhere; it is the same for all processes of one program image.
 */
#ifndef USER_REPLAY_RUN_H
#define USER_REPLAY_RUN_H

#include "replay.h"
#include "text.h"
#include "u.h"
#include "u_nr.h"

#define RP_FD_MARKER 194 /* tracefs trace_marker, if there is one */

/* What goes from one process to the next with the turn. */
struct rp_turn {
	uint64_t at; /* byte offset of the next step in the table */
	uint64_t steps, faults, bad;
};

struct rp {
	const struct rp_header *h;
	struct rp_turn turn;
	uint16_t me, newborn;
	bool mine; /* the turn is */
	bool full; /* digests with everything */
	char elf_dir[128], data_dir[128];
};

/* Where the replayer's block lies: in the hole, below the table. */
#define RP_BLOCK 0x30000ul

extern const struct u_program replayer_program; /* replayer.c */

/* One program image starts: what the kernel mapped goes, the marker is set, the steps are taken. */
_Noreturn void rp_start(struct u *u, struct rp *r, const char *mark);
/* Runs the table from r->turn.at on as process r->me; ends the process. */
_Noreturn void rp_life(struct u *u, struct rp *r);
/* Pipes and files, before the first step. 0 or a negative errno. */
long rp_prepare(struct u *u, struct rp *r);
/* "quire: begin replay" or another marker. */
void rp_mark(struct u *u, const char *text);
/* A finished line to standard output. */
void rp_line(struct u *u, struct text *t);
/* The start of a line about the step at hand. */
void rp_about(struct rp *r, struct text *t, const char *what);
/* Digest of the maps and the present bits (replay_digest.c). */
void rp_digest(struct u *u, struct rp *r, unsigned when);
/* Calls fn for each line of /proc/self/maps below the hole's end or above; end exclusive. */
struct rp_map {
	uint64_t start, end, off;
	char perms[5];
	char name[128];
};
long rp_maps(struct u *u, void (*fn)(struct u *u, const struct rp_map *m, void *ctx), void *ctx);

#endif
