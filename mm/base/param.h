/* SPDX-License-Identifier: MIT */
/*
 * Boot parameters: words NAME or NAME=VALUE, separated by spaces, that the kernel hands over in
 * quire_config.params. Names are Linux's. Read at start-up only; an unknown word is no error, it
 * may be meant for the kernel or the machine.
 */
#ifndef MM_PARAM_H
#define MM_PARAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <quire/quire.h>

/* The configuration of this start; constant while the core runs. */
extern struct quire_config init_config;

/* Copies the last value of name into buf (n bytes, cut if longer; "" for a bare word); false if
 * there is no such word. */
bool boot_param(const char *name, char *buf, size_t n);
/* on, 1, y or the bare word: true; off, 0, n: false; nothing or anything else: otherwise. */
bool boot_param_bool(const char *name, bool otherwise);
/* A number of bytes, with k, m or g after it; otherwise if it is not there or not a number. */
uint64_t boot_param_size(const char *name, uint64_t otherwise);

#endif
