/* SPDX-License-Identifier: MIT */
/* System V's shared memory, internals: segments and their numbers (shm.c), what is told and set (shm_ctl.c). */
#ifndef KERNEL_IPC_SHM_H
#define KERNEL_IPC_SHM_H

#include "kernel/kernel.h"

#define IPC_PRIVATE 0
#define IPC_CREAT   01000
#define IPC_EXCL    02000
#define SHM_HUGETLB   04000
#define SHM_NORESERVE 010000
#define SHM_RDONLY    010000 /* of shmat() from here on */
#define SHM_RND	      020000
#define SHM_REMAP     040000
#define SHM_EXEC      0100000

#define SHM_DEST   01000u /* of a segment's mode: it goes with its last attachment */
#define SHM_LOCKED 02000u

#define IDX_BITS    15 /* of an identifier, the rest is its sequence number */
#define IDX_COUNT   (1u << IDX_BITS)
#define SEQ_COUNT   (1u << (31 - IDX_BITS))
#define SHM_SIZE_MIN 1

/* A segment: the table holds a reference, and each attachment's file has one. shm_mutex, if nothing else is said. */
struct shm_segment {
	atomic_t refs;
	struct list_head by_key;   /* linked while key is not IPC_PRIVATE */
	struct quire_inode *memory; /* with a reference; constant */
	uint64_t size;		   /* constant */
	int id, key;		   /* id: constant */
	unsigned seq;		   /* constant */
	unsigned mode, uid, gid;   /* whoever makes one is root (ids.c): so are cuid and cgid */
	unsigned long nattch;	   /* areas that map it, and calls of shmat() under way */
	int cpid, lpid;
	uint64_t atime, dtime, ctime; /* seconds since 1970; 0: never */
	const struct task *creator; /* compared only; NULL: it has ended */
	bool locked;		   /* its pages count in locked_pages */
	char path[32];		   /* as maps shows it; constant */
};

extern struct mutex shm_mutex;
/* Limits, that a write to /proc/sys changes; one word each. */
extern uint64_t shm_max, shm_all;
extern int shm_mni, shm_rmid_forced;

struct shm_use {
	unsigned segments;
	uint64_t pages;	  /* of all segments' sizes */
	int top;	  /* the highest place of the table in use; -1: none */
};
/* All with shm_mutex held. */
struct shm_use shm_in_use(void);
/* The segment of an identifier, or of a place in the table; NULL: there is none. */
struct shm_segment *shm_find(int id);
struct shm_segment *shm_at(unsigned idx);
/* The running process may use it like that, by bits of a mode (0444 to read, 0222 to write). */
bool shm_permits(const struct shm_segment *s, unsigned mode);
/* It is found by no key any more. */
void shm_forget_key(struct shm_segment *s);
/* Nobody has it attached: out of the table; the caller drops that reference by shm_put(), without the mutex. */
void shm_take_out(struct shm_segment *s);
/* Takes out the next one from *idx on that goes by itself, now that nobody's end is waited for; NULL: none. */
struct shm_segment *shm_take_orphan(unsigned *idx);
/* SHM_LOCK and SHM_UNLOCK, as far as pages are counted. 0 or -ENOMEM. */
int shm_count_locked(struct shm_segment *s, bool lock);

/* Without shm_mutex. NULL is nothing. */
void shm_put(struct shm_segment *s);

static inline uint64_t shm_pages(const struct shm_segment *s)
{
	return (s->size + PAGE_SIZE - 1) / PAGE_SIZE;
}

#endif
