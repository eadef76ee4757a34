/* SPDX-License-Identifier: MIT */
/*
 * Page-table entries of an invented machine, for tests: 16 KiB pages, 11 index bits, 3 or 4 levels,
 * and a layout as unlike x86-64 and RISC-V as the laws of arch/hal.h allow. Pure, compiled
 * anywhere. It is there so that no assumption about real machines can hide in mm/.
 *
 *   63      62..59  58  57    56..55  54   53  52  51   50    49    48   47  46  45..42  41..0
 *   parity  zero    wp  zero  memory  spc  sd  D   noA  noG   noU   noR  W   X   tag     frame or payload
 *
 *   - the frame is not shifted, and starts at bit 0;
 *   - A, G, U and R are stored the wrong way round: a set bit takes something away;
 *   - R, W and X are independent: write-only and execute-only memory exist, so widen adds nothing;
 *   - a leaf of level 1 (a block of 32 MiB) has another tag than a leaf of level 0;
 *   - bit 63 makes the number of set bits even: any single flipped bit is seen as corrupt.
 */
#ifndef ARCH_INVENTED_PTE_H
#define ARCH_INVENTED_PTE_H

#include "arch/hal_types.h"

#define ARCH_NAME	 "invented"
#define ARCH_PAGE_SHIFT	 14
#define ARCH_INDEX_BITS	 11
#define ARCH_MAX_LEVELS	 4
#define ARCH_LEAF_LEVELS 0x3u /* 16 KiB, 32 MiB */
#define ARCH_PFN_BITS	 42
#define ARCH_SWAP_BITS	 42
#define ARCH_UFFD_WP	 1

#define INV_PTE_FRAME	   ((1ull << ARCH_PFN_BITS) - 1)
#define INV_PTE_TAG_SHIFT  42
#define INV_PTE_TAG_MASK   (15ull << INV_PTE_TAG_SHIFT)
#define INV_PTE_X	   (1ull << 46)
#define INV_PTE_W	   (1ull << 47)
#define INV_PTE_NO_R	   (1ull << 48)
#define INV_PTE_NO_U	   (1ull << 49)
#define INV_PTE_NO_G	   (1ull << 50)
#define INV_PTE_NO_A	   (1ull << 51)
#define INV_PTE_D	   (1ull << 52)
#define INV_PTE_SOFT_DIRTY (1ull << 53)
#define INV_PTE_SPECIAL	   (1ull << 54)
#define INV_PTE_MT_SHIFT   55
#define INV_PTE_MT_MASK	   (3ull << INV_PTE_MT_SHIFT)
#define INV_PTE_UFFD_WP	   (1ull << 58)
#define INV_PTE_PARITY	   (1ull << 63)

/* Two set bits each, so that no single flip turns one tag into another even without parity. */
enum {
	INV_TAG_PROTNONE = 0x3,
	INV_TAG_TABLE = 0x5,
	INV_TAG_SWAP = 0x6,
	INV_TAG_PAGE = 0x9,
	INV_TAG_BLOCK = 0xa,
	INV_TAG_MIGRATION = 0xc,
};

/* What encode answers to a description without a word: one set bit, wrong parity, tag 0. */
#define INV_PTE_UNENCODABLE (1ull << 57)

/* Frame bits that a leaf of this level must leave zero. */
static inline uint64_t inv_frame_low(unsigned level)
{
	return level ? (1ull << ARCH_INDEX_BITS) - 1 : 0;
}

static inline pteval_t inv_with_parity(pteval_t v)
{
	return __builtin_parityll(v) ? v | INV_PTE_PARITY : v;
}

/* Nothing is implied by anything here. */
static inline struct pte_desc arch_pte_widen(struct pte_desc d)
{
	return d;
}

static inline pteval_t inv_tag(unsigned tag)
{
	return (pteval_t)tag << INV_PTE_TAG_SHIFT;
}

/* A, D and software's bits, which PROT_NONE entries keep. */
static inline pteval_t inv_kept_bits(struct pte_desc d)
{
	return (d.accessed ? 0 : INV_PTE_NO_A) | (d.dirty ? INV_PTE_D : 0) |
	       (d.soft_dirty ? INV_PTE_SOFT_DIRTY : 0) | (d.special ? INV_PTE_SPECIAL : 0) |
	       (d.uffd_wp ? INV_PTE_UFFD_WP : 0);
}

static inline pteval_t inv_leaf_bits(struct pte_desc d, unsigned level)
{
	return inv_tag(level ? INV_TAG_BLOCK : INV_TAG_PAGE) | inv_kept_bits(d) |
	       (d.x ? INV_PTE_X : 0) | (d.w ? INV_PTE_W : 0) | (d.r ? 0 : INV_PTE_NO_R) |
	       (d.user ? 0 : INV_PTE_NO_U) | (d.global ? 0 : INV_PTE_NO_G) |
	       (pteval_t)d.mt << INV_PTE_MT_SHIFT;
}

