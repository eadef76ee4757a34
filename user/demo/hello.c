/* SPDX-License-Identifier: MIT */
/* The smallest program: says hello, shows its arguments, ends with status 0. */
#include "user/text.h"
#include "user/u.h"

static int demo_main(struct u *u, void *state, int argc, char **argv)
{
	char buf[512];
	struct text t = TEXT(buf);

	text_str(&t, "hello from user mode:");
	for (int i = 0; i < argc; i++) {
		text_chr(&t, ' ');
		text_str(&t, argv[i]);
	}
	text_chr(&t, '\n');
	u_write(u, buf, t.n);
	return 0;
}

extern const struct u_program demo_program;
const struct u_program demo_program = { demo_main, 0, 0x200000000 };
