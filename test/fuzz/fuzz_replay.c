/* SPDX-License-Identifier: MIT */
/* Any bytes as a compiled recording: whole, or refused with a reason and a place. */
#include "fuzz.h"

#include "user/replay.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t where = 0;

	if (rp_check(data, size, &where))
		FUZZ_CHECK(where <= size);
	return 0;
}
