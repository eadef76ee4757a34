/* SPDX-License-Identifier: MIT */
/*
 * Exact words of the invented machine's entries, worked out by hand from the table at the head of
 * arch/invented/pte.h. The tag stands at bit 42; bit 63 makes the number of set bits even.
 */
#include <criterion/criterion.h>

#include "arch/invented/pte.h"

static void golden(struct pte_desc d, unsigned level, uint64_t word)
{
	cr_assert_eq(arch_pte_encode(d, level), word, "%#llx instead of %#llx",
		     (unsigned long long)arch_pte_encode(d, level), (unsigned long long)word);
	cr_assert_eq(arch_pte_decode(word, level).kind, d.kind);
	cr_assert_eq(arch_pte_decode(word, level).pfn.n, d.pfn.n);
}

Test(golden_invented, leaves)
{
	/* tag 9, all of noR noU noG noA, frame 0: 2 + 4 bits, even */
	golden((struct pte_desc){.kind = PTE_LEAF}, 0, 0x000f240000000000ull);
	/* frame 1 adds a bit: parity */
	golden((struct pte_desc){.kind = PTE_LEAF, .pfn = PFN(1)}, 0, 0x800f240000000001ull);
	/* r w x user accessed dirty: tag 9, X, W, noG, D: 2 + 4 bits */
	golden((struct pte_desc){.kind = PTE_LEAF, .r = 1, .w = 1, .x = 1, .user = 1, .accessed = 1,
				 .dirty = 1}, 0, 0x0014e40000000000ull);
	/* a block of level 1: tag 10; frame 0x800 */
	golden((struct pte_desc){.kind = PTE_LEAF, .r = 1, .user = 1, .global = 1, .accessed = 1,
				 .pfn = PFN(0x800)}, 1, 0x8000280000000800ull);
	/* write-only exists here */
	cr_assert_not(arch_pte_decode(arch_pte_encode((struct pte_desc){.kind = PTE_LEAF, .w = 1}, 0),
				      0).r);
}

Test(golden_invented, others)
{
	golden((struct pte_desc){.kind = PTE_TABLE, .pfn = PFN(0)}, 1, 0x0000140000000000ull);
	golden((struct pte_desc){.kind = PTE_SWAP, .pfn = PFN(0)}, 0, 0x0000180000000000ull);
	golden((struct pte_desc){.kind = PTE_MIGRATION, .pfn = PFN(0), .w = 1}, 0,
	       0x8000b00000000000ull);
	/* PROT_NONE, not accessed: tag 3 and noA */
	golden((struct pte_desc){.kind = PTE_PROTNONE, .pfn = PFN(0)}, 0, 0x80080c0000000000ull);
}

Test(golden_invented, one_flipped_bit_is_corrupt)
{
	pteval_t v = arch_pte_encode((struct pte_desc){.kind = PTE_LEAF, .r = 1, .pfn = PFN(77)}, 0);

	for (unsigned bit = 0; bit < 64; bit++)
		cr_assert_eq(arch_pte_decode(v ^ 1ull << bit, 0).kind, PTE_CORRUPT);
}
