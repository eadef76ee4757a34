/* SPDX-License-Identifier: MIT */
/*
 * A scenario that runs. Every task (process) of it holds a copy of struct run and goes through
 * the same actions; the one whose turn it is holds the baton. It travels through pipes, one for
 * each task, with everything that changes: the next action, the bound names, the counts.
 */
#ifndef USER_RUN_H
#define USER_RUN_H

#include "scenario.h"
#include "text.h"
#include "u.h"
#include "u_nr.h"

#define NOBODY 255

struct baton {
	uint32_t next;	 /* action */
	uint32_t failed; /* expectations */
	bool cannot;	 /* an action could not be carried out here */
	uint8_t finish;	 /* the task that shall end itself, or NOBODY */
	uint8_t reap;	 /* the task that just exited; its parent waits for it, or NOBODY */
	uint32_t shared; /* grows when memory that several see may have changed (known.c) */
	uint64_t name[SCN_MAX_NAMES];
	int32_t pid[SCN_MAX_TASKS]; /* 0: not running */
};

#define KNOWN_MAX 64

/* What is known of the bytes in [start, end), or what kind of area is there (known.c). */
struct known {
	uint64_t start, end, value;
	uint32_t number; /* shared: it holds while baton.shared is this */
	uint8_t kind;
	bool shared;
};

struct known_set {
	unsigned n;
	struct known k[KNOWN_MAX];
};

struct run {
	struct scenario scn;
	char path[256];
	struct baton b;
	uint8_t me, newborn;
	bool turn;
	bool traced; /* switch the tracer on and off */
	int rd[SCN_MAX_TASKS], wr[SCN_MAX_TASKS];
	int copy_rd, copy_wr; /* the pipe for the kernel's own copies */
	int marker;	      /* tracefs trace_marker, negative: none */
	int32_t status[SCN_MAX_TASKS]; /* wait status of a child that is already reaped, or -1 */
	uint64_t faults;	       /* at the last faults() */
	uint64_t task_size;	       /* 0: not asked for yet */
	struct known_set bytes, areas; /* what this task put into memory */
	bool knows_nothing;
	char looks[2048];	       /* what to look at: lines "LINE:COMMAND" */
};

enum seen_kind { SEEN_OK, SEEN_VALUE, SEEN_ERRNO, SEEN_SIGNAL, SEEN_TEXT, SEEN_CANNOT, SEEN_NOBODY };

#define SEEN_TEXT_MAX 4096

/* What an action did. */
struct seen {
	enum seen_kind kind;
	uint64_t value;
	int err, sig, code; /* code -1: a signal that ended a process */
	uint64_t addr;
	long faults;	    /* minor and major of this task during the action */
	bool show_faults, is_addr;
	bool known;	    /* a load: what it must give, for the scenario stored it */
	uint64_t stored;
	struct text text;
};

/* run.c */
uint64_t run_eval(struct u *u, struct run *r, const struct scn_expr *e);
/* Linux's result as seen: a value or an error. */
void seen_result(struct seen *s, long ret);
uint64_t run_faults(struct u *u);
/* The word argument i of a, copied to buf of 256 bytes. */
void run_word(const struct run *r, const struct scn_arg *arg, char *buf);
/* Puts s into the scratch memory for a system call. */
long run_string(struct u *u, const char *s);

/* known.c: what the scenario put into memory. A task's action a, with arguments v, has done this. */
void known_note(struct run *r, const struct scn_action *a, const long *v, const struct seen *s);
/* Whether it is known what a load gives, and that. */
bool known_load(const struct run *r, uint64_t addr, unsigned width, uint64_t *value);
/* What fill() puts into the word at addr, and check() looks for. It depends on the place in the page but not
 * on the page, so that it can be checked after the page was moved. */
uint64_t run_pattern(uintptr_t addr, uint64_t seed);

/* act.c: accesses, system calls, files, limits. */
void act(struct u *u, struct run *r, const struct scn_action *a, struct seen *s);
/* observe.c: what /proc says. */
void observe(struct u *u, struct run *r, const struct scn_action *a, struct seen *s);
/* A field of a /proc file of "Name:   number ..." lines; negative: a negative errno. */
long proc_field(struct u *u, const char *path, const char *field);
/* The number at the start of a file; negative: a negative errno. */
long get_number(struct u *u, const char *path);
/* Writes text to a file that exists; 0 or a negative errno. */
long put_file(struct u *u, const char *path, const char *text);
/* task.c: turns, forks and ends. */
void task_fork(struct u *u, struct run *r, const struct scn_action *a, struct seen *s);
void task_wait(struct u *u, struct run *r, const struct scn_action *a, struct seen *s);
/* The life of a task. The first one prints, marks the trace, and ends the scenario: exit status
 * 0 as expected, 1 not, 2 something could not be done. */
_Noreturn void task_life(struct u *u, struct run *r);
/* Pipes and the rest of what the tasks inherit. 0 or a negative errno. */
long task_setup(struct u *u, struct run *r);
void run_mark(struct u *u, struct run *r, const char *what, uint64_t n, bool has_n);
/* look.c: what --look ordered after the action of this line; 0: before the first. */
void run_look(struct u *u, struct run *r, uint32_t line);
/* Carries out action a and prints what was seen. */
void run_action(struct u *u, struct run *r, const struct scn_action *a);
/* The same of an action whose task is not there: its fork failed, or it has ended. */
void run_absent(struct u *u, struct run *r, const struct scn_action *a);

extern const struct u_program runner_program; /* runner.c */

/* The scratch memory: strings and small structures, then a buffer. */
#define SC_SMALL 0x0ul
#define SC_IO	 0x1000ul
#define SC_IO_SIZE (U_SCRATCH_SIZE - SC_IO)

#endif
