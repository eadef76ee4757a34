/* SPDX-License-Identifier: MIT */
/*
 * The block of memory over which the host gives a program its standard input, output and error
 * (docs/exec.md). Three rings, each with one writer and one reader: data[at % size] for at from tail up to
 * head is what is in it. The side that fills a ring stores the bytes and then head, the side that
 * empties it takes them and then stores tail; so neither waits for a lock of the other's. `closed` is
 * stored by the host alone: no more comes behind what is in ring 0; nobody reads rings 1 and 2.
 *
 * Read by kernel/hostio.c, tools/oracle-init.c and tools/hostio.py.
 */
#ifndef KERNEL_HOSTIO_H
#define KERNEL_HOSTIO_H

#include <stdint.h>

#define HOSTIO_MAGIC   0x314f495453434955ull /* "UICSTIO1" */
#define HOSTIO_ENDED   (1ull << 32)	     /* in status: the program has ended; below it, how */

enum { HOSTIO_IN, HOSTIO_OUT, HOSTIO_ERR, HOSTIO_RINGS };

struct hostio_ring {
	uint64_t offset, size; /* of its data in the block; size is a power of two */
	uint64_t head, tail;   /* bytes that ever went in, and out */
	uint64_t closed;
	uint64_t unused[3];
};

struct hostio {
	uint64_t magic;	 /* stored last, when the rest is valid */
	uint64_t status; /* stored by the guest; 0: the program runs */
	uint64_t signal; /* stored by the host: sent to the foreground processes and set to 0 by the guest */
	uint64_t window; /* stored by the host: rows << 32 | columns of its terminal, 0: unknown */
	uint64_t unused[4];
	struct hostio_ring ring[HOSTIO_RINGS];
};

#endif
