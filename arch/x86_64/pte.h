/* SPDX-License-Identifier: MIT */
/*
 * x86-64 page-table entries, 4 and 5 levels alike: the pure part of the machine. Compiled
 * anywhere; touches nothing but its arguments.
 *
 *   present entry (bit 0 set), as the hardware reads it
 *     0 P  1 RW  2 US  3 PWT  4 PCD  5 A  6 D  7 PS (PAT at level 0)  8 G
 *     9 special  10 soft-dirty  11 uffd-wp  12..51 frame  52..62 zero  63 NX
 *   absent entry (bit 0 clear): the hardware reads nothing of it
 *     1..2 kind (1 PROT_NONE, 2 swap, 3 migration)  5 A  6 D  9 special  10 soft-dirty
 *     11 uffd-wp; of migration "was writable", and uffd-wp in 8  12..51 frame or payload, inverted
 *
 * An absent entry's frame field is stored inverted: a processor with the L1 terminal fault reads
 * the cache speculatively at the address in such an entry, so it must name no memory there is.
 * Memory types are PWT and PCD alone (cpu.c loads the PAT to match): the PAT bit, which moves
 * with the level, is never set.
 */
#ifndef ARCH_X86_64_PTE_H
#define ARCH_X86_64_PTE_H

#include "arch/hal_types.h"

#define ARCH_NAME	 "x86_64"
#define ARCH_PAGE_SHIFT	 12
#define ARCH_INDEX_BITS	 9
#define ARCH_MAX_LEVELS	 5
#define ARCH_LEAF_LEVELS 0x7u /* 4 KiB, 2 MiB, 1 GiB */
#define ARCH_PFN_BITS	 40
#define ARCH_SWAP_BITS	 40
#define ARCH_MAP_32BIT	 1
#define ARCH_UFFD_WP	 1

#define X86_PTE_P   (1ull << 0)
#define X86_PTE_RW  (1ull << 1)
#define X86_PTE_US  (1ull << 2)
#define X86_PTE_PWT (1ull << 3)
#define X86_PTE_PCD (1ull << 4)
#define X86_PTE_A   (1ull << 5)
#define X86_PTE_D   (1ull << 6)
#define X86_PTE_PS  (1ull << 7)
#define X86_PTE_G   (1ull << 8)
#define X86_PTE_SPECIAL	   (1ull << 9)
#define X86_PTE_SOFT_DIRTY (1ull << 10)
#define X86_PTE_UFFD_WP	   (1ull << 11)
#define X86_PTE_MIGR_W	   (1ull << 11)
#define X86_PTE_MIGR_UFFD  (1ull << 8)
#define X86_PTE_NX  (1ull << 63)

#define X86_PTE_FRAME 0x000ffffffffff000ull /* 40 bits from bit 12 */

#define X86_PTE_KIND_SHIFT 1
#define X86_PTE_KIND_MASK  (3ull << X86_PTE_KIND_SHIFT)
#define X86_KIND_PROTNONE  (1ull << X86_PTE_KIND_SHIFT)
#define X86_KIND_SWAP	   (2ull << X86_PTE_KIND_SHIFT)
#define X86_KIND_MIGRATION (3ull << X86_PTE_KIND_SHIFT)

/* What encode answers to a description that this machine cannot hold: decode says corrupt, and
 * the hardware sees an absent entry. */
#define X86_PTE_UNENCODABLE (1ull << 62)

#define X86_PTE_SOFT_BITS (X86_PTE_A | X86_PTE_D | X86_PTE_SPECIAL | X86_PTE_SOFT_DIRTY | X86_PTE_UFFD_WP)
#define X86_PTE_TABLE_BITS (X86_PTE_P | X86_PTE_RW | X86_PTE_US)

/* Whether an entry of this level may map memory itself. */
static inline bool x86_leaf_level(unsigned level)
{
	return level < 3;
}

/* The frame bits that a leaf of this level must leave zero. */
static inline uint64_t x86_frame_low(unsigned level)
{
	return ((1ull << (ARCH_PAGE_SHIFT + level * ARCH_INDEX_BITS)) - 1) & X86_PTE_FRAME;
}

/* A, D and software's bits, which sit at the same place in present and PROT_NONE entries. */
ARCH_INLINE pteval_t x86_soft_encode(struct pte_desc d)
{
	return (d.accessed ? X86_PTE_A : 0) | (d.dirty ? X86_PTE_D : 0) |
	       (d.special ? X86_PTE_SPECIAL : 0) | (d.soft_dirty ? X86_PTE_SOFT_DIRTY : 0) |
	       (d.uffd_wp ? X86_PTE_UFFD_WP : 0);
}

