/* SPDX-License-Identifier: MIT */
/*
 * A page allocator that is measured beside ours (rows H1 to H6) is a shared object with these four
 * functions, built by whoever has it and named by ./quire bench --peer-lib NAME=FILE.so. This file
 * needs nothing else of the tree. docs/bench.md says how such a library is made.
 *
 * Frames are numbered from 0 and are numbers only: no memory stands behind them, and the library
 * must not touch any. Blocks are 2^order frames; the rows ask for the orders 0 and 9. A frame may
 * be put by another CPU than the one that got it.
 */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <stdbool.h>
#include <stdint.h>

/* Everything is free again. False: the peer cannot start. One thread calls; what an earlier
 * peer_init() set up has been given back by peer_exit(). */
bool peer_init(uint64_t frames, unsigned cpus);
/* The first frame of a free block, a multiple of its size; -1 if there is none. Threads call at
 * once, each with a number of its own below cpus; the same holds for peer_put(). */
int64_t peer_get(unsigned cpu, unsigned order);
void peer_put(unsigned cpu, uint64_t frame, unsigned order);
/* Gives back what peer_init() took; blocks that are still in use are forgotten. */
void peer_exit(void);

#endif
