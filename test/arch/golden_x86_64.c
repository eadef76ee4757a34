/* SPDX-License-Identifier: MIT */
/*
 * Exact words of x86-64 entries, worked out by hand from the Intel SDM, volume 3A, section 4.5
 * ("4-level paging and 5-level paging"), tables 4-15 to 4-20, and section 11.12 for PAT: bit 0 P,
 * 1 R/W, 2 U/S, 3 PWT, 4 PCD, 5 A, 6 D, 7 PS (leaf above level 0), 8 G, 9 to 11 ignored,
 * 12 to 51 address, 63 XD. Absent entries (P = 0) are software's, laid out at the head of pte.h.
 */
#include <criterion/criterion.h>

#include "arch/x86_64/pte.h"

#define LEAF(...) ((struct pte_desc){.kind = PTE_LEAF, .r = true, __VA_ARGS__})

static void golden(struct pte_desc d, unsigned level, uint64_t word)
{
	cr_assert_eq(arch_pte_encode(d, level), word, "%#llx instead of %#llx",
		     (unsigned long long)arch_pte_encode(d, level), (unsigned long long)word);
	cr_assert_eq(arch_pte_decode(word, level).kind, d.kind);
	cr_assert_eq(arch_pte_decode(word, level).pfn.n, d.pfn.n);
}

Test(golden_x86_64, leaves)
{
	/* P | XD; frame 0x12345 at bit 12 */
	golden(LEAF(.pfn = PFN(0x12345)), 0, 0x8000000012345001ull);
	/* P R/W U/S A D XD: a user's written page */
	golden(LEAF(.pfn = PFN(0x12345), .w = 1, .user = 1, .accessed = 1, .dirty = 1), 0,
	       0x8000000012345067ull);
	/* P U/S A, executable: XD clear */
	golden(LEAF(.pfn = PFN(0x1), .x = 1, .user = 1, .accessed = 1), 0, 0x1025ull);
	/* P R/W A D G XD: kernel data */
	golden(LEAF(.pfn = PFN(0x1), .w = 1, .global = 1, .accessed = 1, .dirty = 1), 0,
	       0x8000000000001163ull);
	/* the widest frame number, 40 bits */
	golden(LEAF(.pfn = PFN(0xffffffffffull), .x = 1), 0, 0x000ffffffffff001ull);
	/* 2 MiB and 1 GiB: PS, bit 7 */
	golden(LEAF(.pfn = PFN(0x200), .x = 1, .w = 1), 1, 0x200083ull);
	golden(LEAF(.pfn = PFN(0x40000), .x = 1, .w = 1), 2, 0x40000083ull);
}

Test(golden_x86_64, software_bits)
{
	golden(LEAF(.pfn = PFN(1), .x = 1, .special = 1), 0, 0x1201ull);
	golden(LEAF(.pfn = PFN(1), .x = 1, .soft_dirty = 1), 0, 0x1401ull);
	golden(LEAF(.pfn = PFN(1), .x = 1, .uffd_wp = 1), 0, 0x1801ull);
}

Test(golden_x86_64, memory_types)
{
	/* PAT entry = PAT.PCD.PWT: 1 write-combining, 2 uncached, 3 strong uncached */
	golden(LEAF(.pfn = PFN(1), .x = 1, .mt = MT_WC), 0, 0x1009ull);
	golden(LEAF(.pfn = PFN(1), .x = 1, .mt = MT_UC), 0, 0x1011ull);
	golden(LEAF(.pfn = PFN(1), .x = 1, .mt = MT_DEVICE), 0, 0x1019ull);
}

Test(golden_x86_64, tables)
{
	for (unsigned level = 1; level < 5; level++)
		golden((struct pte_desc){.kind = PTE_TABLE, .pfn = PFN(0xabc)}, level, 0xabc007ull);
	/* A in a table's entry is the processor's own */
	cr_assert_eq(arch_pte_decode(0xabc027ull, 2).kind, PTE_TABLE);
}

Test(golden_x86_64, absent_kinds_have_p_clear_and_the_frame_inverted)
{
	golden((struct pte_desc){.kind = PTE_PROTNONE, .pfn = PFN(0x12345)}, 0,
	       0x000fffffedcba002ull);
	golden((struct pte_desc){.kind = PTE_SWAP, .pfn = PFN(0)}, 0, 0x000ffffffffff004ull);
	golden((struct pte_desc){.kind = PTE_SWAP, .pfn = PFN(1)}, 0, 0x000fffffffffe004ull);
	golden((struct pte_desc){.kind = PTE_MIGRATION, .pfn = PFN(0), .w = 1}, 0,
	       0x000ffffffffff806ull);
}

Test(golden_x86_64, bits_that_nobody_writes_are_corrupt)
{
	/* bit 52 is ignored by the processor: only a stray write can have set it */
	cr_assert_eq(arch_pte_decode(0x0010000000001067ull, 0).kind, PTE_CORRUPT);
	/* PS is reserved above the 1 GiB level */
	cr_assert_eq(arch_pte_decode(0x00000000000010e7ull, 3).kind, PTE_CORRUPT);
	cr_assert_eq(arch_pte_decode(0x00000000000010e7ull, 4).kind, PTE_CORRUPT);
	/* a 2 MiB leaf whose address has bits below 21 */
	cr_assert_eq(arch_pte_decode(0x00000000002020e7ull, 1).kind, PTE_CORRUPT);
}
