/* SPDX-License-Identifier: MIT */
/*
 * Pressure stall information: how long tasks waited for memory, /proc/pressure/memory.
 *
 * A task is stalled from os_memstall(true) to os_memstall(false): it reclaims, moves pages to make a
 * block, or waits for a page that was thrown out too early. It stays so while it sleeps meanwhile.
 *
 *   some   at least one task is stalled
 *   full   at least one is, and no task could do anything else: none is runnable. The task that runs
 *          may itself be one that reclaims; the tick finds out, and counts a tick of its time (5.10's
 *          way, psi_memstall_tick).
 *
 * Times are added up where the state changes: a task stalls or no longer does, a task becomes runnable
 * or sleeps. While nobody is stalled nothing is timed, so a switch of tasks costs a count.
 *
 * Averages over 10, 60 and 300 s are taken every 2 s, by the arithmetic of the load average: what part
 * of the last period was stalled, and the older average times e^(-2/window), in fixed point of 11 bits.
 * The tick does it while there are stalls that they do not know; else who looks, and the periods that
 * were missed count as periods without a stall.
 *
 * The state is that of all CPUs together, under a lock that a switch does not take while nobody is
 * stalled. Linux keeps one for each CPU and adds them by how busy each was.
 *
 * After Linux 5.10's psi.c. Left out: triggers (writing to the file), cgroups, cpu and io.
 */
#include "psi.h"
#include "cpus.h"
#include "kernel.h"
#include <quire/os.h>

enum { SOME, FULL, STATES };
enum { WINDOWS = 3 };

#define FIXED_SHIFT 11
#define FIXED_1	    (1ul << FIXED_SHIFT)
/* Linux's period is one tick longer, so that it falls behind each time; ours only has to be over. */
#define PERIOD_NS   (2 * NS_PER_SEC)

static const unsigned long decay[WINDOWS] = {1677, 1981, 2034}; /* FIXED_1 * e^(-2/window) */

static struct rawlock psi_lock; /* inside a CPU's queue lock */
static struct {
	unsigned runnable, stalled; /* tasks; idle is none. Atomic; stalled changes under the lock */
	uint64_t since;		    /* the state is timed up to here, ns; while somebody is stalled */
	uint64_t total[STATES];	    /* ns */
	uint64_t counted[STATES];   /* of total, what the averages know */
	unsigned long avg[STATES][WINDOWS]; /* percent, fixed point */
	uint64_t last, next;	    /* the averages were taken, are to be taken; ns */
} psi;

void psi_init(void)
{
	memset(&psi, 0, sizeof(psi));
}

/* ---- times ----------------------------------------------------------------------------------- */

/* The state as it was until now. The lock; its taker may have read the clock before another's. */
static void record(uint64_t now)
{
	uint64_t passed = now > psi.since ? now - psi.since : 0;

	ASSERT_DEBUG(hal_irqs_off());
	psi.since += passed;
	if (!psi.stalled)
		return;
	psi.total[SOME] += passed;
	if (!READ_ONCE(psi.runnable))
		psi.total[FULL] += passed;
}

void psi_runnable(int n)
{
	ASSERT_DEBUG(hal_irqs_off());
	if (unlikely(READ_ONCE(psi.stalled))) {
		raw_lock(&psi_lock);
		record(hal_clock_ns());
		raw_unlock(&psi_lock);
	}
	__atomic_fetch_add(&psi.runnable, (unsigned)n, __ATOMIC_RELAXED);
}

/* ---- averages -------------------------------------------------------------------------------- */

/* part: of this period, percent in fixed point. */
static unsigned long average(unsigned long avg, unsigned long part, unsigned long keep)
{
	unsigned long sum = avg * keep + part * (FIXED_1 - keep);

	/* Rises are rounded up, so that a steady part is reached. */
	if (part >= avg)
		sum += FIXED_1 - 1;
	return sum >> FIXED_SHIFT;
}

/* Missed periods first, then the one that has just ended. */
static void take_average(int state, uint64_t missed, uint64_t period)
{
	uint64_t part = min(psi.total[state] - psi.counted[state], period);
	unsigned long percent = (unsigned long)(part * 100 / period) * FIXED_1;

	ASSERT_DEBUG(period);
	psi.counted[state] += part;
	for (int w = 0; w < WINDOWS; w++) {
		unsigned long *avg = &psi.avg[state][w];

		for (uint64_t i = 0; i < missed && *avg; i++)
			*avg = average(*avg, 0, decay[w]);
		*avg = average(*avg, percent, decay[w]);
	}
}

static void take_averages(uint64_t now)
{
	uint64_t missed, period;

	if (now < psi.next)
		return;
	missed = (now - psi.next) / PERIOD_NS;
	psi.next += (missed + 1) * PERIOD_NS;
	period = now - (psi.last + missed * PERIOD_NS);
	psi.last = now;
	for (int s = 0; s < STATES; s++)
		take_average(s, missed, period);
}

void psi_tick(uint64_t now)
{
	bool full = READ_ONCE(psi.stalled) && all_running_stall();
	uint64_t passed;

	ASSERT_DEBUG(hal_irqs_off());
	raw_lock(&psi_lock);
	passed = now > psi.since ? now - psi.since : 0;
	if (psi.stalled) {
		record(now);
		if (full)
			psi.total[FULL] += min(passed, (uint64_t)TICK_NS);
	}
	if (psi.total[SOME] != psi.counted[SOME])
		take_averages(now);
	raw_unlock(&psi_lock);
}

/* ---- the face -------------------------------------------------------------------------------- */

void os_memstall(bool begin)
{
	irqflags_t flags = hal_irq_save();
	uint64_t now = hal_clock_ns();

	ASSERT(current->memstall != begin);
	raw_lock(&psi_lock);
	record(now);
	current->memstall = begin;
	WRITE_ONCE(psi.stalled, psi.stalled + (begin ? 1u : -1u));
	raw_unlock(&psi_lock);
	hal_irq_restore(flags);
}

void psi_show(quire_emit_fn emit, void *ctx)
{
	static const char *const names[STATES] = {"some", "full"};
	unsigned long avg[STATES][WINDOWS];
	uint64_t total[STATES];
	irqflags_t flags = hal_irq_save();
	char line[128];

	raw_lock(&psi_lock);
	record(hal_clock_ns());
	take_averages(psi.since);
	memcpy(avg, psi.avg, sizeof(avg));
	memcpy(total, psi.total, sizeof(total));
	raw_unlock(&psi_lock);
	hal_irq_restore(flags);
	for (int s = 0; s < STATES; s++) {
		size_t n = (size_t)scnprintf(line, sizeof(line), "%s", names[s]);

		for (int w = 0; w < WINDOWS; w++)
			n += (size_t)scnprintf(line + n, sizeof(line) - n, " avg%s=%lu.%02lu",
					       (const char *[]){"10", "60", "300"}[w],
					       avg[s][w] >> FIXED_SHIFT,
					       (avg[s][w] & (FIXED_1 - 1)) * 100 >> FIXED_SHIFT);
		scnprintf(line + n, sizeof(line) - n, " total=%llu\n",
			  (unsigned long long)(total[s] / 1000));
		emit(ctx, line, strlen(line));
	}
}
