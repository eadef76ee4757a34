/* SPDX-License-Identifier: MIT */
/*
 * RISC-V page-table entries of Sv39, Sv48 and Sv57, encoded and decoded. Pure: no instruction, no
 * state, compiled anywhere. (The RISC-V Instruction Set Manual, volume II, "Sv39" ff.)
 *
 *   63  62..61  60..54  53............10  9..8  7  6  5  4  3  2  1  0
 *   N    PBMT  reserved       PPN         RSW   D  A  G  U  X  W  R  V
 *
 * With V = 0 the hardware looks at no other bit, so the kinds that it must not see are spelled
 * there with a non-zero tag where R, W and X stand:
 *
 *   tag 1  PROT_NONE   PPN, A, D and both software bits where a leaf has them
 *   tag 2  swap        payload in the PPN field, soft-dirty
 *   tag 3  migration   payload in the PPN field, soft-dirty, "was writable" where U stands
 *
 * What this machine lacks, arch_pte_widen() says:
 *   - W without R is a reserved combination: write implies read;
 *   - R = W = X = 0 would be a table: a leaf without any right becomes readable;
 *   - there is no bit for uffd_wp: it is never set (ARCH_UFFD_WP);
 *   - memory types come from the physical memory attributes, which the platform fixes for every
 *     address; entries carry none (PBMT stays 0 whether or not Svpbmt is there): MT_* becomes
 *     MT_WB, "as the platform says".
 */
#ifndef ARCH_RISCV_PTE_H
#define ARCH_RISCV_PTE_H

#include "arch/hal_types.h"

#define ARCH_NAME	 "riscv64"
#define ARCH_PAGE_SHIFT	 12
#define ARCH_INDEX_BITS	 9
#define ARCH_MAX_LEVELS	 5
#define ARCH_LEAF_LEVELS 0x1fu /* pages, mega-, giga-, tera- and petapages */
#define ARCH_PFN_BITS	 44
#define ARCH_SWAP_BITS	 44
#define ARCH_MMAP_OFFSET_SIGNED 1
#define ARCH_UFFD_WP	 0 /* RSW has two bits, and both are used */

#define RV_PTE_V (1ull << 0)
#define RV_PTE_R (1ull << 1)
#define RV_PTE_W (1ull << 2)
#define RV_PTE_X (1ull << 3)
#define RV_PTE_U (1ull << 4)
#define RV_PTE_G (1ull << 5)
#define RV_PTE_A (1ull << 6)
#define RV_PTE_D (1ull << 7)
#define RV_PTE_SOFT_DIRTY (1ull << 8) /* RSW */
#define RV_PTE_SPECIAL	  (1ull << 9) /* RSW */

#define RV_PTE_RWX	 (RV_PTE_R | RV_PTE_W | RV_PTE_X)
#define RV_PTE_PPN_SHIFT 10
#define RV_PTE_PPN	 (((1ull << ARCH_PFN_BITS) - 1) << RV_PTE_PPN_SHIFT)
#define RV_PTE_HIGH	 (~0ull << 54) /* reserved, PBMT, N: this kernel writes none of them */

/* The tag of an entry that the hardware must not see. */
#define RV_TAG_SHIFT	 1
#define RV_TAG_PROTNONE	 (1ull << RV_TAG_SHIFT)
#define RV_TAG_SWAP	 (2ull << RV_TAG_SHIFT)
#define RV_TAG_MIGRATION (3ull << RV_TAG_SHIFT)
#define RV_TAG_MASK	 (7ull << RV_TAG_SHIFT)
#define RV_MIGRATION_W	 RV_PTE_U

ARCH_INLINE struct pte_desc arch_pte_widen(struct pte_desc d)
{
	d.uffd_wp = false;
	if (d.kind != PTE_LEAF)
		return d;
	if (d.w || !d.x)
		d.r = true;
	d.mt = MT_WB;
	return d;
}

ARCH_INLINE pteval_t rv_pte_ppn(struct pte_desc d)
{
	return (d.pfn.n << RV_PTE_PPN_SHIFT) & RV_PTE_PPN;
}

ARCH_INLINE pteval_t rv_pte_soft(struct pte_desc d)
{
	return (d.soft_dirty ? RV_PTE_SOFT_DIRTY : 0) | (d.special ? RV_PTE_SPECIAL : 0);
}

ARCH_INLINE pteval_t rv_pte_ad(struct pte_desc d)
{
	return (d.accessed ? RV_PTE_A : 0) | (d.dirty ? RV_PTE_D : 0);
}

/* The word for d, the same at every level. d is well formed: a leaf's frame is aligned to its size. */
ARCH_INLINE pteval_t arch_pte_encode(struct pte_desc d, unsigned level)
{
	d = arch_pte_widen(d);
	switch (d.kind) {
	case PTE_TABLE:
		return RV_PTE_V | rv_pte_ppn(d);
	case PTE_LEAF:
		return RV_PTE_V | (d.r ? RV_PTE_R : 0) | (d.w ? RV_PTE_W : 0) |
		       (d.x ? RV_PTE_X : 0) | (d.user ? RV_PTE_U : 0) | (d.global ? RV_PTE_G : 0) |
		       rv_pte_ad(d) | rv_pte_soft(d) | rv_pte_ppn(d);
	case PTE_PROTNONE:
		return RV_TAG_PROTNONE | rv_pte_ad(d) | rv_pte_soft(d) | rv_pte_ppn(d);
	case PTE_SWAP:
		return RV_TAG_SWAP | (d.soft_dirty ? RV_PTE_SOFT_DIRTY : 0) | rv_pte_ppn(d);
	case PTE_MIGRATION:
		return RV_TAG_MIGRATION | (d.w ? RV_MIGRATION_W : 0) |
		       (d.soft_dirty ? RV_PTE_SOFT_DIRTY : 0) | rv_pte_ppn(d);
	default:
		return 0;
	}
}

