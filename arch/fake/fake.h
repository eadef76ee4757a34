/* SPDX-License-Identifier: MIT */
/*
 * The fake machine (the machine in software) as tests see it: create one, act as its user mode,
 * order accidents, hear accusations. Only tests and host programs include this; mm/ and kernel/
 * never do.
 *
 *   fake_machine_create(&(struct fake_config){.ram = 64 << 20});
 *   quire_init(&cfg); ... quire_mm_switch() ... fake_user_store(va, 8, 7, &fi) ... quire_exit();
 *   fake_machine_destroy();
 *
 * The thread that creates the machine is its CPU 0, interrupts on. One machine at a time.
 * Host memory comes from libc; the machine's RAM is a memfd, mapped at fake_direct_base.
 */
#ifndef ARCH_FAKE_FAKE_H
#define ARCH_FAKE_FAKE_H

#include "arch/hal.h"

#define FAKE_MAX_CPUS 16

/* ---- the machine ----------------------------------------------------------------------------- */

struct fake_config {
	uint64_t ram;		/* bytes from physical 0, a PC's holes in it; 0: 128 MiB */
	const struct mem_range *ranges; /* instead of that: any ranges, overlaps allowed; what is
					 * empty or ends before it starts is told first */
	unsigned nranges;
	unsigned levels;	/* of the tables; 0: 4, the invented machine 3 */
	unsigned cpus;		/* 0: 1 */
	unsigned asid_bits;	/* used only if with_asids; 0: 16 */
	bool with_asids;	/* translations survive a switch of spaces, tagged as RISC-V's are; not
				 * with fewer than twice as many identifiers as CPUs */
	bool icaches;		/* fetches go through a cache of each CPU's that stores do not reach */
	bool software_ad;	/* the walker faults instead of setting A and D */
	bool caches_invalid;	/* what is cached refuses, absent entries too, until it is published */
	bool needs_bbm;		/* a live entry's frame or size changes only through absent */
	bool no_icache_check;
	bool kernel_tables;	/* mapping in the kernel's ranges takes table pages, which may fail */
	unsigned tlb_entries;	/* leaf translations a CPU keeps of a space; 0: all of them */
	unsigned spurious_every; /* every n-th allowed user access faults all the same; 0: never */
	unsigned timer_every;	/* mean of contract calls between extra timer interrupts; 0: none */
	unsigned preempt_every; /* mean of points (below) between interrupts that end a slice; 0: none */
	uint64_t preempt_at;	/* one such interrupt at exactly that point, from 1; 0: none */
	bool shared_points;	/* of the accesses only marked ones, and those to struct pages, are points */
	bool watch_races;	/* accesses before which an interrupt came are watched for races */
	uint64_t seed;		/* of everything that is left to chance */
	const char *cmdline;	/* for fake_run() */
	const void *initrd;	/* copied into RAM */
	size_t initrd_size;
	size_t trace_ring_size; /* reserved at the end of RAM */
	bool console;		/* what is typed on standard input reaches the kernel */
	void (*log)(const char *s, size_t n); /* NULL: standard error */
};

/* Starts a machine. cfg NULL: all defaults. 0 or -1 (host out of memory, bad configuration; said
 * on standard error). */
int fake_machine_create(const struct fake_config *cfg);
/* Ends it: every host thread of a task is ended, all host memory returned. */
void fake_machine_destroy(void);

/* Orders an accident by name before the core starts, as command lines do: "cache-invalid",
 * "software-ad", "needs-bbm", "asids", "icaches", "tlb-entries", "spurious", "timer", "seed", "shrink-ram"
 * (bytes left of the last range). Returns false for an unknown name. */
bool fake_accident(const char *name, uint64_t value);

/* ---- accusations ----------------------------------------------------------------------------- */

