/* SPDX-License-Identifier: MIT */
/*
 * The reader of newc cpio archives: a header of 110 bytes (magic "070701" or "070702" and thirteen
 * 8-digit hexadecimal fields), the name with its NUL, padding to 4, the data, padding to 4; ended
 * by "TRAILER!!!".
 */
#include "lib/cpio.h"

#include "lib/string.h"
#include <quire/abi.h>

#define HEADER 110u
#define FIELDS 13

static int fail(struct cpio_reader *r, size_t offset, const char *why)
{
	r->error = why;
	r->error_offset = offset;
	return -EINVAL;
}

void cpio_open(struct cpio_reader *r, const void *archive, size_t size)
{
	*r = (struct cpio_reader){.base = archive, .size = size};
}

static int hex8(const unsigned char *p, uint32_t *out)
{
	uint32_t v = 0;

	for (int i = 0; i < 8; i++) {
		unsigned c = p[i], d;

		if (c >= '0' && c <= '9')
			d = c - '0';
		else if (c >= 'a' && c <= 'f')
			d = c - 'a' + 10;
		else if (c >= 'A' && c <= 'F')
			d = c - 'A' + 10;
		else
			return -EINVAL;
		v = v << 4 | d;
	}
	*out = v;
	return 0;
}

static size_t align4(size_t n)
{
	return (n + 3) & ~(size_t)3;
}

/* Reads the header at pos; f gets ino mode uid gid nlink mtime filesize devmajor devminor
 * rdevmajor rdevminor namesize check. */
static int read_header(struct cpio_reader *r, uint32_t f[FIELDS])
{
	const unsigned char *h = r->base + r->pos;

	if (r->size - r->pos < HEADER)
		return fail(r, r->pos, "header cut off");
	if (memcmp(h, "070701", 6) && memcmp(h, "070702", 6))
		return fail(r, r->pos, "bad magic, not a newc header");
	for (int i = 0; i < FIELDS; i++)
		if (hex8(h + 6 + 8 * i, &f[i]))
			return fail(r, r->pos + 6 + 8 * (size_t)i, "bad hexadecimal digit");
	return 0;
}

static int read_body(struct cpio_reader *r, const uint32_t f[FIELDS], struct cpio_entry *e)
{
	size_t name = r->pos + HEADER, nname = f[11], data;

	if (nname == 0 || nname > r->size - name)
		return fail(r, r->pos + 6 + 8 * 11, "name runs past the end");
	if (r->base[name + nname - 1] != '\0' || memchr(r->base + name, 0, nname - 1))
		return fail(r, name, "name is not one NUL-terminated string");
	data = align4(name + nname);
	if (data > r->size) {
		if (f[6])
			return fail(r, name + nname, "padding runs past the end");
		data = r->size;
	}
	if (f[6] > r->size - data)
		return fail(r, r->pos + 6 + 8 * 6, "data runs past the end");
	*e = (struct cpio_entry){.name = (const char *)r->base + name, .data = r->base + data,
				 .size = f[6], .ino = f[0], .mode = f[1], .uid = f[2],
				 .gid = f[3], .nlink = f[4], .mtime = f[5], .rdevmajor = f[9],
				 .rdevminor = f[10]};
	r->pos = align4(data + f[6]);
	if (r->pos > r->size)
		r->pos = r->size;
	return 0;
}

int cpio_next(struct cpio_reader *r, struct cpio_entry *e)
{
	uint32_t f[FIELDS];
	int err;

	for (;;) {
		while (r->pos < r->size && r->base[r->pos] == 0)
			r->pos++; /* the filling between archives */
		if (r->pos >= r->size)
			return 0;
		err = read_header(r, f);
		if (!err)
			err = read_body(r, f, e);
		if (err)
			return err;
		if (strcmp(e->name, "TRAILER!!!"))
			return 1;
	}
}
