/* SPDX-License-Identifier: MIT */
/* Any bytes as the header of a swap area: what is accepted fits the device. */
#include "fuzz.h"

#include "mm/swap/header.h"
#include <string.h>

#define PAGE 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t page[PAGE];
	struct swap_header h;
	uint64_t device = 0;

	/* The first bytes say how large the device is. */
	if (size < 4)
		return 0;
	memcpy(&device, data, 4);
	memset(page, 0, PAGE);
	memcpy(page, data + 4, size - 4 < PAGE ? size - 4 : PAGE);
	if (swap_header_parse(&h, page, PAGE, device, 1u << 20)) {
		FUZZ_CHECK(h.error);
		return 0;
	}
	FUZZ_CHECK(h.slots > 1 && h.slots <= device && h.slots <= 1u << 20);
	FUZZ_CHECK(h.slots <= (uint64_t)h.last_page + 1);
	for (uint32_t i = 0; i < h.nr_badpages; i++) {
		FUZZ_CHECK(1536 + 4 * (i + 1) <= PAGE - 10);
		FUZZ_CHECK(swap_header_bad(&h, i) && swap_header_bad(&h, i) <= h.last_page);
	}
	return 0;
}