enum fake_accusation {
	FAKE_STALE_FREE,    /* a frame or table was freed that a CPU can still reach */
	FAKE_STALE_RETURN,  /* the core returned with a translation cached that it had taken away */
	FAKE_STALE_USER,    /* a CPU is in user mode with one, and its maker has left the core */
	FAKE_NO_BBM,	    /* a live entry changed its frame or size without a break */
	FAKE_LOST_BITS,	    /* a plain store over a live entry that hardware may mark meanwhile */
	FAKE_FREED_MAPPED,  /* a frame was freed that a live entry names */
	FAKE_FREED_TABLE,   /* a table was freed that is still linked */
	FAKE_FREED_DMA,	    /* a frame was freed that a disk still transfers */
	FAKE_TAKEN_MAPPED,  /* a frame was handed out that is mapped or a table: out twice */
	FAKE_ICACHE,	    /* new code published without hal_icache_sync() */
	FAKE_STALE_CODE,    /* a CPU fetched what its instruction cache kept over hal_icache_sync() */
	FAKE_ASID,	    /* a CPU runs a space by an identifier under which it holds what is not its */
	FAKE_IRQ_ORDER,	    /* interrupt state restored out of order */
	FAKE_CONTEXT,	    /* a call, or user mode, from a context that its contract forbids */
	FAKE_IPI_IRQS_OFF,  /* waits for another CPU with interrupts off, or it never answered */
	FAKE_LIVELOCK,	    /* one access faults for ever: a forgotten hal_pt_published(), say */
	FAKE_BAD_CALL,	    /* arguments that no caller may pass */
	FAKE_RACE,	    /* two accesses that nothing orders, one of them a plain one, one a store */
	FAKE_RELAXED,	    /* a word that was taken by an exchange which acquires is let go without a release */
	FAKE_PER_CPU,	    /* one CPU's data touched by another, or with interrupts on */
	FAKE_ACCUSATIONS
};

const char *fake_accusation_name(enum fake_accusation what);
/* Called instead of abort(). If it returns, the machine puts right what it complained of as well
 * as it can and goes on. fn NULL: abort again. */
void fake_on_accusation(void (*fn)(enum fake_accusation what, const char *msg, void *ctx),
			void *ctx);
/* Accusations of that kind so far, and the text of the last of any kind. */
unsigned fake_accused(enum fake_accusation what);
const char *fake_last_accusation(void);

/* The core has returned from a call: no CPU may hold a translation that it took away. Entering
 * user mode checks the same; tests call it after each call that they make. */
void fake_core_returned(void);
/* Compares every cached translation with the live tables, however they were changed; returns how
 * many are more permissive. No accusation. */
unsigned long fake_tlb_audit(void);

/* ---- acting as a CPU and as user mode -------------------------------------------------------- */

/* The calling thread is CPU n from now on (one thread that plays them in turn). */
void fake_cpu_switch(unsigned n);
/* Runs fn(arg) on a host thread of its own as CPU n, beside the caller; join waits for it. */
int fake_cpu_start(unsigned n, void (*fn)(void *arg), void *arg);
void fake_cpu_join(unsigned n);

/* Called where hal_cpu_kick() has interrupted a CPU, interrupts off there; NULL: a kick is accused. */
void fake_on_kick(void (*fn)(void));

/* Resolves a fault. true: try the access again. Without kernel/ a test gives one that calls
 * quire_page_fault(); NULL: every fault is final. */
typedef bool (*fake_fault_fn)(const struct fault_info *fi, void *ctx);
void fake_on_fault(fake_fault_fn fn, void *ctx);

/* One user access in the running space, 1, 2, 4 or 8 bytes wide, faults resolved as they come.
 * false: the handler refused; *fi (may be NULL) is the fault that it refused. An access over a
 * page border happens after both pages are there. fetch reads the bytes as code. */
bool fake_user_load(uintptr_t va, unsigned width, uint64_t *value, struct fault_info *fi);
bool fake_user_store(uintptr_t va, unsigned width, uint64_t value, struct fault_info *fi);
bool fake_user_fetch(uintptr_t va, unsigned width, uint64_t *value, struct fault_info *fi);
/* Where it leads by the live tables alone, walked as the hardware would; UINT64_MAX: nowhere. */
phys_addr_t fake_user_phys(uintptr_t va);

/* ---- points ---------------------------------------------------------------------------------- */
/*
 * A point is where an interrupt may arrive and so another task may come in: a call of the machine,
 * and where the core and kernel/ were compiled with the instrumentation of a thread sanitizer
 * (access.c) each of their accesses to memory. Only those with interrupts on count.
 */

