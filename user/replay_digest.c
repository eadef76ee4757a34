/* SPDX-License-Identifier: MIT */
/*
 * What the replay's address space looks like at a moment: a hash of the maps and one of the
 * present bits of every page of them, our own hole left out. Equal spaces give equal lines on
 * every machine: inode and device numbers do not count, nor names that a kernel makes up.
 */
#include "replay_run.h"

#define BUF 8192ul /* in the scratch memory behind the small things */
#define FNV_START 0xcbf29ce484222325ull

static uint64_t fnv(uint64_t h, const void *p, size_t n)
{
	const unsigned char *c = p;

	while (n--)
		h = (h ^ *c++) * 0x100000001b3ull;
	return h;
}

/* ---- /proc/self/maps ------------------------------------------------------------------------ */

static const char *skip_field(const char *p)
{
	while (*p && *p != ' ')
		p++;
	while (*p == ' ')
		p++;
	return p;
}

/* The last part of a path; a name in brackets is the kernel's own word and counts as none. */
static void base_name(const char *p, char *out, size_t cap)
{
	struct text t = { out, 0, cap };
	const char *base = p;

	out[0] = 0;
	if (*p == '[')
		return;
	for (; *p; p++)
		if (*p == '/')
			base = p + 1;
	text_str(&t, base);
}

static bool parse(const char *p, struct rp_map *m)
{
	m->start = str_num(&p, 16);
	if (*p++ != '-')
		return false;
	m->end = str_num(&p, 16);
	if (*p++ != ' ' || str_len(p) < 4)
		return false;
	__builtin_memcpy(m->perms, p, 4);
	m->perms[4] = 0;
	p = skip_field(p);
	m->off = str_num(&p, 16);
	p = skip_field(skip_field(skip_field(p)));
	base_name(p, m->name, sizeof(m->name));
	return true;
}

static bool replayed(const struct rp_map *m)
{
	return !(m->start >= RP_HOLE_START && m->end <= RP_HOLE_END) && !(m->start >> 63);
}

struct walk {
	char line[256];
	size_t n;
	struct rp_map map;
	void (*fn)(struct u *u, const struct rp_map *m, void *ctx);
	void *ctx;
};

static void feed(struct u *u, struct walk *w, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] != '\n') {
			if (w->n + 1 < sizeof(w->line))
				w->line[w->n++] = p[i];
			continue;
		}
		w->line[w->n] = 0;
		w->n = 0;
		if (parse(w->line, &w->map) && replayed(&w->map))
			w->fn(u, &w->map, w->ctx);
	}
}

static long open_proc(struct u *u, const char *path)
{
	uintptr_t sc = u_scratch(u);

	u_poke(u, sc, path, str_len(path) + 1);
	return u_syscall(u, NR_openat, U_AT_FDCWD, (long)sc, U_O_RDONLY, 0, 0, 0);
}

/* The file is read whole before fn is called: fn may change what it tells of. */
long rp_maps(struct u *u, void (*fn)(struct u *u, const struct rp_map *m, void *ctx), void *ctx)
{
	uintptr_t sc = u_scratch(u) + 2 * BUF;
	size_t cap = U_SCRATCH_SIZE - 2 * BUF, size = 0;
	struct walk w = { .fn = fn, .ctx = ctx };
	long fd = open_proc(u, "/proc/self/maps"), n = 0;
	char buf[512];

	if (fd < 0)
		return fd;
	while (size < cap) {
		n = u_syscall(u, NR_read, fd, (long)(sc + size), (long)(cap - size), 0, 0, 0);
		if (n <= 0)
			break;
		size += (size_t)n;
	}
	u_syscall(u, NR_close, fd, 0, 0, 0, 0, 0);
	for (size_t at = 0; at < size; at += sizeof(buf)) {
		size_t part = size - at < sizeof(buf) ? size - at : sizeof(buf);

		u_peek(u, buf, sc + at, part);
		feed(u, &w, buf, part);
	}
	return n < 0 ? n : size == cap ? -U_EFBIG : 0;
}

/* ---- the digest ----------------------------------------------------------------------------- */

