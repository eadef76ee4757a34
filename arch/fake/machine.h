/* SPDX-License-Identifier: MIT */
/*
 * The fake machine's internals: the machine, its frames, CPUs and cached translations. One
 * lock, machine.lock, protects everything here that is not a thread's own; it is recursive, so that
 * a hook that hears an accusation may look at the machine. Nothing of mm/ or kernel/ is used.
 */
#ifndef ARCH_FAKE_MACHINE_H
#define ARCH_FAKE_MACHINE_H

#include <pthread.h>

#include "arch/fake/fake.h"

#define FAKE_PAGE  (1ull << ARCH_PAGE_SHIFT)
#define FAKE_INDEX (1u << ARCH_INDEX_BITS)

/* What the machine has seen of one frame. */
struct frame {
	struct fake_space *space; /* a linked table: whose */
	uintptr_t va;		  /* a linked table: first address below it */
	uint64_t sum;		  /* of the contents at the last hal_icache_sync() */
	uint32_t live;		  /* entries of linked tables that name it, PROT_NONE too */
	uint32_t cached;	  /* cached translations that lead to it, tables too */
	uint32_t dma;		  /* pieces of requests that a disk has: it may read or write it */
	uint8_t table;		  /* level + 1 of a linked table, else 0 */
	bool synced;		  /* sum is valid */
	bool by_user;		  /* user mode wrote it since: its code is the program's business */
};

/* One cached translation: a leaf, a pointer to a table, or an absent entry. */
struct cached {
	struct cached *next;
	uintptr_t va;		 /* aligned to what its level covers */
	struct pte_desc d;
	uint8_t level;
	bool stale;		 /* more permissive than the live entry, or leads elsewhere */
	uint32_t by;		 /* stale: which thread's change made it so, */
	uint64_t stay;		 /* and in which of its stays in the core */
};

struct tlb {
	struct cached **bucket;
	size_t nbuckets, n;
};

struct fake_space {
	struct fake_space *next;
	struct arch_space *arch;
	pfn_t root;
	bool user;
	uint32_t tag;		 /* the identifier that its translations were cached under; 0: none */
	unsigned long stale;	 /* stale translations of all CPUs */
	struct tlb tlb[FAKE_MAX_CPUS];
};

struct ipi {
	struct ipi *next;
	void (*fn)(void *arg);
	void *arg;
	bool done;
};

struct cpu {
	struct fake_space *space; /* what it runs; NULL: the kernel's own */
	struct ipi *inbox;
	uint8_t *burnt;		  /* by identifier: it holds what was given up (tags.c) */
	struct fetched *fetched;  /* lines of instructions; NULL: it fetches from memory */
	uint64_t fences;	  /* of fetches so far */
	bool kicked;		  /* and has not taken it; atomic */
	void *task;		  /* the kernel's word */
	pthread_t thread;
	bool threaded;		  /* a thread of its own runs it (fake_cpu_start) */
	void (*fn)(void *arg);
	void *arg;
};

struct machine {
	bool up;
	struct fake_config cfg;
	struct mmu_info mmu;
	struct kernel_layout layout;
	struct mem_range range[32];
	unsigned nranges;
	struct mem_range nonsense[8]; /* empty or backwards: told of, but no memory */
	unsigned nnonsense;
	unsigned long kernel_stale; /* pages of windows unmapped and not flushed */
	phys_addr_t end;	  /* one past the last byte of RAM */
	int memfd;
	struct frame *frames;
	uint64_t nframes;
	size_t vmemmap_size, vmalloc_size;
	pthread_mutex_t lock;
	struct cpu cpu[FAKE_MAX_CPUS];
	/* Stays in the core that are over, of each host thread: a task may be switched away in the
	 * middle of one. */
	uint64_t *stays;
	unsigned nstays;
	uint64_t number;	     /* of the machine, from 1 */
	struct fake_space *spaces;
	struct fake_counters count;
	unsigned accused[FAKE_ACCUSATIONS];
	char last_accusation[512];
	void (*on_accusation)(enum fake_accusation what, const char *msg, void *ctx);
	void *accusation_ctx;
	fake_fault_fn on_fault;
	void *fault_ctx;
	void (*on_kick)(void);	  /* by fake_on_kick() */
	void (*on_timer)(void);	  /* set by the room that links kernel/ */
	bool (*timer_expired)(void); /* the same: the period of hal_timer_start() is over */
	void (*on_exit)(int status); /* the same: does not return */
	void (*on_destroy)(void); /* of disk.c, if there is a disk; the next three too */
	void (*on_devices)(void); /* interrupts of devices that are due */
	uint64_t (*next_event)(void); /* when a device will have one; UINT64_MAX: never by itself */
	void (*on_idle)(void);	  /* lets one in, interrupts off */
	/* Enters the kernel for an interrupt; set by the room that links it. */
	void (*on_device_irq)(void (*fn)(void *arg), void *arg);
	uint64_t rng, clock_ns;
	uint64_t period_ns;	     /* of hal_timer_start() */
	bool points_on;		     /* something may happen at points */
	uint64_t points, point_rng;
	uint64_t point_gap;	     /* points up to the next that is chosen; 0: none is */
	bool in_turns;		     /* the CPUs take turns on one host thread */
	void (*on_point)(void *ctx);
	void *point_ctx;
	phys_addr_t initrd_phys, ring_phys;
};

