/* SPDX-License-Identifier: MIT */
/*
 * quire-NAME-ENCODING ARGUMENTS
 *
 * Any one of our user programs (U_PROGRAM says which) on the machine in software. Exit status: the
 * program's; 2 as well if the machine could not be made.
 */
#include <stdio.h>

#include "arch/fake/fake.h"
#include "user/u_fake.h"

extern const struct u_program U_PROGRAM;

static void log_out(const char *s, size_t n)
{
	fwrite(s, 1, n, stdout);
}

int main(int argc, char **argv)
{
	/* As much memory as the real kernel is given: what a stack may grow to hangs on it. */
	struct fake_config c = { .log = log_out, .cmdline = "norandmaps", .ram = 1500ull << 20 };
	int status;

	if (fake_machine_create(&c))
		return 2;
	status = u_fake_run(&U_PROGRAM, argc, argv);
	fake_machine_destroy();
	return status < 0 ? 2 : status;
}
