/* SPDX-License-Identifier: MIT */
/* Any text as a scenario: parsed, or refused with a line, a column and a reason. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "user/scenario.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char why[256];
	struct scenario *s = malloc(sizeof(*s));
	struct text err = TEXT(why);

	if (!s)
		return 0;
	why[0] = 0;
	memset(s, 0xa5, sizeof(*s));
	s->size = size < sizeof(s->text) ? size : sizeof(s->text);
	memcpy(s->text, data, s->size);
	if (!scn_parse(s, &err))
		FUZZ_CHECK(why[0] >= '0' && why[0] <= '9' && strchr(why, ':'));
	free(s);
	return 0;
}
