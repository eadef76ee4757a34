/* SPDX-License-Identifier: MIT */
/* The smallest program: says hello, shows its arguments, ends with status 0. */
#include "user/text.h"
#include "user/u.h"

const size_t u_state_size = 0;
const uintptr_t u_block_base = 0x200000000;

int u_main(struct u *u, void *state, int argc, char **argv)
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
