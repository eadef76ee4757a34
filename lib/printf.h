/* SPDX-License-Identifier: MIT */
/*
 * Formatted text without libc: %d %i %u %x %X %o %c %s %p %% with the flags - + space 0 #, width
 * and precision (both may be *), and the lengths hh h l ll z t j. No floating point. What it
 * prints is what libc prints; %p is always 0x and digits.
 */
#ifndef LIB_PRINTF_H
#define LIB_PRINTF_H

#include <stdarg.h>
#include <stddef.h>

#include "lib/bug.h"

/* Gets pieces of text in order. */
typedef void (*emit_fn)(void *ctx, const char *s, size_t n);

/* Formats into a sink. Any context; needs no memory but the stack. */
void vemitf(emit_fn emit, void *ctx, const char *fmt, va_list ap);
void emitf(emit_fn emit, void *ctx, const char *fmt, ...) __printf(3, 4);

/* Formats into buf, always NUL-terminated if size > 0. Returns the characters stored, without
 * the NUL: never more than size - 1. */
size_t vscnprintf(char *buf, size_t size, const char *fmt, va_list ap);
size_t scnprintf(char *buf, size_t size, const char *fmt, ...) __printf(3, 4);

#endif
