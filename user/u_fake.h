/* SPDX-License-Identifier: MIT */
/* How a host program runs one of our user programs on the machine in software. */
#ifndef USER_U_FAKE_H
#define USER_U_FAKE_H

#include "arch/fake/fake_user.h"
#include "user/u.h"

/* Boots the kernel with the program as its first one; the machine was created before. The status
 * that it ended with, -1 if there was no thread for it. */
int u_fake_run(const struct u_program *program, int argc, char **argv);

#endif
