/* SPDX-License-Identifier: MIT */
/* Any bytes as a device tree: accepted or refused with a reason, and walked without leaving it. */
#include "fuzz.h"

#include "lib/fdt.h"

static void walk(const struct dtb *d)
{
	uint64_t addr, size, n;
	dtb_node node = dtb_root(d);
	int depth = 0;

	for (unsigned left = 10000; node != DTB_NONE && left; left--) {
		FUZZ_CHECK(dtb_name(d, node));
		dtb_string(d, node, "device_type");
		dtb_string_in(d, node, "compatible", "ns16550a");
		dtb_number(d, node, "timebase-frequency", &n);
		for (unsigned i = 0; i < 4 && !dtb_reg(d, node, "reg", i, &addr, &size); i++)
			dtb_translate(d, node, &addr);
		dtb_parent(d, node);
		node = dtb_next(d, node, &depth);
	}
	for (unsigned i = 0; i < 64 && dtb_reservation(d, i, &addr, &size); i++)
		;
	dtb_path(d, "/soc/serial");
	dtb_compatible(d, DTB_NONE, "sifive,test0");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dtb_error e = {0};
	struct dtb d;

	if (dtb_open(&d, data, size, &e))
		FUZZ_CHECK(e.why && e.at <= size);
	else
		walk(&d);
	return 0;
}
