/* SPDX-License-Identifier: MIT */
/*
 * Peers of one process: each allocator is a library of its own name space (its own malloc bound to
 * itself, none of it visible to the others), so that all of them are measured in one run.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"

struct malloc_peer bench_mallocs[BENCH_MALLOCS] = {{"mimalloc"}, {"jemalloc"}, {"glibc"}};
struct page_peer bench_page_peers[BENCH_PEER_LIBS];
unsigned bench_nr_page_peers;

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

/* The name goes into the lines of JSON as it is. */
static void set_name(struct page_peer *p, const char *word)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789.-_+";
	size_t n = strcspn(word, "=");

	if (!n || word[n] != '=' || strspn(word, letters) != n)
		bench_die("--peer-lib %s: wants NAME=FILE.so, NAME of letters, digits and .-_+", word);
	if (n >= sizeof(p->name))
		bench_die("--peer-lib %s: NAME has more than %zu letters", word, sizeof(p->name) - 1);
	memcpy(p->name, word, n);
	for (const struct page_peer *q = bench_page_peers; q < p; q++)
		if (!strcmp(p->name, q->name))
			bench_die("--peer-lib %s: the name %s is taken", word, p->name);
}

static void *symbol(void *lib, const char *name, const char *word)
{
	void *p = dlsym(lib, name);

	if (!p)
		bench_die("--peer-lib %s: the library has no %s (bench/peer.h)", word, name);
	return p;
}

void bench_add_peer_lib(const char *word)
{
	struct page_peer *p = &bench_page_peers[bench_nr_page_peers];
	char *file;
	void *lib;

	if (bench_nr_page_peers == BENCH_PEER_LIBS)
		bench_die("--peer-lib %s: there are %u already", word, BENCH_PEER_LIBS);
	set_name(p, word);
	file = realpath(strchr(word, '=') + 1, NULL);
	if (!file)
		bench_die("--peer-lib %s: there is no such file", word);
	lib = open_library(file);
	if (!lib)
		bench_die("--peer-lib %s: %s", word, dlerror());
	free(file);
	p->init = (bool (*)(uint64_t, unsigned))symbol(lib, "peer_init", word);
	p->get = (int64_t (*)(unsigned, unsigned))symbol(lib, "peer_get", word);
	p->put = (void (*)(unsigned, uint64_t, unsigned))symbol(lib, "peer_put", word);
	p->exit = (void (*)(void))symbol(lib, "peer_exit", word);
	bench_nr_page_peers++;
}

void bench_find_peers(void)
{
	find_malloc(&bench_mallocs[0], "libmimalloc.so.2", "mi_malloc", "mi_free");
	find_malloc(&bench_mallocs[1], "libjemalloc.so.2", "malloc", "free");
	find_malloc(&bench_mallocs[2], "libc.so.6", "malloc", "free");
}
