/* SPDX-License-Identifier: MIT */
/* Any bytes as an initramfs: every entry that comes out lies inside the archive. */
#include "fuzz.h"

#include "lib/cpio.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cpio_reader r;
	struct cpio_entry e;
	int more;

	cpio_open(&r, data, size);
	while ((more = cpio_next(&r, &e)) == 1) {
		const uint8_t *p = e.data;

		FUZZ_CHECK(p >= data && p <= data + size && e.size <= (size_t)(data + size - p));
		FUZZ_CHECK(fuzz_text_inside(e.name, data, size));
	}
	FUZZ_CHECK(more == 0 || (r.error && r.error_offset <= size));
	return 0;
}
