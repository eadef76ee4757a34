/* SPDX-License-Identifier: MIT */
/*
 * The meter of latency.h. A stretch begins where the state left "on" and ends where it came back;
 * stretches that end at one place are one record, which keeps the longest. Each CPU has its own
 * meters, and no lock: with interrupts off no other code is on the CPU, and where pre-emption is off
 * the task stays on it. A stretch of pre-emption begins after the depth was counted up and ends before
 * it is counted down, so no other task gets the CPU within one.
 *
 * An interrupt that comes within a stretch of pre-emption is not part of it: its handler is a stretch
 * of interrupts of its own, and a pending one would come in anywhere. What a stretch is held to is
 * what its own code does. An exception (a page fault) within one is its own code's.
 */
#include "arch/common/latency.h"

#ifdef MEASURE_LATENCY
#include "arch/hal.h"
#include "arch.h"

#define RECORDS 256
#define SHORT	1000 /* instructions: not worth a record */

struct stretch {
	uintptr_t to, from;
	uint64_t longest;
};

/* Of one CPU, which alone touches it; the others' are read at the end, when they idle. */
struct meter {
	bool off;
	uintptr_t from;
	uint64_t since;
	uint64_t lost; /* stretches that found the table full */
	struct stretch record[RECORDS];
};

static struct cpu_meters {
	struct meter irqs, preemption;
	enum latency_path path;
	uint64_t passed[LATENCY_PATHS][2][2]; /* interrupts off, pre-emption off */
} meters[ARCH_CPUS_MAX];

static bool started; /* before that a CPU may not know its number; set once, by the first */

static struct cpu_meters *mine(void)
{
	return &meters[started ? hal_cpu_id() : 0];
}

static void begin(struct meter *m, uintptr_t at)
{
	if (m->off || !started)
		return;
	m->off = true;
	m->from = at;
	__atomic_signal_fence(__ATOMIC_SEQ_CST); /* an interrupt before the next line is not counted */
	m->since = arch_instructions();
}

/* How long the stretch has been. Again if an interrupt came in between, which puts off its beginning. */
static uint64_t length(const struct meter *m)
{
	uint64_t since, now;

	do {
		since = READ_ONCE(m->since);
		now = arch_instructions();
	} while (READ_ONCE(m->since) != since);
	return now - since;
}

static void end(struct meter *m, uintptr_t at)
{
	uint64_t n = length(m);
	struct stretch *s = m->record;
	unsigned i = (unsigned)(at >> 1) % RECORDS;

	if (!m->off)
		return;
	m->off = false;
	if (n < SHORT)
		return;
	for (unsigned probe = 0; s[i].to && s[i].to != at; i = (i + 1) % RECORDS) {
		if (++probe < RECORDS)
			continue;
		m->lost++;
		return;
	}
	if (n > s[i].longest)
		s[i] = (struct stretch){at, m->from, n};
}

#define HERE ((uintptr_t)__builtin_return_address(0))

void latency_irqs_off(void)
{
	begin(&mine()->irqs, HERE);
}

void latency_irqs_on(void)
{
	end(&mine()->irqs, HERE);
}

void latency_preempt_off(uintptr_t at)
{
	begin(&mine()->preemption, at);
}

void latency_preempt_on(uintptr_t at)
{
	end(&mine()->preemption, at);
}

void latency_interrupted(void)
{
	struct cpu_meters *c = mine();

	if (c->preemption.off)
		c->preemption.since += arch_instructions() - c->irqs.since;
}

void latency_start(void)
{
	started = true;
	begin(&mine()->irqs, HERE);
}

/* ---- paths ------------------------------------------------------------------------------------ */

static const char *const path_names[LATENCY_PATHS] = {
	[PATH_BOOT] = "start and end", [PATH_IDLE] = "idle", [PATH_THREAD] = "kernel thread",
	[PATH_CALL] = "system call", [PATH_FAULT] = "page fault", [PATH_TICK] = "tick",
	[PATH_DEVICE] = "interrupt of a device",
	[PATH_RETURN] = "return to user mode", [PATH_DUMP] = "dump of tables",
};

/* A task that is moved while it says where it is leaves its word on the CPU that it was on: the records
 * of might_sleep() are for one CPU. */
enum latency_path latency_enter(enum latency_path to)
{
	struct cpu_meters *c = mine();
	enum latency_path before = c->path;

	c->path = to;
	return before;
}

void latency_leave(enum latency_path before)
{
	mine()->path = before;
}

void latency_might_sleep(void)
{
	struct cpu_meters *c = mine();

	c->passed[c->path][hal_irqs_off()][c->preemption.off]++;
}

void latency_show_paths(void (*fn)(const char *, bool, bool, uint64_t))
{
	for (unsigned p = 0; p < LATENCY_PATHS; p++)
		for (unsigned i = 0; i < 4; i++) {
			uint64_t n = 0;

			for (unsigned cpu = 0; cpu < ARCH_CPUS_MAX; cpu++)
				n += meters[cpu].passed[p][i >> 1][i & 1];
			if (n)
				fn(path_names[p], i >> 1, i & 1, n);
		}
}

/* ---- what came of it -------------------------------------------------------------------------- */

static void show(const struct meter *m, const char *kind, uint64_t least,
		 void (*fn)(const char *, uint64_t, uintptr_t, uintptr_t))
{
	for (unsigned i = 0; i < RECORDS; i++)
		if (m->record[i].longest > least)
			fn(kind, m->record[i].longest, m->record[i].from, m->record[i].to);
	if (m->lost)
		fn("lost", m->lost, 0, 0);
}

void latency_show(uint64_t least, void (*fn)(const char *, uint64_t, uintptr_t, uintptr_t))
{
	for (unsigned cpu = 0; cpu < ARCH_CPUS_MAX; cpu++) {
		show(&meters[cpu].irqs, "interrupts", least, fn);
		show(&meters[cpu].preemption, "preemption", least, fn);
	}
}
#endif