ARCH_INLINE void x86_soft_decode(pteval_t v, struct pte_desc *d)
{
	d->accessed = v & X86_PTE_A;
	d->dirty = v & X86_PTE_D;
	d->special = v & X86_PTE_SPECIAL;
	d->soft_dirty = v & X86_PTE_SOFT_DIRTY;
	d->uffd_wp = v & X86_PTE_UFFD_WP;
}

ARCH_INLINE pteval_t x86_leaf_encode(struct pte_desc d, unsigned level)
{
	pteval_t v = X86_PTE_P | d.pfn.n << ARCH_PAGE_SHIFT | x86_soft_encode(d);

	if (level)
		v |= X86_PTE_PS;
	v |= d.w ? X86_PTE_RW : 0;
	v |= d.x ? 0 : X86_PTE_NX;
	v |= d.user ? X86_PTE_US : 0;
	v |= d.global ? X86_PTE_G : 0;
	/* PAT entry 0 WB, 1 WC, 2 UC-, 3 UC: the number is the two bits PCD PWT */
	return v | (pteval_t)d.mt * X86_PTE_PWT;
}

ARCH_INLINE struct pte_desc x86_leaf_decode(pteval_t v, unsigned level)
{
	struct pte_desc d = {.kind = PTE_LEAF};
	const pteval_t known = X86_PTE_P | X86_PTE_RW | X86_PTE_US | X86_PTE_PWT | X86_PTE_PCD |
			       X86_PTE_SOFT_BITS | X86_PTE_G | X86_PTE_FRAME | X86_PTE_NX |
			       (level ? X86_PTE_PS : 0);

	if ((v & ~known) || (v & x86_frame_low(level)))
		return (struct pte_desc){.kind = PTE_CORRUPT};
	d.pfn = PFN((v & X86_PTE_FRAME) >> ARCH_PAGE_SHIFT);
	d.r = true;
	d.w = v & X86_PTE_RW;
	d.x = !(v & X86_PTE_NX);
	d.user = v & X86_PTE_US;
	d.global = v & X86_PTE_G;
	d.mt = (enum mem_type)((v & (X86_PTE_PWT | X86_PTE_PCD)) / X86_PTE_PWT);
	x86_soft_decode(v, &d);
	return d;
}

ARCH_INLINE struct pte_desc x86_table_decode(pteval_t v)
{
	/* the processor sets A in a table's entry too; the walk does not care */
	if ((v & ~(X86_PTE_FRAME | X86_PTE_A)) != X86_PTE_TABLE_BITS)
		return (struct pte_desc){.kind = PTE_CORRUPT};
	return (struct pte_desc){
		.kind = PTE_TABLE,
		.pfn = PFN((v & X86_PTE_FRAME) >> ARCH_PAGE_SHIFT),
	};
}

static inline struct pte_desc x86_absent_decode(pteval_t v, unsigned level)
{
	struct pte_desc d = {.pfn = PFN((~v & X86_PTE_FRAME) >> ARCH_PAGE_SHIFT)};
	pteval_t known = X86_PTE_FRAME | X86_PTE_KIND_MASK | X86_PTE_SOFT_DIRTY;

	switch (v & X86_PTE_KIND_MASK) {
	case X86_KIND_PROTNONE:
		d.kind = PTE_PROTNONE;
		known |= X86_PTE_SOFT_BITS;
		if (!x86_leaf_level(level) || (~v & x86_frame_low(level)))
			d.kind = PTE_CORRUPT;
		x86_soft_decode(v, &d);
		break;
	case X86_KIND_SWAP:
		d.kind = PTE_SWAP;
		known |= X86_PTE_UFFD_WP;
		d.uffd_wp = v & X86_PTE_UFFD_WP;
		d.soft_dirty = v & X86_PTE_SOFT_DIRTY;
		break;
	case X86_KIND_MIGRATION:
		d.kind = PTE_MIGRATION;
		known |= X86_PTE_MIGR_W | X86_PTE_MIGR_UFFD;
		d.uffd_wp = v & X86_PTE_MIGR_UFFD;
		d.soft_dirty = v & X86_PTE_SOFT_DIRTY;
		d.w = v & X86_PTE_MIGR_W;
		break;
	default:
		d.kind = PTE_CORRUPT;
	}
	if (d.kind == PTE_CORRUPT || (v & ~known))
		return (struct pte_desc){.kind = PTE_CORRUPT};
	return d;
}