/* Points so far: preempt_at from 1 to here reaches each of them. */
uint64_t fake_points(void);
/* Called at the chosen points instead of an interrupt, no point being met meanwhile: without
 * kernel/ a test may make the caller another CPU there (fake_cpu_switch()). fn NULL: interrupts. */
void fake_on_point(void (*fn)(void *ctx), void *ctx);
/* The points after this call are counted from 1, and chosen so. */
void fake_choose_points(unsigned every, uint64_t at);
/* Only CPU cpu touches those n bytes, with interrupts off, but by atomic and volatile accesses.
 * Seen by instrumented code only. cpu < 0: whoever may again. */
void fake_per_cpu(const void *p, size_t n, int cpu);

/* In those bytes (one range) races are none, because an interrupt leaves them as it found them. */
void fake_unwatched(const void *p, size_t n);

/* ---- several CPUs in turn --------------------------------------------------------------------- */
/*
 * All CPUs of the machine at once on one host thread, so that a run with the same seed is the same
 * again. On each CPU stands a context; one of them goes on, and at the chosen points, which here are
 * there with interrupts off too, another. A context that waits for another CPU (hal_cpu_relax(), an
 * answer to a call) gives the others the turn. Calls between CPUs and flushes take their time: until a
 * CPU has interrupts on and its turn comes, it reads through what it has cached.
 */
struct fake_context;

struct fake_turns {
	/* The context that stands on a CPU anew: to switch to its space. Interrupts off. */
	void (*arrived)(struct fake_context *c);
	/* Whether the running context may be moved to another CPU at this point (it has interrupts on). */
	bool (*movable)(void);
	/* No CPU has anything to do. true: somebody was woken. */
	bool (*idle)(void);
	/* Contexts that wait have had the turn a million times, and no other. */
	void (*stuck)(void);
};

/* A context that is ready to run fn(arg), interrupts on; it is gone when fn returns. data is the
 * caller's. NULL: the host is out of memory. */
struct fake_context *fake_context_start(void (*fn)(void *arg), void *arg, void *data);
/* The running one's data; NULL: none runs. */
void *fake_context_data(void);
/* The running context leaves its CPU until it is woken; at once if it was woken before. Interrupts on. */
void fake_context_sleep(void);
void fake_context_wake(struct fake_context *c);
struct fake_context *fake_context_mine(void);
/* A point, where the caller has one of its own: a lock taken. */
void fake_context_point(void);
/* On standard error, for people: what each CPU does. */
void fake_tell_turns(void);
/* How many have been started and are not gone. */
unsigned fake_contexts(void);
/* Lets the CPUs of the machine run until no context is left. Points are chosen as
 * fake_choose_points() said. The caller is CPU 0 before and after. */
void fake_take_turns(const struct fake_turns *how);

struct fake_counters {
	uint64_t walks, tlb_hits, faults, spurious, ad_sets;
	uint64_t flushes;	/* calls of hal_tlb_flush() */
	uint64_t flushed;	/* translations that they removed */
	uint64_t kernel_flushes; /* calls of hal_kernel_flush() */
	uint64_t published, ipis, icache_syncs, timer_irqs, switches;
	uint64_t turns;		/* another CPU went on (turns.c) */
};
const struct fake_counters *fake_counters(void);
/* Translations that CPU n holds of the space; the running one if s is NULL. */
unsigned long fake_tlb_held(unsigned cpu, struct arch_space *s);
/* A bank of device registers: physical memory that is no RAM. It keeps what is written to it. */
#define FAKE_DEVICE_BYTES (16ull << ARCH_PAGE_SHIFT)
phys_addr_t fake_device_phys(void);
/* The memory type that a page of the kernel's windows was mapped with. */
enum mem_type fake_window_type(uintptr_t va);
/* From now on (or no longer) the entry of a free page of a window is a word that nobody wrote. */
void fake_corrupt_window(uintptr_t va, bool corrupt);
/* Where an address of the kernel's windows leads; UINT64_MAX: it is not mapped. */
phys_addr_t fake_window_phys(uintptr_t va);
/* Live entries of linked tables that map the frame. */
unsigned fake_frame_mapped(pfn_t pfn);

#endif