struct digest {
	uint64_t maps, pages, vmas, present;
	uint64_t run_start, run_end; /* the present pages that are being collected */
	long pagemap;
	bool full;
};

static void end_run(struct u *u, struct digest *d)
{
	uint64_t run[2] = { d->run_start, d->run_end - d->run_start };
	char buf[96];
	struct text t = TEXT(buf);

	if (!run[1])
		return;
	d->pages = fnv(d->pages, run, sizeof(run));
	d->present += run[1] / U_PAGE;
	if (d->full) {
		text_str(&t, "pages ");
		text_hex(&t, run[0]);
		text_chr(&t, ' ');
		text_udec(&t, run[1] / U_PAGE);
		rp_line(u, &t);
	}
	d->run_start = d->run_end = 0;
}

static void page_seen(struct u *u, struct digest *d, uint64_t va, uint64_t word)
{
	if (!(word >> 63)) {
		end_run(u, d);
		return;
	}
	if (d->run_end != va || !d->run_end) {
		end_run(u, d);
		d->run_start = va;
	}
	d->run_end = va + U_PAGE;
}

static void pages_of(struct u *u, struct digest *d, const struct rp_map *m)
{
	uintptr_t sc = u_scratch(u) + BUF;
	uint64_t words[64];

	for (uint64_t va = m->start; va < m->end;) {
		uint64_t left = (m->end - va) / U_PAGE, n = left < BUF / 8 ? left : BUF / 8;
		long got = u_syscall(u, NR_pread64, d->pagemap, (long)sc, (long)(n * 8),
				     (long)(va / U_PAGE * 8), 0, 0);

		if (got <= 0)
			return;
		for (uint64_t i = 0; i < (uint64_t)got / 8; i++, va += U_PAGE) {
			if (i % 64 == 0)
				u_peek(u, words, sc + i * 8, sizeof(words));
			page_seen(u, d, va, words[i % 64]);
		}
	}
}

static void one_map(struct u *u, const struct rp_map *m, void *ctx)
{
	struct digest *d = ctx;
	uint64_t key[3] = { m->start, m->end, m->name[0] ? m->off : 0 };
	char buf[320];
	struct text t = TEXT(buf);

	d->vmas++;
	d->maps = fnv(d->maps, key, sizeof(key));
	d->maps = fnv(d->maps, m->perms, 4);
	d->maps = fnv(d->maps, m->name, str_len(m->name));
	if (d->full) {
		end_run(u, d);
		text_str(&t, "map ");
		text_hex(&t, m->start);
		text_chr(&t, '-');
		text_hex(&t, m->end);
		text_chr(&t, ' ');
		text_str(&t, m->perms);
		text_chr(&t, ' ');
		text_hex(&t, key[2]);
		text_chr(&t, ' ');
		text_str(&t, m->name);
		rp_line(u, &t);
	}
	pages_of(u, d, m);
}

void rp_digest(struct u *u, struct rp *r, unsigned when)
{
	static const char *const names[] = { "?", "exec", "fork", "exit", "count" };
	struct digest d = { .maps = FNV_START, .pages = FNV_START, .full = r->full };
	char buf[256];
	struct text t = TEXT(buf);
	long ret;

	d.pagemap = open_proc(u, "/proc/self/pagemap");
	ret = d.pagemap < 0 ? d.pagemap : rp_maps(u, one_map, &d);
	if (d.pagemap >= 0)
		u_syscall(u, NR_close, d.pagemap, 0, 0, 0, 0, 0);
	end_run(u, &d);
	rp_about(r, &t, "digest");
	text_chr(&t, ' ');
	text_str(&t, names[when < 5 ? when : 0]);
	if (ret < 0) {
		text_str(&t, " error=");
		text_dec(&t, ret);
		r->turn.bad++;
	} else {
		text_str(&t, " vmas=");
		text_udec(&t, d.vmas);
		text_str(&t, " present=");
		text_udec(&t, d.present);
		text_str(&t, " maps=");
		text_hex(&t, d.maps);
		text_str(&t, " pages=");
		text_hex(&t, d.pages);
	}
	rp_line(u, &t);
}
