/* SPDX-License-Identifier: MIT */
/*
 * Compiler builtins of RISC-V without Zbb, which the compiler calls instead of an instruction:
 * counting zeros and ones, and swapping bytes. Its own library has them for another floating-point
 * ABI.
 */
#include <stdint.h>

int __clzdi2(uint64_t x);
int __ctzdi2(uint64_t x);
int __popcountdi2(uint64_t x);
uint32_t __bswapsi2(uint32_t x);
uint64_t __bswapdi2(uint64_t x);

int __clzdi2(uint64_t x)
{
	int n = 0;

	for (unsigned s = 32; s; s /= 2) {
		if (!(x >> (64 - s))) {
			n += (int)s;
			x <<= s;
		}
	}
	return n;
}

int __ctzdi2(uint64_t x)
{
	return 63 - __clzdi2(x & -x);
}

int __popcountdi2(uint64_t x)
{
	x -= x >> 1 & 0x5555555555555555ull;
	x = (x & 0x3333333333333333ull) + (x >> 2 & 0x3333333333333333ull);
	x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0full;
	return (int)(x * 0x0101010101010101ull >> 56);
}

uint32_t __bswapsi2(uint32_t x)
{
	return x << 24 | (x & 0xff00) << 8 | (x >> 8 & 0xff00) | x >> 24;
}

uint64_t __bswapdi2(uint64_t x)
{
	return (uint64_t)__bswapsi2((uint32_t)x) << 32 | __bswapsi2((uint32_t)(x >> 32));
}