extern struct machine machine;

/* A host thread's own state: the processor flags of the context that it runs. */
struct self {
	unsigned cpu;
	unsigned irq_depth; /* hal_irq_save() not yet restored */
	bool irqs_off;
	bool in_irq;	    /* a handler runs: no second interrupt */
	unsigned locked;    /* machine.lock, how often */
	unsigned access;    /* user accesses so far, for spurious_every */
	unsigned stayer;    /* its place in machine.stays, */
	uint64_t stayer_of; /* of the machine with this number */
	struct fake_context *context; /* one of several on a host thread (turns.c), or NULL */
};

extern __thread struct self self;

static inline void fake_lock(void)
{
	pthread_mutex_lock(&machine.lock);
	self.locked++;
}

static inline void fake_unlock(void)
{
	self.locked--;
	pthread_mutex_unlock(&machine.lock);
}

/* Says what the caller did wrong. Ends the process unless a hook takes it. Lock held or not. */
__attribute__((format(printf, 2, 3))) void fake_accuse(enum fake_accusation what, const char *fmt,
							...);

/* The next number of the machine's own chance. Lock held. */
uint64_t fake_random(void);

/* The frame's book, or NULL if there is no RAM at pfn. */
struct frame *fake_frame(uint64_t pfn);
/* Whether [pa, pa + n) lies in RAM of any kind. */
bool fake_is_ram(phys_addr_t pa, uint64_t n);

static inline uint64_t fake_entry_size(unsigned level)
{
	return 1ull << (ARCH_PAGE_SHIFT + level * ARCH_INDEX_BITS);
}

static inline struct cpu *fake_cpu(void)
{
	return &machine.cpu[self.cpu];
}

/* The calling thread's place in machine.stays. Lock held. */
unsigned fake_stayer(void);

void fake_turn(bool waits);
/* Whether this is a point that was chosen: fake_interrupt() is to be called. */
bool fake_point_chosen(void);
static inline bool fake_point(void)
{
	return __builtin_expect(machine.points_on, 0) && !self.locked &&
	       (machine.in_turns || (!self.irqs_off && !self.in_irq)) && fake_point_chosen();
}

/* A point of the CPUs that take turns, where others have none. */
static inline void fake_cross(void)
{
	if (__builtin_expect(machine.in_turns, 0) && fake_point())
		fake_turn(false);
}
/* What access.c knows of the machine before, if it is linked. */
void fake_forget_accesses(void);
/* An interrupt that ends the running task's slice, or what fake_on_point() said. */
void fake_interrupt(void);

/* ---- turns.c: CPUs that take turns on one host thread ---- */

/* Another CPU goes on; returns when it is this context's turn again, perhaps on another CPU. waits: for
 * what only another CPU can do. Lock not held. */
void fake_turn(bool waits);
/* The stack of the running context, if it is one of turns.c. */
bool fake_turn_stack(uintptr_t *start, uintptr_t *end);
/* Takes the calls that other CPUs sent to this one, if it has interrupts on. */
void fake_take_calls(void);
/* fn(arg), interrupts off, on each CPU of the mask, of those that take turns; the running one may be
 * another at the end. Interrupts on. */
