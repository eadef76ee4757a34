/* SPDX-License-Identifier: MIT */
/*
 * Flattened device trees, read only. Knows nothing of any machine; allocates nothing; never reads
 * outside the blob, whatever is in it. (Devicetree Specification 0.4, chapter 5.)
 *
 * dtb_open() checks the whole blob once. What it lets through, the other functions can walk
 * without meeting a surprise; they still check what they index.
 *
 * A node is the offset of its FDT_BEGIN_NODE token in the structure block; negative: no node.
 */
#ifndef LIB_FDT_H
#define LIB_FDT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dtb {
	const uint8_t *blob;
	uint32_t size;			     /* of the blob, bytes */
	uint32_t struct_off, struct_end;     /* the structure block */
	uint32_t strings_off, strings_end;   /* property names */
	uint32_t rsv_off;		     /* the memory reservation block */
};

typedef int32_t dtb_node;

#define DTB_NONE (-1)
#define DTB_MAX_DEPTH 32 /* nodes inside nodes; real trees have about six */

/* Where and why a blob was refused. */
struct dtb_error {
	const char *why; /* one line for people */
	uint32_t at;	 /* byte offset in the blob */
};

/*
 * Takes the blob that starts at p, of which at most avail bytes may be read. Returns 0, or
 * -EINVAL with *e (not NULL) filled in; then d may not be used.
 */
int dtb_open(struct dtb *d, const void *p, size_t avail, struct dtb_error *e);

/* The i-th entry of the memory reservation block. False after the last. */
bool dtb_reservation(const struct dtb *d, unsigned i, uint64_t *addr, uint64_t *size);

/* The tree. The root is node 0 of the structure block, if the blob was accepted. */
dtb_node dtb_root(const struct dtb *d);
/* The next node in the order of the blob; *depth (may be NULL) follows it up and down. */
dtb_node dtb_next(const struct dtb *d, dtb_node n, int *depth);
dtb_node dtb_first_child(const struct dtb *d, dtb_node n);
dtb_node dtb_next_sibling(const struct dtb *d, dtb_node n);
dtb_node dtb_parent(const struct dtb *d, dtb_node n);
/* "/soc/serial@10000000"; a name without its "@unit" finds the first of that name. */
dtb_node dtb_path(const struct dtb *d, const char *path);
/* The first node after n (DTB_NONE: from the root on) whose "compatible" lists name. */
dtb_node dtb_compatible(const struct dtb *d, dtb_node n, const char *name);
/* A node's own name, "serial@10000000"; "" for the root. */
const char *dtb_name(const struct dtb *d, dtb_node n);

/* A property's bytes, NULL if there is none; *len (may be NULL) is its length. */
const void *dtb_prop(const struct dtb *d, dtb_node n, const char *name, uint32_t *len);
/* A property that is text: NULL if absent, empty or not ended by its NUL. */
const char *dtb_string(const struct dtb *d, dtb_node n, const char *name);
/* True if one of the texts in a list ("compatible") is s. */
bool dtb_string_in(const struct dtb *d, dtb_node n, const char *name, const char *s);
/* A number of one or two cells. 0, -ENOENT, or -EINVAL for another length. */
int dtb_number(const struct dtb *d, dtb_node n, const char *name, uint64_t *v);

/*
 * The i-th (address, size) pair of the property name ("reg") by the cell counts of n's parent,
 * in the parent's address space. 0, -ENOENT after the last, -EINVAL if the length is no whole
 * number of pairs or a number does not fit 64 bits.
 */
int dtb_reg(const struct dtb *d, dtb_node n, const char *name, unsigned i, uint64_t *addr,
	    uint64_t *size);
/* Turns an address of n's parent's space into one of the root's, through every bus' "ranges".
 * -ENOENT if a bus on the way does not map it. */
int dtb_translate(const struct dtb *d, dtb_node n, uint64_t *addr);

#endif
