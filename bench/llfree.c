/* SPDX-License-Identifier: MIT */
/*
 * LLFree as a peer: a page allocator of frame numbers. Compiled by ./quire bench --llfree DIR
 * together with the sources of that checkout (clang, for they use fixed-width enumerations); no
 * part of Quire links it.
 */
#include <stdlib.h>
#include <string.h>

#include "llfree.h"
#include "llfree_inner.h"

static llfree_t self;
static size_t cpus;
static llfree_meta_t meta;

static uint8_t *fresh(size_t n)
{
	n = (n + 4095) & ~(size_t)4095;
	uint8_t *p = aligned_alloc(4096, n);

	if (p)
		memset(p, 0, n);
	return p;
}

void peer_exit(void);
bool peer_init(uint64_t frames, unsigned ncpus);
int64_t peer_get(unsigned cpu, unsigned order);
void peer_put(unsigned cpu, uint64_t frame, unsigned order);

void peer_exit(void)
{
	free(meta.local);
	free(meta.trees);
	free(meta.lower);
	memset(&meta, 0, sizeof(meta));
}

bool peer_init(uint64_t frames, unsigned ncpus)
{
	llfree_classing_t classing = llfree_classing_simple(ncpus);
	llfree_meta_size_t m = llfree_metadata_size(&classing, frames);

	peer_exit();
	cpus = ncpus;
	meta = (llfree_meta_t){fresh(m.local), fresh(m.trees), fresh(m.lower)};
	return meta.local && meta.trees && meta.lower &&
	       llfree_is_ok(llfree_init(&self, frames, LLFREE_INIT_FREE, meta, &classing));
}

int64_t peer_get(unsigned cpu, unsigned order)
{
	llfree_result_t r =
		llfree_get(&self, frame_id_none(), llfree_simple_request(cpus, (uint8_t)order, cpu));

	return llfree_is_ok(r) ? (int64_t)r.frame.value : -1;
}

void peer_put(unsigned cpu, uint64_t frame, unsigned order)
{
	llfree_result_t r = llfree_put(&self, frame_id(frame),
				       llfree_simple_request(cpus, (uint8_t)order, cpu));

	if (!llfree_is_ok(r))
		abort();
}
