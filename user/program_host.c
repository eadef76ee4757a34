/* SPDX-License-Identifier: MIT */
/*
 * quire-NAME-ENCODING [--machine RAM,SWAP,SEED] ARGUMENTS
 *
 * Any one of our user programs (U_PROGRAM says which) on the machine in software. RAM and SWAP in MiB:
 * its memory, and a disk to swap to (0: none); SEED: of what the machine leaves to chance, also
 * when tasks are pre-empted (0: only when their time is over). Exit status: the program's; 2 as well if the machine could not be made.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/fake/fake.h"
#include "arch/fake/fake_disk.h"
#include "user/u_fake.h"

extern const struct u_program U_PROGRAM;

static void log_out(const char *s, size_t n)
{
	fwrite(s, 1, n, stdout);
}

#define SWAP_PAGE     4096u
#define PREEMPT_EVERY 300u /* calls of the machine, the mean */

/* A disk with mkswap's header on it: its bytes, which are the machine's until that ends. NULL: no memory. */
static void *add_swap(unsigned mib)
{
	uint32_t head[3] = { 1, (mib << 20) / SWAP_PAGE - 1, 0 };
	unsigned char *image = calloc(mib, 1 << 20);

	if (!image)
		return NULL;
	memcpy(image + 1024, head, sizeof(head));
	memcpy(image + SWAP_PAGE - 10, "SWAPSPACE2", 10);
	if (fake_disk_add(&(struct fake_disk_config){ .sectors = (uint64_t)mib << 11, .image = image }) >= 0)
		return image;
	free(image);
	return NULL;
}

int main(int argc, char **argv)
{
	/* As much memory as the real kernel is given: what a stack may grow to hangs on it. */
	unsigned ram = 1500, swap = 0;
	unsigned long long seed = 0;
	struct fake_config c = { .log = log_out, .cmdline = "norandmaps" };
	void *image = NULL;
	int status;

	if (argc > 2 && !strcmp(argv[1], "--machine")) {
		if (sscanf(argv[2], "%u,%u,%llu", &ram, &swap, &seed) != 3 || !ram)
			return 2;
		argv[2] = argv[0];
		argv += 2;
		argc -= 2;
	}
	c.ram = (uint64_t)ram << 20;
	c.seed = seed;
	c.preempt_every = seed ? PREEMPT_EVERY : 0;
	if (swap)
		c.cmdline = "norandmaps swap=/dev/vda";
	if (fake_machine_create(&c) || (swap && !(image = add_swap(swap))))
		return 2;
	status = u_fake_run(&U_PROGRAM, argc, argv);
	fake_machine_destroy();
	free(image);
	return status < 0 ? 2 : status;
}
