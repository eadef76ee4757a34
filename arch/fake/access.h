/* SPDX-License-Identifier: MIT */
/*
 * Put before every file of the core and of kernel/ in the instrumented build: calls of the four
 * memory functions, those that the compiler makes of its own accord too, go to access.c.
 */
#ifndef ARCH_FAKE_ACCESS_H
#define ARCH_FAKE_ACCESS_H

#include <stddef.h>

#ifdef FAKE_EYES
void *memset(void *p, int c, size_t n) __asm__("fake_memset");
void *memcpy(void *dst, const void *src, size_t n) __asm__("fake_memcpy");
void *memmove(void *dst, const void *src, size_t n) __asm__("fake_memmove");
int memcmp(const void *a, const void *b, size_t n) __asm__("fake_memcmp");
#endif

void *fake_memset(void *p, int c, size_t n);
void *fake_memcpy(void *dst, const void *src, size_t n);
void *fake_memmove(void *dst, const void *src, size_t n);
int fake_memcmp(const void *a, const void *b, size_t n);

#endif
