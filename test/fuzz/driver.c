/* SPDX-License-Identifier: MIT */
/*
 * Runs a fuzz target without a fuzzer: every seed file whole, cut off at many lengths, and with
 * bytes changed, each in a heap block of exactly its size so that a sanitizer sees one byte too
 * many. The same on every run. usage: driver SEED...
 */
#include "fuzz.h"

#include "lib/rand.h"

#define CHANGES 3000

static unsigned long runs;

static void try_bytes(const uint8_t *data, size_t size)
{
	uint8_t *exact = malloc(size ? size : 1);

	if (!exact)
		exit(2);
	memcpy(exact, data, size);
	LLVMFuzzerTestOneInput(exact, size);
	free(exact);
	runs++;
}

static void damage(const uint8_t *seed, size_t size, struct rand_state *r)
{
	static const uint8_t edges[] = {0, 1, 0x7f, 0x80, 0xff, '0', '=', '\n', '(', '@'};
	uint8_t *copy = malloc(size);

	if (!copy)
		exit(2);
	for (int i = 0; i < CHANGES; i++) {
		memcpy(copy, seed, size);
		for (uint64_t n = 1 + rand_below(r, 8); n; n--) {
			uint64_t pick = rand_u64(r);

			copy[rand_below(r, size)] =
				pick & 1 ? pick >> 8 : edges[(pick >> 8) % sizeof(edges)];
		}
		try_bytes(copy, i % 4 ? size : 1 + rand_below(r, size));
	}
	free(copy);
}

int main(int argc, char **argv)
{
	static uint8_t seed[1 << 20];
	struct rand_state r;

	rand_seed(&r, 1);
	try_bytes(seed, 0);
	for (int i = 1; i < argc; i++) {
		FILE *f = fopen(argv[i], "rb");
		size_t size = f ? fread(seed, 1, sizeof(seed), f) : 0;

		if (!size) {
			fprintf(stderr, "%s: cannot be read\n", argv[i]);
			return 2;
		}
		fclose(f);
		try_bytes(seed, size);
		for (size_t cut = 0; cut < size; cut += 1 + size / 500)
			try_bytes(seed, cut);
		damage(seed, size, &r);
	}
	printf("%lu inputs\n", runs);
	return 0;
}
