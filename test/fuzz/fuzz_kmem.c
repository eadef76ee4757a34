/* SPDX-License-Identifier: MIT */
/* Any bytes as a recording of page and slab events: every event is in range or refused by its line. */
#include "fuzz.h"

#include "test/kmem/kmem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct kmem_file k;
	struct kmem_event ev;
	struct kmem_error e = {0};
	int r = kmem_open(&k, (const char *)data, size, &e);

	if (!r) {
		while ((r = kmem_next(&k, &ev, &e)) > 0) {
			FUZZ_CHECK(ev.order < KMEM_ORDERS && ev.asked <= ev.given);
			FUZZ_CHECK(ev.id < k.page_ids || ev.id < k.object_ids || !ev.id);
			FUZZ_CHECK(!ev.gfp || ev.gfp < k.ngfp);
		}
	}
	FUZZ_CHECK(r == 0 || (e.why && e.line));
	return 0;
}
