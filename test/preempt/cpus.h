/* SPDX-License-Identifier: MIT */
/*
 * Tasks on several CPUs of the machine in software, over the core alone: what the contract above for
 * contexts that take turns (cpus_os.c) and the program (cpus.c, cpus_ops.c) share.
 */
#ifndef TEST_PREEMPT_CPUS_H
#define TEST_PREEMPT_CPUS_H

#include "test/preempt/run.h"
#include <quire/quire.h>

#define PAGE	   4096u
#define PAGES	   16u /* of private memory that a task plays with */
#define MAX_TASKS  16u /* at once, children too */
#define MAX_SPACES 24u /* of one round, and of all children */
#define FILE_PAGES MAX_TASKS /* of the shared file: one for each task that is no child */
#define TORN_PAGES 8u  /* of the file that is cut and grown */
#define RACY_PAGES 24u /* of each space, which all its threads change at will */
#define CHILDREN   2u
#define STACK_PAGES 8u
#define MAX_ROOTS  8u  /* tasks that are no children */

#define BASE	  0x100000000ul /* of the first task's memory; each has STRIDE bytes */
#define STRIDE	  0x4000000ul
#define SHARED_AT 0x200000000ul
#define TORN_AT	  0x210000000ul
#define RACY_AT	  0x220000000ul

/* What the contract above keeps of a context. */
struct os_task {
	struct fake_context *context;
	struct quire_mm *mm; /* NULL: it runs in whatever space is there */
	unsigned depth;	     /* of pre-emption turned off */
	unsigned long word;
	uintptr_t number;
	bool stop;	     /* os_thread_stop() */
	struct os_task *next; /* dead */
};

/* A context with fn(t), which begins with t->mm. */
void os_task_start(struct os_task *t, void (*fn)(void *arg), void *arg);
/* The running context's; NULL outside turns. */
struct os_task *os_task(void);
/* From now on the running context is in mm, or in none. */
void os_task_space(struct quire_mm *mm);
/* Runs first(arg) and whatever it starts on the machine's CPUs until all have ended. */
void os_run(void (*first)(void *arg), void *arg);

/* The model of one task: what each byte of its memory must be. */
struct task {
	struct os_task os;
	unsigned id; /* its place in world.task; its memory and page of the file are by the root's */
	unsigned root; /* id of the task whose copy it is, its own if of none */
	bool child;
	uint64_t rng;
	unsigned left; /* operations */
	struct space *space;
	struct task *parent;
	uint32_t children; /* that have not ended; atomic for os_wait() */
	uintptr_t base;
	bool mapped[PAGES];
	uint8_t prot[PAGES];
	uint8_t origin[PAGES]; /* 0: anonymous, else 1 + page of the constant file */
	bool lazy[PAGES];      /* given up by MADV_FREE: as it was, or zero */
	uint8_t bytes[PAGES][PAGE];
	uint8_t file[PAGE];
	unsigned stack_pages;
};

struct space {
	struct quire_mm *mm;
	unsigned threads; /* that run in it */
	bool known;	  /* others may look at it: held until the round ends */
};

struct world {
	struct plan plan;
	uint64_t rng;
	struct quire_inode *constant, *shared, *torn;
	struct quire_file *constant_file, *shared_file, *torn_file;
	struct task *task[MAX_TASKS];
	struct space space[MAX_SPACES];
	uint32_t running; /* tasks of the round */
	unsigned threads; /* of the core */
	uint32_t waiting, gate; /* at the quiet point */
	struct os_task *dead;	/* to be freed when their contexts are gone */
};

extern struct world world;

static inline unsigned rnd(struct task *t, unsigned n)
{
	return (rnd_of(&t->rng) >> 11) % n;
}

static inline uintptr_t at(const struct task *t, unsigned page)
{
	return t->base + (uintptr_t)page * PAGE;
}

/* The byte of the constant file, and the only one but 0 that the torn file is ever given there. */
static inline uint8_t stamp(unsigned page, unsigned off)
{
	return (uint8_t)(0x5a ^ page * 37 ^ off * 11 ^ off >> 8);
}

/* One operation by the task's chance. */
void operate(struct task *t);
/* Every byte that can be read, and of the others that they cannot. */
void verify_all(struct task *t, const char *when);
/* A task in a space of its own that is a copy of t's, or NULL: none is free. */
struct task *task_copy(struct task *t, struct quire_mm *mm);
struct task *task_new(void);
void task_begin(struct task *t, void (*fn)(void *arg));
/* Until t has no child. */
void wait_children(struct task *t);
void child_main(void *arg);
/* Disks for swap. */
void disks_start(void);
void disks_end(void);

#endif
