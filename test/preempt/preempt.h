/* SPDX-License-Identifier: MIT */
/*
 * Random operations of several tasks at once over the machine in software: what the program that
 * runs (tasks.c, ops.c) and the one that starts machines and watches them (main.c) share.
 */
#ifndef TEST_PREEMPT_H
#define TEST_PREEMPT_H

#include "test/preempt/run.h"

#define PAGE	  4096u
#define PAGES	  16u /* of private memory that a task plays with */
#define MAX_TASKS 12  /* with threads, of one round */
#define FILES	  MAX_TASKS /* pages of the shared file: one for each */
#define RECORD	  64
#define THREAD	  (0x100 | 0x200 | 0x400 | 0x800 | 0x10000) /* clone's flags for one */
#define CHILDREN  2   /* forked and not yet waited for, of one task */

/* The model of one task: what each byte of its memory must be. */
struct task {
	unsigned id; /* 0 .. MAX_TASKS - 1, of those that run now */
	uint64_t rng;
	unsigned left;		/* operations */
	uintptr_t base, scratch;
	bool thread;		/* shares its space with others */
	bool mapped[PAGES];
	uint8_t prot[PAGES];	/* PROT_READ, PROT_WRITE */
	bool lazy[PAGES];	/* given up by MADV_FREE: as it was, or zero */
	uint8_t bytes[PAGES][PAGE];
	uint8_t file[PAGE];	/* its page of the shared file */
	long child[CHILDREN];	/* 0: none */
	uint8_t status[CHILDREN];
	uint64_t written;	/* records: for their numbers */
};

/* What the tasks of a machine share, on the host; one task runs at a time. */
struct world {
	struct plan plan;
	uint64_t rng;
	int pipe[2], file, torn; /* descriptors */
	uint64_t sent, taken, sum_sent, sum_taken; /* records */
	bool hog;		/* one has nearly all memory */
	long pid[MAX_TASKS];	/* of those that run; 0: none */
};

extern struct world world;

static inline unsigned rnd(struct task *t, unsigned n)
{
	return (rnd_of(&t->rng) >> 11) % n;
}

/* ---- calls; pointers are addresses of the running space -------------------------------------- */

long call6(long nr, const long a[6]);
#define CALL(nr, ...) call6(nr, (const long[6]){__VA_ARGS__})

/* Bytes into the task's scratch memory at that offset: their address. */
uintptr_t put(struct task *t, unsigned offset, const void *src, size_t n);
void get(struct task *t, void *dst, unsigned offset, size_t n);
#define SCRATCH_PAGES 4

/* ---- what runs ------------------------------------------------------------------------------- */

/* The first program: state is unused. */
void first_task(void *state);
/* Memory and scratch of a task that starts in the running space; base is chosen by its number. */
void task_begin(struct task *t, unsigned id, uint64_t seed, unsigned operations);
/* Every byte that can be read; what is wrong ends the run. */
void verify_all(struct task *t);
/* One operation by the task's chance. */
void operate(struct task *t);
/* Waits for every child. */
void wait_children(struct task *t);

#define BASE	  0x100000000ul /* of the first task's memory; each has STRIDE bytes */
#define STRIDE	  0x4000000ul
#define SHARED_AT 0x200000000ul /* the shared file, mapped by the first program for all */
#define TORN_AT	  0x210000000ul /* the file that is cut and grown */
#define TORN_PAGES 8u
#define WORDS_AT  0x220000000ul /* shared anonymous: a line of words for each task */

#endif
