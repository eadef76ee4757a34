/* SPDX-License-Identifier: MIT */
/*
 * Reads newc cpio archives (an initramfs) where they lie in memory. Every length is checked
 * against the archive's end before it is believed. Several archives may follow one another, with
 * zeros between them.
 */
#ifndef LIB_CPIO_H
#define LIB_CPIO_H

#include <stddef.h>
#include <stdint.h>

struct cpio_reader {
	const unsigned char *base;
	size_t size, pos;
	const char *error;   /* what was wrong, after -EINVAL */
	size_t error_offset; /* and at which byte */
};

struct cpio_entry {
	const char *name;    /* NUL-terminated, inside the archive */
	const void *data;
	size_t size;
	uint32_t ino, mode, uid, gid, nlink, mtime, rdevmajor, rdevminor;
};

void cpio_open(struct cpio_reader *r, const void *archive, size_t size);
/* 1: *e is the next entry; 0: the end; -EINVAL: malformed (r->error, r->error_offset). */
int cpio_next(struct cpio_reader *r, struct cpio_entry *e);

#endif
