/* SPDX-License-Identifier: MIT */
/*
 * The writer of the trace ring (include/quire/trace.h is the format). One lock makes the order of
 * records the order of their numbers on every CPU. The reader may be another machine that shares
 * the memory and never takes the lock: a record is complete before head says so, and tail is only
 * ever read.
 *
 * A full ring with a reader makes the writer wait, outside the lock and with interrupts as they
 * were; without a reader it ends the trace and counts what was lost, so that a program is never
 * held up by a trace without a reader.
 */
#include "mm/base/trace.h"
#include "lib/spinlock.h"
#include "lib/string.h"
#include "mm/base/lockrank.h"
#include "mm/base/page.h"
#include "mm/base/slowpath.h"
#include "mm/base/sysctl.h"
#include <quire/abi.h>
#include <quire/quire.h>

bool quire_trace_on, trace_pages_on, trace_kmem_on;
static struct quire_trace_ring *ring;
static struct quire_trace_record *records;
static spinlock_t trace_lock = SPINLOCK_INIT_RANK("trace", RANK_TRACE);

/* tail is another machine's word: read once, with acquire, trusted for nothing but this. */
static bool ring_full(void)
{
	uint64_t tail = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE);

	assert_held(&trace_lock);
	return ring->head - tail >= ring->capacity;
}

/* All six words are written, so that a slot used again tells nothing of its past. */
static void fill(struct quire_trace_record *r, unsigned type, const uint64_t *w, unsigned n)
{
	assert_held(&trace_lock);
	ASSERT(n <= 6);
	r->time_ns = os_clock_ns();
	r->type = type;
	r->cpu = hal_cpu_id();
	r->pid = os_current_pid();
	for (unsigned i = 0; i < 6; i++)
		r->w[i] = i < n ? w[i] : 0;
}

/* Tries to write; false: the ring is full and has a reader, so try again. */
static bool trace_try(unsigned type, const uint64_t *w, unsigned n)
{
	bool done = true;
	irqflags_t flags;

	spin_lock_irqsave(&trace_lock, flags);
	if (!ring || !quire_trace_on) {
		/* switched off meanwhile */
	} else if (!ring_full()) {
		fill(&records[ring->head % ring->capacity], type, w, n);
		__atomic_store_n(&ring->head, ring->head + 1, __ATOMIC_RELEASE);
	} else if (__atomic_load_n(&ring->reader, __ATOMIC_ACQUIRE)) {
		done = false;
	} else {
		ring->stalled++;
	}
	spin_unlock_irqrestore(&trace_lock, flags);
	return done;
}

void trace_write(unsigned type, const uint64_t *w, unsigned n)
{
	while (!trace_try(type, w, n)) {
		hal_cpu_relax();
		/* A fault under a spinning lock traces too; then this CPU may not reschedule. */
		if (!hal_irqs_off() && !lockdep_held())
			os_cond_resched();
	}
}

unsigned quire_trace_last(struct quire_trace_record *out, unsigned n)
{
	uint64_t head, have;
	unsigned i;

	ASSERT(out);
	if (!ring)
		return 0;
	head = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE);
	have = head < ring->capacity ? head : ring->capacity;
	for (i = 0; i < n && i < have; i++)
		out[i] = records[(head - 1 - i) % ring->capacity];
	return i;
}

int trace_init(void *memory, size_t size)
{
	if (!memory)
		return 0;
	if (size < PAGE_SIZE + sizeof(struct quire_trace_record) || (uintptr_t)memory % 8)
		return -EINVAL;
	ring = memory;
	memset(ring, 0, PAGE_SIZE);
	ring->version = QUIRE_TRACE_VERSION;
	ring->record_size = sizeof(struct quire_trace_record);
	ring->capacity = (size - PAGE_SIZE) / sizeof(struct quire_trace_record);
	records = (struct quire_trace_record *)((char *)memory + PAGE_SIZE);
	/* A reader looks for the magic first: all else is in place when it appears. */
	__atomic_store_n(&ring->magic, QUIRE_TRACE_MAGIC, __ATOMIC_RELEASE);
	return 0;
}

void trace_exit(void)
{
	quire_trace_enable(false);
	ring = NULL;
	records = NULL;
	vm_sysctl.trace_pages = false;
	vm_sysctl.trace_kmem = false;
}

static void trace_switch(bool on)
{
	assert_held(&trace_lock);
	quire_trace_on = on && ring;
	trace_pages_on = quire_trace_on && vm_sysctl.trace_pages;
	page_slow_set(PAGE_SLOW_TRACE, trace_pages_on);
	trace_kmem_on = quire_trace_on && vm_sysctl.trace_kmem;
	kmem_hook_set(KMEM_HOOK_TRACE, trace_kmem_on);
	if (ring)
		__atomic_store_n(&ring->enabled, quire_trace_on, __ATOMIC_RELEASE);
}

void quire_trace_enable(bool on)
{
	irqflags_t flags;

	spin_lock_irqsave(&trace_lock, flags);
	trace_switch(on);
	spin_unlock_irqrestore(&trace_lock, flags);
}

bool quire_trace_enabled(void)
{
	return quire_trace_on;
}

void trace_set_pages(bool on)
{
	vm_sysctl.trace_pages = on;
	trace_pages_on = quire_trace_on && on;
	page_slow_set(PAGE_SLOW_TRACE, trace_pages_on);
}

void trace_set_kmem(bool on)
{
	vm_sysctl.trace_kmem = on;
	trace_kmem_on = quire_trace_on && on;
	kmem_hook_set(KMEM_HOOK_TRACE, trace_kmem_on);
}

void quire_trace_marker(const char *text, size_t n)
{
	uint64_t w[6] = {0};

	memcpy(w, text, n < sizeof(w) ? n : sizeof(w) - 1);
	if (quire_trace_on)
		trace_write(QUIRE_TR_MARKER, w, 6);
}

void quire_trace_words(unsigned type, const uint64_t *w, unsigned n)
{
	if (quire_trace_on)
		trace_write(type, w, n < 6 ? n : 6);
}