/* The word for d at level. What has no word (a leaf above level 1, a table at level 0, a frame too
 * wide or not aligned to the leaf) gives one that decodes as corrupt. */
static inline pteval_t arch_pte_encode(struct pte_desc d, unsigned level)
{
	bool leaf_like = d.kind == PTE_LEAF || d.kind == PTE_PROTNONE;
	pteval_t v = d.pfn.n;

	if (d.pfn.n & ~INV_PTE_FRAME)
		return INV_PTE_UNENCODABLE;
	if (leaf_like && (level > 1 || (d.pfn.n & inv_frame_low(level))))
		return INV_PTE_UNENCODABLE;
	switch (d.kind) {
	case PTE_NONE:
		return 0;
	case PTE_TABLE:
		return level ? inv_with_parity(v | inv_tag(INV_TAG_TABLE)) : INV_PTE_UNENCODABLE;
	case PTE_LEAF:
		return inv_with_parity(v | inv_leaf_bits(d, level));
	case PTE_PROTNONE:
		return inv_with_parity(v | inv_tag(INV_TAG_PROTNONE) | inv_kept_bits(d));
	case PTE_SWAP:
		v |= inv_tag(INV_TAG_SWAP) | (d.soft_dirty ? INV_PTE_SOFT_DIRTY : 0) |
		     (d.uffd_wp ? INV_PTE_UFFD_WP : 0);
		return inv_with_parity(v);
	case PTE_MIGRATION:
		v |= inv_tag(INV_TAG_MIGRATION) | (d.soft_dirty ? INV_PTE_SOFT_DIRTY : 0) |
		     (d.uffd_wp ? INV_PTE_UFFD_WP : 0);
		return inv_with_parity(v | (d.w ? INV_PTE_W : 0));
	default:
		return INV_PTE_UNENCODABLE;
	}
}

/* Which kind the tag of v means at level, and which bits that kind may carry beside the frame. */
static inline enum pte_kind inv_kind(pteval_t v, unsigned level, pteval_t *may)
{
	const pteval_t kept = INV_PTE_NO_A | INV_PTE_D | INV_PTE_SOFT_DIRTY | INV_PTE_SPECIAL | INV_PTE_UFFD_WP;
	unsigned tag = (v & INV_PTE_TAG_MASK) >> INV_PTE_TAG_SHIFT;

	*may = 0;
	if (tag == INV_TAG_TABLE && level)
		return PTE_TABLE;
	*may = INV_PTE_SOFT_DIRTY | INV_PTE_UFFD_WP;
	if (tag == INV_TAG_SWAP)
		return PTE_SWAP;
	*may = INV_PTE_SOFT_DIRTY | INV_PTE_UFFD_WP | INV_PTE_W;
	if (tag == INV_TAG_MIGRATION)
		return PTE_MIGRATION;
	*may = kept;
	if (tag == INV_TAG_PROTNONE && level < 2)
		return PTE_PROTNONE;
	*may = kept | INV_PTE_X | INV_PTE_W | INV_PTE_NO_R | INV_PTE_NO_U | INV_PTE_NO_G |
	       INV_PTE_MT_MASK;
	if ((tag == INV_TAG_PAGE && level == 0) || (tag == INV_TAG_BLOCK && level == 1))
		return PTE_LEAF;
	return PTE_CORRUPT;
}

/* What the word v says at level; PTE_CORRUPT for every word that encode never writes. */
static inline struct pte_desc arch_pte_decode(pteval_t v, unsigned level)
{
	struct pte_desc d = {.kind = PTE_NONE};
	pteval_t may;

	if (!v)
		return d;
	d.kind = inv_kind(v, level, &may);
	may |= INV_PTE_FRAME | INV_PTE_TAG_MASK | INV_PTE_PARITY;
	if (d.kind == PTE_CORRUPT || (v & ~may) || __builtin_parityll(v))
		return (struct pte_desc){.kind = PTE_CORRUPT};
	d.pfn = PFN(v & INV_PTE_FRAME);
	if (d.kind == PTE_TABLE)
		return d;
	d.soft_dirty = v & INV_PTE_SOFT_DIRTY;
	d.uffd_wp = v & INV_PTE_UFFD_WP;
	d.w = v & INV_PTE_W; /* zero where the kind has no right to write */
	if (d.kind != PTE_LEAF && d.kind != PTE_PROTNONE)
		return d;
	if (d.pfn.n & inv_frame_low(level))
		return (struct pte_desc){.kind = PTE_CORRUPT};
	d.accessed = !(v & INV_PTE_NO_A);
	d.dirty = v & INV_PTE_D;
	d.special = v & INV_PTE_SPECIAL;
	if (d.kind == PTE_PROTNONE)
		return d;
	d.r = !(v & INV_PTE_NO_R);
	d.x = v & INV_PTE_X;
	d.user = !(v & INV_PTE_NO_U);
	d.global = !(v & INV_PTE_NO_G);
	d.mt = (enum mem_type)((v & INV_PTE_MT_MASK) >> INV_PTE_MT_SHIFT);
	return d;
}

#endif
