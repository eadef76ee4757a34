/* SPDX-License-Identifier: MIT */
/*
 * The CPUs of the kernel: what each keeps of its own, and what they do to each other. docs/smp.md has
 * the invariants.
 */
#ifndef KERNEL_CPUS_H
#define KERNEL_CPUS_H

#include "kernel/rawlock.h"
#include "kernel/task.h"
#include <quire/quire.h>

#define MAX_CPUS 64 /* hal_cpu_count() is no more */

struct cpu {
	struct rawlock lock;	     /* the queue and what says so */
	unsigned id;
	bool online;		     /* it runs tasks; set once */
	struct task *idle;	     /* runs when no other task can; set once */
	struct task *curr;	     /* the lock, its own CPU's; it has the CPU, or is about to get it */
	struct list_head queue;	     /* the lock: who waits for the CPU */
	unsigned nr_running;	     /* the lock: the queue, and curr unless that is idle */
	bool urgent_waits;	     /* the lock: the first of the queue came before its turn */
	uint32_t resched;	     /* atomic: curr is to look for another task, at the next kick */
	uint64_t wakeups;	     /* the lock: tasks put into the queue since the start */
	/* its own, interrupts off; others may look at the times */
	struct task *left;	     /* who had the CPU before the switch that is under way */
	bool left_moves;	     /* and may not go on here; atomic: until it is in another queue */
	uint64_t switched_at;	     /* when curr got the CPU, or was last charged for it; ns */
	uint64_t wanted_since;	     /* curr.need_resched: since when; ns */
	uint64_t user_ns, system_ns, idle_ns; /* by the tick */
	uint64_t preemptions;	     /* of kernel code */
	uint64_t switches;	     /* of tasks */
	uint64_t stopped_ip;	     /* where it was when it was told to stop; 0: it was not */
} __attribute__((aligned(64)));

extern struct cpu cpus[MAX_CPUS];
extern uint64_t cpus_online; /* bit n: CPU n runs tasks. Grows at boot alone */

/* Interrupts or pre-emption off. */
static inline struct cpu *this_cpu(void)
{
	return &cpus[hal_cpu_id()];
}

static inline bool one_cpu(void)
{
	return likely(cpus_online == 1);
}

#define for_each_online_cpu(c)                             \
	for ((c) = cpus; (c) < cpus + hal_cpu_count(); (c)++) \
		if (!(c)->online) {                        \
		} else

/* ---- cpus.c ----------------------------------------------------------------------------------- */

/* Starts those that there are, at most options.cpus in all. Boot, once there is memory, interrupts off; on
 * afterwards if another one runs. */
void cpus_start(void);
/* They run tasks from now on. Boot, last of all. */
void cpus_release(void);
/* Pages that the other CPUs stand on for good. */
unsigned cpus_pages(void);
void cpus_init(void);
/* The others stand still for good, in a panic; at most a moment is waited for them. Interrupts off. false: this CPU had one
 * already. Does not return if another CPU was first, which ends the machine. */
bool cpus_halt(void);
/* The CPU that has the panic; -1: there is none. */
int cpu_of_panic(void);

/* From a kick: does not return if another CPU has a panic. */
void cpu_kicked(struct cpu *c, const struct trap_frame *tf);

/* ---- stop.c ----------------------------------------------------------------------------------- */

enum stop_phase { STOP_NONE, STOP_DRAIN, STOP_HELD };
extern uint32_t stop_phase; /* atomic; read before a CPU chooses a task, under its lock */

static inline bool stopping(void)
{
	return unlikely(__atomic_load_n(&stop_phase, __ATOMIC_RELAXED));
}

/* Returns when no other task is in the kernel but asleep, and none runs. The caller holds nothing that
 * others wait for without sleeping. Any number may ask at once. Context: sleep. */
void cpus_stop(void);
/* The others go on. Whether they stood still from the return of cpus_stop() until now: false if the caller
 * had to sleep meanwhile, which let them. */
bool cpus_go_on(void);
/* The others have stood still so far. The caller of cpus_stop(). */
bool cpus_are_stopped(void);
/* quire_check(mm) with nobody beside it. Context: sleep. */
long check_alone(struct quire_mm *mm);
/* The caller has done what it was to do in the kernel, and lets others run. */
void schedule_quietly(void);

/* For the scheduler: may t have a CPU; the running task is about to sleep. Interrupts off. */
bool stop_lets_run(const struct task *t);
void stop_owner_sleeps(void);
void stop_init(void);

/* ---- affinity.c ------------------------------------------------------------------------------ */

/* The numbers of a mask, "0-2,5". */
void say_cpu_list(char *buf, size_t size, uint64_t mask);
/* The online CPUs that t may run on. */
uint64_t task_cpus(const struct task *t);
/* /proc/stat and /proc/cpuinfo. */
void show_cpu_times(quire_emit_fn emit, void *ctx);
void show_cpu_info(quire_emit_fn emit, void *ctx);

/* ---- sched.c --------------------------------------------------------------------------------- */

/* The CPU's idle task is idle, whose context this is, and the CPU can be given tasks. Interrupts off. */
void sched_cpu_online(struct cpu *c, struct task *idle);
/* No CPU runs a task, and none is about to. */
bool all_cpus_idle(void);
/* Every task that runs now waits for memory, and one does. Interrupts off. */
bool all_running_stall(void);
/* t is on a CPU, if it is not ours: interrupts it, so that it looks at its signals. t does not go away. */
void kick_task(struct task *t);
/* t may run on these CPUs, one of which is online, and from now on does not on others. */
void set_task_cpus(struct task *t, uint64_t allowed);

#endif
