/* SPDX-License-Identifier: MIT */
/*
 * Linux's constants by name, as strace prints them: flags, errors, signals and their codes. The
 * numbers are the generic ones, the same on every architecture that we run on.
 */
#ifndef USER_NAMES_H
#define USER_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The constant (flag, advice, resource ...) called by the n bytes at p. */
bool const_by_name(const char *p, size_t n, uint64_t *value);
/* errno, signal, signal code; 0 (code: -1) if there is none of this name. */
int errno_by_name(const char *p, size_t n);
int signal_by_name(const char *p, size_t n);
int code_by_name(const char *p, size_t n, int sig);
/* The other way round; NULL if it has no name here. */
const char *errno_name(int err);
const char *signal_name(int sig);
const char *code_name(int sig, int code);

#endif
