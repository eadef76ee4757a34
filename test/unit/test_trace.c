/* SPDX-License-Identifier: MIT */
/* The trace ring: order, fullness with and without a reader, several writers. */
#include "mm_test.h"

#include <pthread.h>

#include "mm/base/trace.h"

#define MIB (1ull << 20)

static _Alignas(64) char memory[1 << 20];
static struct quire_trace_ring *const ring = (struct quire_trace_ring *)memory;
static struct quire_trace_record *records(void)
{
	return (struct quire_trace_record *)(memory + PAGE_SIZE);
}

static void up(size_t capacity, unsigned cpus)
{
	machine_up_cfg(&(struct fake_config){.ram = 64 * MIB, .cpus = cpus},
		       &(struct quire_config){.trace_ring = memory,
					      .trace_ring_size = PAGE_SIZE + capacity * 64});
}

Test(trace, header)
{
	up(256, 1);
	cr_expect_eq(ring->magic, QUIRE_TRACE_MAGIC);
	cr_expect_eq(memcmp(memory, "Quqtrace", 8), 0);
	cr_expect_eq(ring->version, QUIRE_TRACE_VERSION);
	cr_expect_eq(ring->record_size, 64);
	cr_expect_eq(ring->capacity, 256);
	cr_expect_eq(sizeof(struct quire_trace_record), 64);
	machine_down();
}

Test(trace, off_writes_nothing)
{
	up(256, 1);
	trace_page_fault(true, 1, 2, 3);
	quire_trace_marker("x", 1);
	cr_expect_eq(ring->head, 0);
	quire_trace_enable(true);
	cr_expect(quire_trace_enabled());
	cr_expect_eq(ring->enabled, 1);
	trace_page_fault(true, 0x1000, 0x2000, 6);
	quire_trace_enable(false);
	trace_page_fault(true, 1, 2, 3);
	cr_expect_eq(ring->head, 1);
	cr_expect_eq(records()[0].type, QUIRE_TR_PAGE_FAULT_USER);
	cr_expect_eq(records()[0].w[0], 0x1000);
	cr_expect_eq(records()[0].w[2], 6);
	cr_expect_eq(records()[0].w[5], 0);
	machine_down();
}

Test(trace, fields_of_mm_fault)
{
	up(256, 1);
	quire_trace_enable(true);
	trace_mm_fault(0x7000, QUIRE_ROW_COW, 1, true, 3, 0x5000, 0x9000, 0x73, 0x400123);
	cr_expect_eq(records()[0].w[1], QUIRE_ROW_COW | 1 << 8 | 1 << 16 | 3 << 24);
	cr_expect_eq(records()[0].w[3], 0x9000);
	cr_expect_eq(records()[0].w[5], 0x400123);
	quire_trace_marker("hello", 5);
	cr_expect_str_eq(records()[1].text, "hello");
	machine_down();
}

Test(trace, nobody_reads_so_it_stops)
{
	up(64, 1);
	quire_trace_enable(true);
	for (uint64_t i = 0; i < 100; i++)
		quire_trace_words(QUIRE_TR_MARKER, &i, 1);
	cr_expect_eq(ring->head, 64);
	cr_expect_eq(ring->stalled, 36);
	for (uint64_t i = 0; i < 64; i++)
		cr_assert_eq(records()[i].w[0], i);
	machine_down();
}

static uint64_t got[3];
static bool in_order = true;
static uint64_t wanted;

