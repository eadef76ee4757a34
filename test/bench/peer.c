/* SPDX-License-Identifier: MIT */
/*
 * The least page allocator that ./quire bench --peer-lib takes: a stack of free blocks for each
 * order over frames that were never got, and one lock. Built without peer_put() as well, for the
 * test that such a library is refused.
 */
#include <stdlib.h>
#include <string.h>

#include "bench/peer.h"

#define ORDERS 10

static uint64_t frames, fresh;	  /* from fresh on no frame was ever got */
static uint64_t *freed[ORDERS];	  /* stacks of first frames */
static uint64_t nr_freed[ORDERS];
static bool locked;

static void lock(void)
{
	while (__atomic_test_and_set(&locked, __ATOMIC_ACQUIRE))
		;
}

static void unlock(void)
{
	__atomic_clear(&locked, __ATOMIC_RELEASE);
}

void peer_exit(void)
{
	for (unsigned o = 0; o < ORDERS; o++)
		free(freed[o]);
	memset(freed, 0, sizeof(freed));
}

bool peer_init(uint64_t n, unsigned cpus)
{
	frames = n;
	fresh = 0;
	memset(nr_freed, 0, sizeof(nr_freed));
	for (unsigned o = 0; o < ORDERS; o++) {
		freed[o] = malloc(((n >> o) + 1) * sizeof(**freed));
		if (!freed[o])
			return false;
	}
	return true;
}

int64_t peer_get(unsigned cpu, unsigned order)
{
	uint64_t size = 1ull << order;
	int64_t frame = -1;

	lock();
	if (nr_freed[order]) {
		frame = (int64_t)freed[order][--nr_freed[order]];
	} else if (((fresh + size - 1) & -size) + size <= frames) {
		frame = (int64_t)((fresh + size - 1) & -size);
		fresh = (uint64_t)frame + size;
	}
	unlock();
	return frame;
}

#ifndef WITHOUT_PUT
void peer_put(unsigned cpu, uint64_t frame, unsigned order)
{
	lock();
	freed[order][nr_freed[order]++] = frame;
	unlock();
}
#endif
