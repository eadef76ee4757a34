/* SPDX-License-Identifier: MIT */
/*
 * What the files of /proc are made of, for those who add some: a text and how it is filled, a row of a
 * table of files. procfs.c reads, writes and names them.
 */
#ifndef KERNEL_PROC_PROC_H
#define KERNEL_PROC_PROC_H

#include "kernel.h"

/*
 * A text is a chain of pieces: no request for memory grows with it. It is made by one thread and does
 * not change afterwards. An open file has the one that was made last, with a reference, and so has
 * each read that hands it out.
 */
struct text_piece;

struct text {
	atomic_t refs;
	struct text_piece *first, *last;
	size_t len;
	int err;	     /* the whole read fails with it; 0: it does not */
	struct quire_mm *mm; /* the space that is shown, with a reference; NULL: none */
	int tid;	     /* the thread that is shown; 0: the process */
};

/* A file of these directories: how its text is made, what writing to it does. */
struct proc_file {
	const char *path; /* below the process's directory, or from the root */
	void (*show)(struct text *t, struct process *p);
	long (*write)(const char *s, size_t n, struct process *p);
	const struct file_ops *ops; /* something else than text */
	bool of_space; /* shows the space that the process had when the file was opened */
	unsigned mode; /* 0: 0644 if it has write, else 0444 */
};

/* Adds to a text. Running out of memory fails the whole read, never half of it. */
void say(struct text *t, const char *fmt, ...) __printf(2, 3);
/* A number at s, decimal or as C has it, which ends where a word does. 0 or -EINVAL. */
int parse_number(const char *s, uint64_t *v);

/* ---- proc/machine.c, proc/names.c -------------------------------------------------------------- */

/* Files of the machine as a whole; the table ends with a row without a path. */
extern const struct proc_file machine_files[];
extern const struct proc_file names_files[];

/* ipc/shm_ctl.c: of System V's shared memory. */
extern const struct proc_file shm_files[];

/* The machine is called as nobody has called it yet. Boot. */
void names_init(void);

/* ---- proc/load.c ------------------------------------------------------------------------------- */

/* Threads of programs that run or want to, and that wait for what no signal ends: of one moment. */
void count_active(unsigned *running, unsigned *blocked);
void show_loadavg(struct text *t, struct process *p);
/* The average over 1, 5 or 15 minutes (i: 0 .. 2), with shift bits behind the point. Any context. */
uint64_t load_average(unsigned i, unsigned shift);
/* From the first CPU's tick, interrupts off; now: ns. */
void load_tick(uint64_t now);
void load_init(void);

#endif