/* V = 0, not the zero word: one of our own tags with nothing but what that kind carries. */
static inline struct pte_desc rv_pte_decode_absent(pteval_t v, struct pte_desc d)
{
	pteval_t extra = v & ~(RV_PTE_PPN | RV_TAG_MASK | RV_PTE_SOFT_DIRTY);

	switch (v & RV_TAG_MASK) {
	case RV_TAG_PROTNONE:
		if (extra & ~(RV_PTE_A | RV_PTE_D | RV_PTE_SPECIAL))
			break;
		d.kind = PTE_PROTNONE;
		d.accessed = v & RV_PTE_A;
		d.dirty = v & RV_PTE_D;
		d.special = v & RV_PTE_SPECIAL;
		break;
	case RV_TAG_SWAP:
		if (!extra)
			d.kind = PTE_SWAP;
		break;
	case RV_TAG_MIGRATION:
		if (extra & ~RV_MIGRATION_W)
			break;
		d.kind = PTE_MIGRATION;
		d.w = v & RV_MIGRATION_W;
		break;
	}
	if (d.kind != PTE_CORRUPT) {
		d.pfn = PFN((v & RV_PTE_PPN) >> RV_PTE_PPN_SHIFT);
		d.soft_dirty = v & RV_PTE_SOFT_DIRTY;
	}
	return d;
}

/* V = 1 and some of R, W, X: a leaf. W without R, or a frame not aligned to the level, faults. */
ARCH_INLINE struct pte_desc rv_pte_decode_leaf(pteval_t v, unsigned level, struct pte_desc d)
{
	uint64_t ppn = (v & RV_PTE_PPN) >> RV_PTE_PPN_SHIFT;

	if ((v & (RV_PTE_W | RV_PTE_R)) == RV_PTE_W || level >= ARCH_MAX_LEVELS)
		return d;
	if (ppn & ((1ull << (ARCH_INDEX_BITS * level)) - 1))
		return d;
	d.kind = PTE_LEAF;
	d.pfn = PFN(ppn);
	d.r = v & RV_PTE_R;
	d.w = v & RV_PTE_W;
	d.x = v & RV_PTE_X;
	d.user = v & RV_PTE_U;
	d.global = v & RV_PTE_G;
	d.accessed = v & RV_PTE_A;
	d.dirty = v & RV_PTE_D;
	d.soft_dirty = v & RV_PTE_SOFT_DIRTY;
	d.special = v & RV_PTE_SPECIAL;
	return d;
}

/* What the word v says at level; PTE_CORRUPT (and nothing else) if it is never encoded. */
ARCH_INLINE struct pte_desc arch_pte_decode(pteval_t v, unsigned level)
{
	struct pte_desc d = {.kind = PTE_CORRUPT};

	if (!v) {
		d.kind = PTE_NONE;
		return d;
	}
	if (v & RV_PTE_HIGH)
		return d;
	if (!(v & RV_PTE_V))
		return rv_pte_decode_absent(v, d);
	if (v & RV_PTE_RWX)
		return rv_pte_decode_leaf(v, level, d);
	/* A pointer: U, A and D are reserved in it, and at level 0 there is nothing to point to. */
	if (level == 0 || (v & ~(RV_PTE_V | RV_PTE_PPN)))
		return d;
	d.kind = PTE_TABLE;
	d.pfn = PFN((v & RV_PTE_PPN) >> RV_PTE_PPN_SHIFT);
	return d;
}

/* ---- short cuts (arch/hal.h) ----------------------------------------------------------------- */

#define ARCH_PTE_SHORT_CUTS
ARCH_INLINE bool arch_pte_is_table(pteval_t v, unsigned level)
{
	return level && (v & ~RV_PTE_PPN) == RV_PTE_V;
}

ARCH_INLINE bool arch_pte_is_leaf(pteval_t v)
{
	return v & RV_PTE_V;
}

ARCH_INLINE pfn_t arch_pte_pfn(pteval_t v)
{
	return PFN((v & RV_PTE_PPN) >> RV_PTE_PPN_SHIFT);
}

ARCH_INLINE pteval_t arch_pte_refill(pteval_t v, pfn_t pfn)
{
	return v | pfn.n << RV_PTE_PPN_SHIFT;
}

ARCH_INLINE pteval_t arch_pte_bits(unsigned bits)
{
	return (bits & PTE_BIT_W ? RV_PTE_W : 0) | (bits & PTE_BIT_ACCESSED ? RV_PTE_A : 0) |
	       (bits & PTE_BIT_DIRTY ? RV_PTE_D : 0) |
	       (bits & PTE_BIT_SOFT_DIRTY ? RV_PTE_SOFT_DIRTY : 0) |
	       (bits & PTE_BIT_SPECIAL ? RV_PTE_SPECIAL : 0);
}

#endif
