/* SPDX-License-Identifier: MIT */
/*
 * Flattened device trees, read only (see fdt.h). A pure reader of bytes: no allocation, no state.
 *
 * Every token is fetched by token_at(), which alone decides where the structure block may be
 * read. dtb_open() walks it from one end to the other before anyone else does.
 */
#include "lib/fdt.h"
#include <quire/abi.h>

#define FDT_MAGIC      0xd00dfeedu
#define FDT_HEADER     40u /* bytes, since version 17 */
#define FDT_VERSION    17u
#define FDT_BEGIN_NODE 1u
#define FDT_END_NODE   2u
#define FDT_PROP       3u
#define FDT_NOP	       4u
#define FDT_END	       9u
#define FDT_MAX_SIZE   (16u << 20) /* no real tree is larger; keeps offsets in 31 bits */
#define MAX_CELLS      4u

/* ---- bytes ----------------------------------------------------------------------------------- */

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint64_t be64(const uint8_t *p)
{
	return (uint64_t)be32(p) << 32 | be32(p + 4);
}

static bool text_equal(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

/* Length of the text at off, which must end before limit; -1 if it does not. */
static int64_t text_len(const struct dtb *d, uint32_t off, uint32_t limit)
{
	for (uint32_t i = off; i < limit; i++)
		if (!d->blob[i])
			return i - off;
	return -1;
}

/* ---- tokens ---------------------------------------------------------------------------------- */

/* One token of the structure block. Offsets count from the blob's first byte. */
struct token {
	uint32_t type;
	uint32_t at;	       /* where it stands */
	uint32_t next;	       /* where the one after it stands */
	const char *name;      /* of a node or a property */
	const uint8_t *value;  /* of a property */
	uint32_t len;
};

/* Reads the token at off. NULL, or why it is none. */
static const char *token_at(const struct dtb *d, uint32_t off, struct token *t)
{
	uint32_t end = d->struct_end;
	uint32_t name_off;
	int64_t n;

	if (off > end || end - off < 4)
		return "structure block ends without FDT_END";
	*t = (struct token){.type = be32(d->blob + off), .at = off, .next = off + 4};
	switch (t->type) {
	case FDT_BEGIN_NODE:
		n = text_len(d, off + 4, end);
		if (n < 0)
			return "node name without end";
		t->name = (const char *)d->blob + off + 4;
		t->next = off + 4 + (((uint32_t)n + 1 + 3) & ~3u);
		return t->next > end ? "node name without end" : NULL;
	case FDT_PROP:
		if (end - off < 12)
			return "property cut off";
		t->len = be32(d->blob + off + 4);
		name_off = be32(d->blob + off + 8);
		if (t->len > end - off - 12 || ((t->len + 3) & ~3u) > end - off - 12)
			return "property longer than its block";
		if (name_off >= d->strings_end - d->strings_off)
			return "property name outside the strings block";
		if (text_len(d, d->strings_off + name_off, d->strings_end) < 0)
			return "property name without end";
		t->name = (const char *)d->blob + d->strings_off + name_off;
		t->value = d->blob + off + 12;
		t->next = off + 12 + ((t->len + 3) & ~3u);
		return NULL;
	case FDT_END_NODE:
	case FDT_NOP:
	case FDT_END:
		return NULL;
	default:
		return "unknown token";
	}
}

/* The token after what stands at off, NOPs left out; false where the tree ends. */
static bool next_token(const struct dtb *d, uint32_t off, struct token *t)
{
	do {
		if (token_at(d, off, t))
			return false;
		off = t->next;
	} while (t->type == FDT_NOP);
	return t->type != FDT_END;
}

/* ---- opening --------------------------------------------------------------------------------- */

static int refuse(struct dtb_error *e, const char *why, uint32_t at)
{
	e->why = why;
	e->at = at;
	return -EINVAL;
}

static int check_header(struct dtb *d, size_t avail, struct dtb_error *e)
{
	const uint8_t *h = d->blob;
	uint32_t struct_size, strings_size;

	if (avail < FDT_HEADER)
		return refuse(e, "shorter than a header", 0);
	if (be32(h) != FDT_MAGIC)
		return refuse(e, "no device tree (magic)", 0);
	d->size = be32(h + 4);
	if (d->size < FDT_HEADER || d->size > avail || d->size > FDT_MAX_SIZE)
		return refuse(e, "total size is impossible", 4);
	if (be32(h + 20) < FDT_VERSION || be32(h + 24) > FDT_VERSION)
		return refuse(e, "version is not 17 or compatible with it", 20);
	d->struct_off = be32(h + 8);
	d->strings_off = be32(h + 12);
	d->rsv_off = be32(h + 16);
	strings_size = be32(h + 32);
	struct_size = be32(h + 36);
	if (d->struct_off < FDT_HEADER || d->struct_off % 4 || d->struct_off > d->size ||
	    struct_size > d->size - d->struct_off)
		return refuse(e, "structure block outside the blob", 8);
	if (d->strings_off < FDT_HEADER || d->strings_off > d->size ||
	    strings_size > d->size - d->strings_off)
		return refuse(e, "strings block outside the blob", 12);
	if (d->rsv_off < FDT_HEADER || d->rsv_off % 8 || d->rsv_off > d->size)
		return refuse(e, "reservation block outside the blob", 16);
	d->struct_end = d->struct_off + struct_size;
	d->strings_end = d->strings_off + strings_size;
	return 0;
}

static int check_reservations(const struct dtb *d, struct dtb_error *e)
{
	uint64_t addr, size;
	uint32_t off = d->rsv_off;

	do {
		if (d->size - off < 16)
			return refuse(e, "reservation block without end", off);
		addr = be64(d->blob + off);
		size = be64(d->blob + off + 8);
		if (addr + size < addr)
			return refuse(e, "reservation wraps round", off);
		off += 16;
	} while (addr || size);
	return 0;
}

/* From the first token to FDT_END: one root, nodes closed, properties before the nodes inside. */
static int check_structure(const struct dtb *d, struct dtb_error *e)
{
	uint32_t off = d->struct_off;
	bool props_allowed = false, root_seen = false;
	struct token t;
	int depth = 0;

	for (;; off = t.next) {
		const char *why = token_at(d, off, &t);

		if (why)
			return refuse(e, why, off);
		switch (t.type) {
		case FDT_BEGIN_NODE:
			if (depth == 0 && root_seen)
				return refuse(e, "more than one root", off);
			if (++depth > DTB_MAX_DEPTH)
				return refuse(e, "nodes nested too deep", off);
			props_allowed = root_seen = true;
			break;
		case FDT_END_NODE:
			if (--depth < 0)
				return refuse(e, "node closed that is not open", off);
			props_allowed = false;
			break;
		case FDT_PROP:
			if (!props_allowed)
				return refuse(e, "property outside or after nodes", off);
			break;
		case FDT_END:
			if (depth || !root_seen)
				return refuse(e, "tree ends inside a node", off);
			return 0;
		}
	}
}

int dtb_open(struct dtb *d, const void *p, size_t avail, struct dtb_error *e)
{
	int err;

	*d = (struct dtb){.blob = p};
	err = check_header(d, avail, e);
	if (!err)
		err = check_reservations(d, e);
	if (!err)
		err = check_structure(d, e);
	return err;
}

bool dtb_reservation(const struct dtb *d, unsigned i, uint64_t *addr, uint64_t *size)
{
	for (uint32_t off = d->rsv_off; d->size - off >= 16; off += 16) {
		*addr = be64(d->blob + off);
		*size = be64(d->blob + off + 8);
		if (!*addr && !*size)
			return false;
		if (i-- == 0)
			return true;
	}
	return false;
}

/* ---- the tree -------------------------------------------------------------------------------- */

dtb_node dtb_root(const struct dtb *d)
{
	struct token t;

	if (!next_token(d, d->struct_off, &t) || t.type != FDT_BEGIN_NODE)
		return DTB_NONE;
	return (dtb_node)(t.at - d->struct_off);
}

/* The token that opens n; false if n is no node. */
static bool open_node(const struct dtb *d, dtb_node n, struct token *t)
{
	return n >= 0 && n % 4 == 0 && (uint32_t)n < d->struct_end - d->struct_off &&
	       !token_at(d, d->struct_off + (uint32_t)n, t) && t->type == FDT_BEGIN_NODE;
}

dtb_node dtb_next(const struct dtb *d, dtb_node n, int *depth)
{
	struct token t;

	if (!open_node(d, n, &t))
		return DTB_NONE;
	while (next_token(d, t.next, &t)) {
		if (t.type == FDT_BEGIN_NODE) {
			if (depth)
				++*depth;
			return (dtb_node)(t.at - d->struct_off);
		}
		if (t.type == FDT_END_NODE && depth)
			--*depth;
	}
	return DTB_NONE;
}

dtb_node dtb_first_child(const struct dtb *d, dtb_node n)
{
	int depth = 0;

	n = dtb_next(d, n, &depth);
	return depth == 1 ? n : DTB_NONE;
}

dtb_node dtb_next_sibling(const struct dtb *d, dtb_node n)
{
	int depth = 0;

	do {
		n = dtb_next(d, n, &depth);
		if (n < 0 || depth < 0)
			return DTB_NONE;
	} while (depth > 0);
	return n;
}

dtb_node dtb_parent(const struct dtb *d, dtb_node n)
{
	dtb_node open[DTB_MAX_DEPTH];
	int depth = 0;

	for (dtb_node i = dtb_root(d); i >= 0; i = dtb_next(d, i, &depth)) {
		if (depth < 0 || depth >= DTB_MAX_DEPTH)
			break;
		if (i == n)
			return depth ? open[depth - 1] : DTB_NONE;
		open[depth] = i;
	}
	return DTB_NONE;
}

const char *dtb_name(const struct dtb *d, dtb_node n)
{
	struct token t;

	return open_node(d, n, &t) ? t.name : "";
}

/* True if the node name is the path piece [s, s+n), or is it but for an "@unit". */
static bool piece_matches(const char *name, const char *s, size_t n)
{
	size_t i = 0;

	while (i < n && name[i] == s[i])
		i++;
	return i == n && (!name[i] || name[i] == '@');
}

dtb_node dtb_path(const struct dtb *d, const char *path)
{
	dtb_node n = dtb_root(d);

	while (n >= 0) {
		size_t len = 0;

		while (*path == '/')
			path++;
		if (!*path)
			return n;
		while (path[len] && path[len] != '/')
			len++;
		n = dtb_first_child(d, n);
		while (n >= 0 && !piece_matches(dtb_name(d, n), path, len))
			n = dtb_next_sibling(d, n);
		path += len;
	}
	return DTB_NONE;
}

dtb_node dtb_compatible(const struct dtb *d, dtb_node n, const char *name)
{
	n = n < 0 ? dtb_root(d) : dtb_next(d, n, NULL);
	while (n >= 0 && !dtb_string_in(d, n, "compatible", name))
		n = dtb_next(d, n, NULL);
	return n;
}

/* ---- properties ------------------------------------------------------------------------------ */

const void *dtb_prop(const struct dtb *d, dtb_node n, const char *name, uint32_t *len)
{
	struct token t;

	if (!open_node(d, n, &t))
		return NULL;
	while (next_token(d, t.next, &t) && t.type == FDT_PROP) {
		if (!text_equal(t.name, name))
			continue;
		if (len)
			*len = t.len;
		return t.value;
	}
	return NULL;
}

const char *dtb_string(const struct dtb *d, dtb_node n, const char *name)
{
	uint32_t len = 0;
	const char *s = dtb_prop(d, n, name, &len);

	return s && len && !s[len - 1] ? s : NULL;
}

bool dtb_string_in(const struct dtb *d, dtb_node n, const char *name, const char *s)
{
	uint32_t len = 0;
	const char *list = dtb_prop(d, n, name, &len);
	uint32_t start = 0;

	for (uint32_t i = 0; list && i < len; i++) {
		if (list[i])
			continue;
		if (text_equal(list + start, s))
			return true;
		start = i + 1;
	}
	return false;
}

/* A number of so many cells; false if it needs more than 64 bits. */
static bool cells_value(const uint8_t *p, uint32_t cells, uint64_t *v)
{
	*v = 0;
	for (uint32_t i = 0; i < cells; i++) {
		if (*v >> 32)
			return false;
		*v = *v << 32 | be32(p + 4 * i);
	}
	return true;
}

int dtb_number(const struct dtb *d, dtb_node n, const char *name, uint64_t *v)
{
	uint32_t len = 0;
	const uint8_t *p = dtb_prop(d, n, name, &len);

	if (!p)
		return -ENOENT;
	if (len != 4 && len != 8)
		return -EINVAL;
	cells_value(p, len / 4, v);
	return 0;
}

/* A bus' cell count, the specification's default where it says nothing. */
static int cell_count(const struct dtb *d, dtb_node n, const char *name, uint32_t dflt,
		      uint32_t *cells)
{
	uint64_t v = dflt;
	int err = dtb_number(d, n, name, &v);

	if ((err && err != -ENOENT) || v > MAX_CELLS)
		return -EINVAL;
	*cells = (uint32_t)v;
	return 0;
}

static int bus_cells(const struct dtb *d, dtb_node bus, uint32_t *ac, uint32_t *sc)
{
	int err = cell_count(d, bus, "#address-cells", 2, ac);

	return err ? err : cell_count(d, bus, "#size-cells", 1, sc);
}

int dtb_reg(const struct dtb *d, dtb_node n, const char *name, unsigned i, uint64_t *addr,
	    uint64_t *size)
{
	uint32_t ac, sc, len = 0, pair;
	const uint8_t *p = dtb_prop(d, n, name, &len);
	int err;

	if (!p)
		return -ENOENT;
	err = bus_cells(d, dtb_parent(d, n), &ac, &sc);
	if (err)
		return err;
	pair = 4 * (ac + sc);
	if (!pair || len % pair)
		return -EINVAL;
	if (i >= len / pair)
		return -ENOENT;
	p += i * pair;
	if (!cells_value(p, ac, addr) || !cells_value(p + 4 * ac, sc, size) ||
	    *addr + *size < *addr)
		return -EINVAL;
	return 0;
}

/* Moves *addr from the space inside bus to the space that bus itself lies in. */
static int translate_one(const struct dtb *d, dtb_node bus, uint64_t *addr)
{
	uint32_t ac, sc, pac, psc, len = 0, triple;
	const uint8_t *p = dtb_prop(d, bus, "ranges", &len);
	uint64_t child, parent, size;

	if (!p)
		return -ENOENT;
	if (!len)
		return 0;
	if (bus_cells(d, bus, &ac, &sc) || bus_cells(d, dtb_parent(d, bus), &pac, &psc))
		return -EINVAL;
	triple = 4 * (ac + pac + sc);
	if (!triple || len % triple)
		return -EINVAL;
	for (; len; len -= triple, p += triple) {
		if (!cells_value(p, ac, &child) || !cells_value(p + 4 * ac, pac, &parent) ||
		    !cells_value(p + 4 * (ac + pac), sc, &size))
			continue;
		if (*addr >= child && *addr - child < size) {
			*addr = parent + (*addr - child);
			return 0;
		}
	}
	return -ENOENT;
}

int dtb_translate(const struct dtb *d, dtb_node n, uint64_t *addr)
{
	dtb_node bus = dtb_parent(d, n);
	int err = 0;

	for (; bus > dtb_root(d) && !err; bus = dtb_parent(d, bus))
		err = translate_one(d, bus, addr);
	return err;
}