void fake_call_cpus(uint64_t cpus, void (*fn)(void *arg), void *arg);

/* A moment at which interrupts may arrive: pending calls from other CPUs, the timer. Lock not
 * held. */
void fake_poll(void);

/* ---- tlb.c: cached translations; lock held --------------------------------------------------- */

enum cached_kind { CACHED_LEAF, CACHED_TABLE, CACHED_ABSENT };
/* The cached translation of va at exactly that level, or NULL. */
struct cached *tlb_find(struct tlb *t, uintptr_t va, unsigned level, enum cached_kind kind);
void tlb_insert(struct fake_space *s, unsigned cpu, uintptr_t va, unsigned level,
		struct pte_desc d);
void tlb_drop(struct fake_space *s, unsigned cpu, struct cached *c);
/* Removes what `want` says yes to in [start, end]; returns how many. last is inclusive. */
unsigned long tlb_flush_range(struct fake_space *s, unsigned cpu, uintptr_t start, uintptr_t last,
			      int level, enum cached_kind kind);
unsigned long tlb_flush_all(struct fake_space *s, unsigned cpu);
/* Judges one, or all in a range, against the live tables again. */
void tlb_judge(struct fake_space *s, struct cached *c);
void tlb_judge_range(struct fake_space *s, uintptr_t start, uintptr_t last);
/* One stale translation of s whose maker has left the core since: it will never be flushed. */
struct cached *tlb_any_forgotten(struct fake_space *s, unsigned *cpu);

/* Removes what in [start, last] is stale; returns how many. */
unsigned long tlb_drop_stale(struct fake_space *s, unsigned cpu, uintptr_t start, uintptr_t last);

/* ---- tags.c: identifiers and instruction caches ---------------------------------------------- */

/* For the machine that was planned; false: the host is out of memory. Again where an accident changes it. */
bool tags_start(void);
void tags_end(void);
/* The CPU's switch, as the port makes it. Interrupts off, lock not held. */
void tags_switch(struct arch_space *as);
/* What CPUs hold of s is for nobody any more. Lock held. */
void tags_give_up(struct fake_space *s);
/* What was taken away in [start, last] of s: which CPUs are to forget it now. What others hold of it they
 * forget before they run s. Lock held. */
uint64_t tags_flush(struct fake_space *s, uintptr_t start, uintptr_t last);
/* The byte that this CPU fetches. Lock held. */
uint8_t tags_fetch(phys_addr_t pa);

/* ---- walk.c: the hardware's walker; lock held ------------------------------------------------ */

struct walk {
	phys_addr_t pa;		/* where va leads */
	pteval_t *entry;	/* the entry the walk ended at; NULL: came from the cache */
	unsigned level;
	struct pte_desc d;
	enum fault_kind fault;	/* if it failed */
	bool present;		/* a translation was there, the right was not */
};

/* Translates for CPU cpu. true: allowed (A and D are set as the machine does). */
bool fake_walk(struct fake_space *s, unsigned cpu, uintptr_t va, enum fault_access access,
	       bool user, struct walk *w);
/* The live entry for va at that level, by the tables alone: PTE_NONE if the walk ends before; a
 * leaf met above is told as the part of it. */
struct pte_desc fake_live(struct fake_space *s, uintptr_t va, unsigned level);
/* The live leaf of va and its level; kind says what ended the walk. */
struct pte_desc fake_live_leaf(struct fake_space *s, uintptr_t va, unsigned *level);

/* ---- books.c: what the tables say, followed change by change; lock held ---------------------- */

/* The entry at p changed from old to new. */
void books_entry_changed(pteval_t *p, pteval_t old, pteval_t new);
/* The entry is about to be overwritten by a plain store, not exchanged. */
void books_plain_store(const pteval_t *p, pteval_t old, pteval_t new);
void books_link_root(struct fake_space *s);
void books_unlink_root(struct fake_space *s);
void books_frame_freed(uint64_t pfn);
void books_frame_taken(uint64_t pfn);
/* Accuses s if it has stale translations, and forgives them. */
void books_check_stale(struct fake_space *s, enum fake_accusation what, const char *when);
void books_synced(phys_addr_t pa, size_t n);
/* The contents of the frame are those of the last hal_icache_sync() of it. */
bool books_is_synced(uint64_t pfn);

#endif