/* The word for d at level. A description that the machine has no word for (a leaf above level 2,
 * a table at level 0, a frame too wide or not aligned to the leaf) gives a word that decodes as
 * corrupt and that the hardware treats as absent. */
ARCH_INLINE pteval_t arch_pte_encode(struct pte_desc d, unsigned level)
{
	const pteval_t inverted = ~(d.pfn.n << ARCH_PAGE_SHIFT) & X86_PTE_FRAME;

	if (d.pfn.n >> ARCH_PFN_BITS)
		return X86_PTE_UNENCODABLE;
	if (d.kind == PTE_LEAF || d.kind == PTE_PROTNONE) {
		if (!x86_leaf_level(level) ||
		    (d.pfn.n << ARCH_PAGE_SHIFT & x86_frame_low(level)))
			return X86_PTE_UNENCODABLE;
	}

	switch (d.kind) {
	case PTE_NONE:
		return 0;
	case PTE_TABLE:
		/* rights are decided in the leaf alone */
		return level ? X86_PTE_TABLE_BITS | d.pfn.n << ARCH_PAGE_SHIFT :
			       X86_PTE_UNENCODABLE;
	case PTE_LEAF:
		return x86_leaf_encode(d, level);
	case PTE_PROTNONE:
		return X86_KIND_PROTNONE | inverted | x86_soft_encode(d);
	case PTE_SWAP:
		return X86_KIND_SWAP | inverted | (d.soft_dirty ? X86_PTE_SOFT_DIRTY : 0) |
		       (d.uffd_wp ? X86_PTE_UFFD_WP : 0);
	case PTE_MIGRATION:
		return X86_KIND_MIGRATION | inverted | (d.soft_dirty ? X86_PTE_SOFT_DIRTY : 0) |
		       (d.w ? X86_PTE_MIGR_W : 0) | (d.uffd_wp ? X86_PTE_MIGR_UFFD : 0);
	default:
		return X86_PTE_UNENCODABLE;
	}
}

/* What the word v of level says; PTE_CORRUPT for every word that encode never writes, but for the
 * A and D bits that the processor adds to a present one. */
ARCH_INLINE struct pte_desc arch_pte_decode(pteval_t v, unsigned level)
{
	if (!v)
		return (struct pte_desc){.kind = PTE_NONE};
	if (!(v & X86_PTE_P))
		return x86_absent_decode(v, level);
	if (level == 0 || ((v & X86_PTE_PS) && x86_leaf_level(level)))
		return x86_leaf_decode(v, level);
	return x86_table_decode(v);
}

/* What the machine makes of d: whatever is present can be read. */
static inline struct pte_desc arch_pte_widen(struct pte_desc d)
{
	if (d.kind == PTE_LEAF)
		d.r = true;
	return d;
}

/* ---- short cuts (arch/hal.h) ----------------------------------------------------------------- */

#define ARCH_PTE_SHORT_CUTS
ARCH_INLINE bool arch_pte_is_table(pteval_t v, unsigned level)
{
	return level && (v & ~(X86_PTE_FRAME | X86_PTE_A)) == X86_PTE_TABLE_BITS;
}

ARCH_INLINE bool arch_pte_is_leaf(pteval_t v)
{
	return v & X86_PTE_P;
}

ARCH_INLINE pfn_t arch_pte_pfn(pteval_t v)
{
	return PFN((v & X86_PTE_FRAME) >> ARCH_PAGE_SHIFT);
}

/* An absent entry's frame is inverted: in either kind, what the frame flips are its bits. */
ARCH_INLINE pteval_t arch_pte_refill(pteval_t v, pfn_t pfn)
{
	return v ^ pfn.n << ARCH_PAGE_SHIFT;
}

ARCH_INLINE pteval_t arch_pte_bits(unsigned bits)
{
	return (bits & PTE_BIT_W ? X86_PTE_RW : 0) | (bits & PTE_BIT_ACCESSED ? X86_PTE_A : 0) |
	       (bits & PTE_BIT_DIRTY ? X86_PTE_D : 0) |
	       (bits & PTE_BIT_SOFT_DIRTY ? X86_PTE_SOFT_DIRTY : 0) |
	       (bits & PTE_BIT_SPECIAL ? X86_PTE_SPECIAL : 0) |
	       (bits & PTE_BIT_UFFD_WP ? X86_PTE_UFFD_WP : 0);
}

#endif
