/* SPDX-License-Identifier: MIT */
/*
 * Random scenarios, made and carried out inside one boot: a seed gives a list of operations over
 * a 64-page arena, up to three processes carry them out in turns, and after each one everything
 * that a program can see is appended to a text. Of a whole scenario only the text's hash is
 * printed, so that hundreds of thousands of them can be compared between kernels; asked for, the
 * text itself is. docs/oracle.md says what is generated and what is looked at.
 *
 * A scenario depends on its seed alone, never on what was seen: taking an operation away leaves
 * the others what they were.
 */
#ifndef USER_FUZZ_H
#define USER_FUZZ_H

#include "scenario.h"
#include "text.h"
#include "u.h"
#include "u_nr.h"

#define FZ_GENERATION 1 /* counts up when a seed's scenario or digest becomes another */

#define FZ_TASKS    3
#define FZ_NOBODY   255
#define FZ_MAX_OPS  58 /* a bit each in a mask, with room for the tail */
#define FZ_TAIL	    6  /* looks and ends that every scenario has */
#define FZ_ARGS	    6
#define FZ_LOW	    16 /* the arena's first page, counted from SCN_ARENA: stacks grow below it */
#define FZ_PAGES    64
#define FZ_WINDOWS  3  /* of 64 or 128 pages, whose state is looked at */
#define FZ_TEXT	    12288
#define FZ_CODE	    1024 /* where in a page return instructions are stored and called */

/* What an argument counts from. */
enum fz_base {
	FZ_NUM,	   /* a number */
	FZ_PAGE,   /* bytes from SCN_ARENA */
	FZ_TOP,	   /* from the guard page, below which a kernel places what has no address */
	FZ_HEAP,   /* from the break that the program started with */
	FZ_END,	   /* from the first address that user space does not have */
	FZ_VMSIZE, /* bytes more than the process has now */
	FZ_VMDATA,
	FZ_VMLCK,
	FZ_RET	   /* the machine's return instructions */
};

struct fz_arg {
	int64_t v;
	enum fz_base base;
};

enum fz_kind {
	FZ_MMAP, FZ_BIG, FZ_MUNMAP, FZ_MPROTECT, FZ_MREMAP, FZ_BRK, FZ_MADVISE, FZ_MLOCK,
	FZ_MLOCK2, FZ_MUNLOCK, FZ_MLOCKALL, FZ_MUNLOCKALL, FZ_MSYNC, FZ_MINCORE, FZ_REMAP,
	FZ_LOAD, FZ_STORE, FZ_TOUCH, FZ_EXEC, FZ_COPYIN, FZ_COPYOUT, FZ_FORK, FZ_EXIT,
	FZ_CLEARREFS, FZ_SETRLIMIT, FZ_DROPCAPS, FZ_LOOK,
	FZ_KINDS
};

struct fz_op {
	struct fz_arg a[FZ_ARGS];
	uint8_t kind, task, nargs;
};

/* What travels from task to task with the right to act. */
struct fz_baton {
	uint64_t hash;
	uint32_t next;
	uint32_t evicted;	/* pages of the windows that were there at one look and in swap at the next */
	int32_t pid[FZ_TASKS]; /* 0: not running */
	uint8_t parent[FZ_TASKS];
	uint8_t reap; /* the task that just ended; its parent waits for it, or FZ_NOBODY */
};

enum fz_fd { FZ_FD_MAPS, FZ_FD_SMAPS, FZ_FD_STATUS, FZ_FD_STATM, FZ_FD_PAGEMAP, FZ_FDS };

struct fz {
	struct fz_op op[FZ_MAX_OPS + FZ_TAIL];
	uint32_t nops;
	uint64_t seed;
	struct fz_baton b;
	uint8_t me, newborn;
	bool turn, verbose;
	bool answers; /* faults, residency and frames are left out, so that memory's size does not show */
	int32_t hog;  /* the process that holds free memory, or 0 */
	uint32_t hogs_killed;
	int32_t hog_ready; /* the pipe by which it says that it holds what it can */
	uint64_t there[FZ_WINDOWS][2]; /* pages that were there at this process's last look */
	int rd[FZ_TASKS], wr[FZ_TASKS], copy_rd, copy_wr;
	int fd[FZ_FDS];
	uint64_t guard, heap, end; /* FZ_TOP, FZ_HEAP, FZ_END */
	long size0, data0, stk0;   /* kB at the scenario's start */
};

/* fuzz_gen.c: the scenario of a seed. Bit i of keep: operation i is kept. */
void fz_generate(struct fz *f, uint64_t seed, unsigned nops, uint64_t keep);
/* Seeds of which some operations mean something on x86-64 only. */
bool fz_of_x86(uint64_t seed);

/* fuzz_act.c: an operation and its result as a line of a scenario. */
void fz_act(struct u *u, struct fz *f, const struct fz_op *op, struct text *t);
void fz_show_addr(const struct fz *f, struct text *t, uint64_t addr);

/* fuzz_see.c: what is to be seen; more at a higher level. */
enum fz_level { FZ_SEE_PAGES, FZ_SEE_MAPS, FZ_SEE_STATUS, FZ_SEE_ALL };
void fz_see(struct u *u, struct fz *f, enum fz_level level, struct text *t);
/* Opens this process's own files of /proc. 0 or a negative errno. */
long fz_open_proc(struct u *u, struct fz *f);
/* A field of /proc/self/status in kB. */
long fz_status(struct u *u, struct fz *f, const char *field);

/* Calls fn for each line of a file of /proc. False: it could not be read. */
typedef void (*fz_line_fn)(const char *line, void *ctx);
bool fz_read_path(struct u *u, const char *path, fz_line_fn fn, void *ctx);

/* fuzz_hog.c: a process that holds free memory at the low mark. 0 once it does, or a negative errno. */
long fz_hog_start(struct u *u, struct fz *f);
void fz_hog_end(struct u *u, struct fz *f);
/* Pages written to swap since the machine started. */
long fz_swapped_out(struct u *u);

/* fuzz_task.c: the processes and their turns. */
long fz_setup(struct u *u, struct fz *f);
/* Fresh pipes: after a scenario that went wrong others may still read from the old ones. */
long fz_pipes(struct u *u, struct fz *f);
void fz_first_task(struct u *u, void *state);
/* Touches all of the program's own memory, so that faults counted later are not its own. */
void fz_warm(struct u *u, struct fz *f);
void fz_fork(struct u *u, struct fz *f, unsigned slot, struct text *t);

extern const struct u_program fuzz_program; /* fuzz.c */

#define FZ_SC_SMALL 0x0ul
#define FZ_SC_IO    0x1000ul

#endif