/* Another thread, as another machine would: head, records, tail, and nothing else. */
static void *reader(void *arg)
{
	uint64_t tail = 0;

	while (tail < wanted) {
		uint64_t head = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE);

		for (; tail < head; tail++) {
			struct quire_trace_record *r = &records()[tail % ring->capacity];

			in_order &= r->w[1] == got[r->w[0]]++;
		}
		__atomic_store_n(&ring->tail, tail, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void writer(void *arg)
{
	for (uint64_t i = 0; i < 5000; i++)
		quire_trace_words(QUIRE_TR_MARKER, (uint64_t[]){(uintptr_t)arg, i}, 2);
}

Test(trace, writers_wait_for_the_reader)
{
	pthread_t t;

	up(64, 3);
	ring->reader = 1;
	wanted = 15000;
	quire_trace_enable(true);
	pthread_create(&t, NULL, reader, NULL);
	fake_cpu_start(1, writer, (void *)1);
	fake_cpu_start(2, writer, (void *)2);
	writer(NULL);
	fake_cpu_join(1);
	fake_cpu_join(2);
	pthread_join(t, NULL);
	cr_expect(in_order);
	cr_expect_eq(got[0] + got[1] + got[2], 15000);
	cr_expect_eq(ring->stalled, 0);
	machine_down();
}

Test(trace, last_records_for_a_panic)
{
	struct quire_trace_record r[8];

	up(64, 1);
	cr_expect_eq(quire_trace_last(r, 8), 0);
	quire_trace_enable(true);
	for (uint64_t i = 0; i < 5; i++)
		quire_trace_words(QUIRE_TR_MARKER, &i, 1);
	cr_expect_eq(quire_trace_last(r, 3), 3);
	cr_expect_eq(r[0].w[0], 4);
	cr_expect_eq(r[2].w[0], 2);
	cr_expect_eq(quire_trace_last(r, 8), 5);
	machine_down();
}

Test(trace, page_events_on_request)
{
	long on = 1;
	uintptr_t p;

	up(64, 1);
	quire_trace_enable(true);
	trace_set_pages(on);
	p = __get_free_pages(GFP_KERNEL, 2);
	free_pages(p, 2);
	trace_set_pages(false);
	cr_expect_eq(ring->head, 2);
	cr_expect_eq(records()[0].type, QUIRE_TR_PAGE_ALLOC);
	cr_expect_eq(records()[1].type, QUIRE_TR_PAGE_FREE);
	cr_expect_eq(records()[0].w[0], records()[1].w[0]);
	cr_expect_eq(records()[1].w[1], 2);
	machine_down();
}

/* Events of pages and objects: wanted before the trace runs, and while it does. */
Test(trace, kinds_asked_for_before_and_after)
{
	uint64_t head;

	up(256, 1);
	trace_set_pages(true);
	trace_set_kmem(true);
	free_pages(__get_free_pages(GFP_KERNEL, 0), 0);
	cr_expect_eq(ring->head, 0, "not yet");
	quire_trace_enable(true);
	free_pages(__get_free_pages(GFP_KERNEL, 0), 0);
	head = ring->head;
	cr_expect_geq(head, 2);
	quire_kfree(quire_kmalloc(24, 0));
	cr_expect_geq(ring->head, head + 2);
	quire_trace_enable(false);
	head = ring->head;
	quire_kfree(quire_kmalloc(24, 0));
	free_pages(__get_free_pages(GFP_KERNEL, 0), 0);
	cr_expect_eq(ring->head, head);
	quire_trace_enable(true);
	trace_set_kmem(false);
	trace_set_pages(false);
	quire_kfree(quire_kmalloc(24, 0));
	free_pages(__get_free_pages(GFP_KERNEL, 0), 0);
	cr_expect_eq(ring->head, head);
	trace_set_kmem(true);
	quire_kfree(quire_kmalloc(24, 0));
	cr_expect_geq(ring->head, head + 2, "and again, while it runs");
	machine_down();
}

Test(trace, without_a_ring)
{
	struct quire_trace_record r;

	machine_up(64 * MIB, 1);
	quire_trace_enable(true);
	cr_expect_not(quire_trace_enabled(), "nowhere to write");
	cr_expect_eq(quire_trace_last(&r, 1), 0);
	trace_set_pages(true);
	trace_set_kmem(true);
	quire_kfree(quire_kmalloc(24, 0));
	trace_write(QUIRE_TR_MARKER, &(uint64_t){1}, 1);
	machine_down();
	/* A ring that does not begin at a word, though large enough. */
	cr_assert_eq(fake_machine_create(NULL), 0);
	cr_expect_lt(quire_init(&(struct quire_config){.trace_ring = memory + 4,
						       .trace_ring_size = sizeof(memory) / 2}), 0);
	fake_machine_destroy();
}

/* A writer that waits with interrupts on lets others run; with them off it may not. */
static unsigned resched;
static bool others_read; /* once they may run */

void os_cond_resched(void)
{
	resched++;
	if (others_read)
		ring->tail = ring->head;
}

static void reads_later(void *arg)
{
	while (!__atomic_load_n((bool *)arg, __ATOMIC_ACQUIRE))
		;
	for (volatile int i = 0; i < 100000; i++)
		;
	__atomic_store_n(&ring->tail, ring->head, __ATOMIC_RELEASE);
}

Test(trace, who_waits_lets_others_run)
{
	irqflags_t flags;
	bool go = false;

	up(64, 2);
	ring->reader = 1;
	others_read = true;
	quire_trace_enable(true);
	for (uint64_t i = 0; i < 65; i++)
		quire_trace_words(QUIRE_TR_MARKER, &i, 1);
	cr_expect_gt(resched, 0);
	while (ring->head - ring->tail < 64)
		quire_trace_words(QUIRE_TR_MARKER, &(uint64_t){0}, 1);
	resched = 0;
	fake_cpu_start(1, reads_later, &go);
	flags = hal_irq_save();
	__atomic_store_n(&go, true, __ATOMIC_RELEASE);
	quire_trace_words(QUIRE_TR_MARKER, &(uint64_t){0}, 1);
	hal_irq_restore(flags);
	fake_cpu_join(1);
	cr_expect_eq(resched, 0);
	cr_expect_eq(ring->stalled, 0);
	machine_down();
}
