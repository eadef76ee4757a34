/* SPDX-License-Identifier: MIT */
/*
 * The meter of latency.h. A stretch begins where the state left "on" and ends where it came back;
 * stretches that end at one place are one record, which keeps the longest. No lock: with interrupts
 * off nobody else is here, and the depth of pre-emption is the CPU's own.
 */
#include "arch/common/latency.h"

#ifdef MEASURE_LATENCY
#include "arch/hal.h"
#include "arch.h"

#define RECORDS 512

struct stretch {
	uintptr_t to, from;
	uint64_t longest;
};

static struct meter {
	const char *kind;
	bool off;
	uintptr_t from;
	uint64_t since;
	struct stretch record[RECORDS];
} irqs = {.kind = "interrupts"}, preemption = {.kind = "preemption"};

static void begin(struct meter *m, uintptr_t at)
{
	if (m->off)
		return;
	m->off = true;
	m->from = at;
	m->since = arch_instructions();
}

/* A table that is full loses places, and says so by its last record. */
static void end(struct meter *m, uintptr_t at)
{
	uint64_t n = arch_instructions() - m->since;
	struct stretch *s = m->record;
	unsigned i = (unsigned)(at >> 1) % RECORDS;

	if (!m->off)
		return;
	m->off = false;
	if (n < 1000)
		return;
	for (unsigned probe = 0; probe < RECORDS && s[i].to && s[i].to != at; probe++)
		i = (i + 1) % RECORDS;
	if (n > s[i].longest)
		s[i] = (struct stretch){at, m->from, n};
}

#define HERE ((uintptr_t)__builtin_return_address(0))

void latency_irqs_off(void)
{
	begin(&irqs, HERE);
}

void latency_irqs_on(void)
{
	end(&irqs, HERE);
}

void latency_preempt_off(uintptr_t at)
{
	begin(&preemption, at);
}

/* An interrupt that comes while the record is made would only make it longer. */
void latency_preempt_on(uintptr_t at)
{
	end(&preemption, at);
}

void latency_start(void)
{
	irqs.off = false;
	begin(&irqs, HERE);
}

/* ---- paths ------------------------------------------------------------------------------------ */

static const char *const path_names[LATENCY_PATHS] = {
	[PATH_BOOT] = "start and end", [PATH_IDLE] = "idle", [PATH_THREAD] = "kernel thread",
	[PATH_CALL] = "system call", [PATH_FAULT] = "page fault", [PATH_TICK] = "tick",
	[PATH_DEVICE] = "interrupt of a device",
	[PATH_RETURN] = "return to user mode", [PATH_DUMP] = "dump of tables",
};

static enum latency_path path;
static uint64_t passed[LATENCY_PATHS][2][2]; /* interrupts off, pre-emption off */

enum latency_path latency_enter(enum latency_path to)
{
	enum latency_path before = path;

	path = to;
	return before;
}

void latency_leave(enum latency_path before)
{
	path = before;
}

void latency_might_sleep(void)
{
	passed[path][hal_irqs_off()][preemption.off]++;
}

void latency_show_paths(void (*fn)(const char *, bool, bool, uint64_t))
{
	for (unsigned p = 0; p < LATENCY_PATHS; p++)
		for (unsigned i = 0; i < 4; i++)
			if (passed[p][i >> 1][i & 1])
				fn(path_names[p], i >> 1, i & 1, passed[p][i >> 1][i & 1]);
}

/* ---- what came of it -------------------------------------------------------------------------- */

static void show(const struct meter *m, uint64_t least,
		 void (*fn)(const char *, uint64_t, uintptr_t, uintptr_t))
{
	for (unsigned i = 0; i < RECORDS; i++)
		if (m->record[i].longest > least)
			fn(m->kind, m->record[i].longest, m->record[i].from, m->record[i].to);
}

void latency_show(uint64_t least, void (*fn)(const char *, uint64_t, uintptr_t, uintptr_t))
{
	show(&irqs, least, fn);
	show(&preemption, least, fn);
}
#endif
