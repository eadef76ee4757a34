/* SPDX-License-Identifier: MIT */
/*
 * Peers of one process: each allocator is a library of its own name space (its own malloc bound to
 * itself, none of it visible to the others), so that all of them are measured in one run.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/bench.h"

struct malloc_peer bench_mallocs[BENCH_MALLOCS] = {{"mimalloc"}, {"jemalloc"}, {"glibc"}};
struct page_peer bench_llfree = {"LLFree"};

static void *open_library(const char *file)
{
	return dlopen(file, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
}

static void find_malloc(struct malloc_peer *p, const char *file, const char *alloc,
			const char *free_)
{
	void *lib = open_library(file);

	if (!lib)
		return;
	p->alloc = (void *(*)(size_t))dlsym(lib, alloc);
	p->free = (void (*)(void *))dlsym(lib, free_);
	if (!p->free)
		p->alloc = NULL;
}

static void find_llfree(const char *file)
{
	void *lib = open_library(file);

	if (!lib) {
		fprintf(stderr, "bench: %s\n", dlerror());
		return;
	}
	bench_llfree.get = (int64_t (*)(unsigned, unsigned))dlsym(lib, "peer_get");
	bench_llfree.put = (void (*)(unsigned, uint64_t, unsigned))dlsym(lib, "peer_put");
	bench_llfree.exit = (void (*)(void))dlsym(lib, "peer_exit");
	bench_llfree.init = (bool (*)(uint64_t, unsigned))dlsym(lib, "peer_init");
	if (!bench_llfree.get || !bench_llfree.put || !bench_llfree.exit)
		bench_llfree.init = NULL;
}

void bench_find_peers(const char *llfree)
{
	find_malloc(&bench_mallocs[0], "libmimalloc.so.2", "mi_malloc", "mi_free");
	find_malloc(&bench_mallocs[1], "libjemalloc.so.2", "malloc", "free");
	find_malloc(&bench_mallocs[2], "libc.so.6", "malloc", "free");
	if (llfree)
		find_llfree(llfree);
}
