/* SPDX-License-Identifier: MIT */
/*
 * Address-space identifiers (asid.h).
 *
 * When all are given out the generation counts up, and they are given out anew. A space that a CPU runs
 * keeps its own, which is left out this time; every other one gets another when it is switched to. What
 * CPUs still hold under old ones is forgotten CPU by CPU, before it first runs a space after the roll-over
 * (to_flush).
 *
 * A CPU that switches does not take the lock as a rule. It has said which space it is going to run
 * (mmu_running), and then reads the generation; who rolls over changes the generation, and then reads
 * what the CPUs run. So either he sees that space, and it keeps its identifier, or the CPU sees the
 * new generation and comes for the lock. Should it see the old one, what it holds of the space that it
 * leaves is flushed at its next switch, and it runs none that could meet it before.
 *
 * Who flushes a space of an old generation need not, if no CPU runs it: the next one that does will have
 * a new identifier for it. But between the two steps of a roll-over a space that runs looks old, so what
 * the CPUs run decides, read after the generation as above.
 */
#include "arch/common/asid.h"

#include "lib/bug.h"
#include "arch.h"

static uint64_t asid_generation = 1; /* atomic; changed under the lock */
static uint64_t to_flush;	     /* bit n: CPU n has not forgotten old identifiers; atomic */
static uint64_t icache_stale;	     /* bit n: CPU n fences its fetches before it runs a program; atomic */
static uint32_t asid_next = 1;	     /* the lock */
static uint32_t kept[ARCH_CPUS_MAX]; /* the lock; identifiers that stay given out in this generation */
static unsigned nr_kept;	     /* the lock */
static uint32_t asid_lock;	     /* interrupts off */
static unsigned asid_bits;

void asid_start(unsigned bits)
{
	asid_bits = bits;
	asid_generation = 1;
	to_flush = icache_stale = 0;
	asid_next = 1;
	nr_kept = 0;
}

unsigned asid_usable(unsigned bits, unsigned cpus)
{
	return 1u << bits >= 2 * cpus ? bits : 0;
}

/* ---- giving them out ------------------------------------------------------------------------- */

static struct arch_space *runs(unsigned cpu)
{
	return __atomic_load_n(&mmu_running[cpu], __ATOMIC_SEQ_CST);
}

static void roll_over(void)
{
	uint64_t old = asid_generation;

	__atomic_store_n(&to_flush, (2ull << (hal_cpu_count() - 1)) - 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&asid_generation, old + 1, __ATOMIC_SEQ_CST);
	asid_next = 1;
	nr_kept = 0;
	for (unsigned c = 0; c < hal_cpu_count(); c++) {
		struct arch_space *s = runs(c);
		uint64_t seen = s ? __atomic_load_n(&s->generation, __ATOMIC_RELAXED) : 0;

		if (seen == old || (seen == old + 1 && s)) /* the second: two CPUs run it */
			kept[nr_kept++] = s->asid;
		if (seen == old)
			__atomic_store_n(&s->generation, old + 1, __ATOMIC_RELEASE);
	}
}

static bool is_kept(uint32_t asid)
{
	for (unsigned i = 0; i < nr_kept; i++)
		if (kept[i] == asid)
			return true;
	return false;
}

static void assign(struct arch_space *s)
{
	while (__atomic_exchange_n(&asid_lock, 1, __ATOMIC_ACQUIRE))
		hal_cpu_relax();
	while (s->generation != asid_generation) {
		while (is_kept(asid_next))
			asid_next++;
		if (asid_next >> asid_bits) { /* there are twice as many as CPUs */
			roll_over();
			continue;
		}
		s->asid = asid_next++;
		__atomic_store_n(&s->generation, asid_generation, __ATOMIC_RELEASE);
	}
	__atomic_store_n(&asid_lock, 0, __ATOMIC_RELEASE);
}

static bool is_current(const struct arch_space *s)
{
	return __atomic_load_n(&s->generation, __ATOMIC_ACQUIRE) ==
	       __atomic_load_n(&asid_generation, __ATOMIC_SEQ_CST);
}

bool asid_cached(const struct arch_space *s)
{
	if (!asid_bits || is_current(s))
		return true;
	for (unsigned c = 0; c < hal_cpu_count(); c++)
		if (runs(c) == s)
			return true;
	return false;
}

/* ---- what is put off ------------------------------------------------------------------------- */

static bool cpu_runs(unsigned cpu, const struct arch_space *s)
{
	const struct arch_space *now = runs(cpu);

	return s ? now == s : now != NULL;
}

/* A CPU stores what it runs and then looks at its note, as we do the other way round. */
uint64_t asid_note_stale(uint64_t *stale, uint64_t cpus, const struct arch_space *s)
{
	uint64_t now = 0;

	for (unsigned c = 0; cpus >> c; c++) {
		if (!(cpus >> c & 1))
			continue;
		if (!cpu_runs(c, s))
			__atomic_fetch_or(stale, 1ull << c, __ATOMIC_SEQ_CST);
		if (cpu_runs(c, s))
			now |= 1ull << c;
	}
	return now;
}

/* Whether this CPU, which has said what it runs, has to; from now on it has not. */
static bool was_stale(uint64_t *stale)
{
	uint64_t bit = 1ull << hal_cpu_id();

	if (likely(!(__atomic_load_n(stale, __ATOMIC_SEQ_CST) & bit)))
		return false;
	__atomic_fetch_and(stale, ~bit, __ATOMIC_ACQ_REL);
	return true;
}

void asid_load(struct arch_space *s, pfn_t root)
{
	if (s && asid_bits && !is_current(s))
		assign(s);
	arch_root_load(root, s ? s->asid : 0);
	if (s && was_stale(&icache_stale))
		arch_fence_i();
	if (!asid_bits) {
		arch_fence_asid(0);
		return;
	}
	if (s && was_stale(&s->stale))
		arch_fence_asid(s->asid);
	if (was_stale(&to_flush))
		arch_flush_all();
}

void asid_icache_sync(uint64_t cpus)
{
	irqflags_t flags = hal_irq_save();
	uint64_t now;

	arch_fence_i();
	now = asid_note_stale(&icache_stale, cpus & ~(1ull << hal_cpu_id()), NULL);
	hal_irq_restore(flags);
	if (now)
		arch_fence_i_others(now);
}
