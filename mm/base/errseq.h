/* SPDX-License-Identifier: MIT */
/*
 * errseq: an error that is told once to each who was there when it happened. One word holds the last
 * errno, a bit that says whether anybody was told of it, and a count of errors. Who wants to be told
 * keeps a sample; where it differs from the word now, there was an error since. The count only grows
 * when somebody was told in between, so that errors that nobody looks at do not use it up.
 *
 * As Linux 5.10's: who comes after an error that nobody was told of is told too.
 */
#ifndef MM_ERRSEQ_H
#define MM_ERRSEQ_H

#include "lib/bug.h"
#include <stdint.h>

#define ERRSEQ_ERRNO 0xfffu /* the low bits: an errno, positive */
#define ERRSEQ_SEEN  0x1000u
#define ERRSEQ_ONE   0x2000u

/* An error, err < 0, happened. Any context. */
static inline void errseq_set(uint32_t *word, int err)
{
	uint32_t old = __atomic_load_n(word, __ATOMIC_RELAXED), now;

	ASSERT_DEBUG(err < 0 && (uint32_t)-err <= ERRSEQ_ERRNO);
	do {
		now = (old & ~(ERRSEQ_ERRNO | ERRSEQ_SEEN)) | (uint32_t)-err;
		if (old & ERRSEQ_SEEN)
			now += ERRSEQ_ONE;
	} while (now != old && !__atomic_compare_exchange_n(word, &old, now, false, __ATOMIC_RELEASE,
							    __ATOMIC_RELAXED));
}

/* What a new observer keeps: errors that were told to somebody are not his. */
static inline uint32_t errseq_sample(const uint32_t *word)
{
	uint32_t now = __atomic_load_n(word, __ATOMIC_ACQUIRE);

	return now & ERRSEQ_SEEN ? now : 0;
}

/* The error since *since, -errno or 0; *since moves on. Observers of one *since may race: one is told. */
static inline int errseq_check_and_advance(uint32_t *word, uint32_t *since)
{
	uint32_t now = __atomic_load_n(word, __ATOMIC_ACQUIRE), old = __atomic_load_n(since, __ATOMIC_RELAXED);

	if (now == old)
		return 0;
	if (!(now & ERRSEQ_SEEN) &&
	    __atomic_compare_exchange_n(word, &now, now | ERRSEQ_SEEN, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		now |= ERRSEQ_SEEN;
	now |= ERRSEQ_SEEN;
	if (!__atomic_compare_exchange_n(since, &old, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		return 0;
	return -(int)(now & ERRSEQ_ERRNO);
}

#endif
