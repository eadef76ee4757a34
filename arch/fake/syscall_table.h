/* SPDX-License-Identifier: MIT */
/* The machine in software speaks x86-64's system-call numbers. */
#include "arch/x86_64/syscall_table.h"
