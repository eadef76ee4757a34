/* SPDX-License-Identifier: MIT */
/*
 * Exact words of RISC-V entries, worked out by hand from the privileged specification, chapter
 * "Sv39" ff.: bit 0 V, 1 R, 2 W, 3 X, 4 U, 5 G, 6 A, 7 D, 8 and 9 RSW, 10 to 53 PPN, 54 to 60
 * reserved, 61 and 62 PBMT, 63 N. With V = 0 the rest is software's, laid out at the head of pte.h.
 */
#include <criterion/criterion.h>

#include "arch/riscv/pte.h"

#define LEAF(...) ((struct pte_desc){.kind = PTE_LEAF, .r = true, __VA_ARGS__})

static void golden(struct pte_desc d, unsigned level, uint64_t word)
{
	cr_assert_eq(arch_pte_encode(d, level), word, "%#llx instead of %#llx",
		     (unsigned long long)arch_pte_encode(d, level), (unsigned long long)word);
	cr_assert_eq(arch_pte_decode(word, level).kind, d.kind);
	cr_assert_eq(arch_pte_decode(word, level).pfn.n, d.pfn.n);
}

Test(golden_riscv, leaves)
{
	/* frame 0x12345 << 10 = 0x48d1400 */
	golden(LEAF(.pfn = PFN(0x12345)), 0, 0x48d1403ull);
	/* V R W U A D */
	golden(LEAF(.pfn = PFN(0x12345), .w = 1, .user = 1, .accessed = 1, .dirty = 1), 0,
	       0x48d14d7ull);
	/* V R X U A */
	golden(LEAF(.pfn = PFN(1), .x = 1, .user = 1, .accessed = 1), 0, 0x45bull);
	/* execute-only: V X U */
	golden((struct pte_desc){.kind = PTE_LEAF, .pfn = PFN(1), .x = 1, .user = 1}, 0, 0x419ull);
	/* V R W G A D: kernel data */
	golden(LEAF(.pfn = PFN(1), .w = 1, .global = 1, .accessed = 1, .dirty = 1), 0, 0x4e7ull);
	/* the widest frame number, 44 bits */
	golden(LEAF(.pfn = PFN(0xfffffffffffull)), 0, 0x003ffffffffffc03ull);
	/* a megapage and a gigapage look alike but for the alignment of the frame */
	golden(LEAF(.pfn = PFN(0x200), .w = 1), 1, 0x80007ull);
	golden(LEAF(.pfn = PFN(0x40000), .w = 1), 2, 0x10000007ull);
}

Test(golden_riscv, write_implies_read)
{
	struct pte_desc w = {.kind = PTE_LEAF, .pfn = PFN(1), .w = true};

	cr_assert_eq(arch_pte_encode(w, 0), 0x407ull);
	cr_assert(arch_pte_decode(0x407ull, 0).r);
	/* W without R is reserved */
	cr_assert_eq(arch_pte_decode(0x405ull, 0).kind, PTE_CORRUPT);
}

Test(golden_riscv, software_bits)
{
	golden(LEAF(.pfn = PFN(1), .soft_dirty = 1), 0, 0x503ull);
	golden(LEAF(.pfn = PFN(1), .special = 1), 0, 0x603ull);
}

Test(golden_riscv, tables)
{
	/* V alone: R = W = X = 0 points to the next level; D, A and U are reserved there */
	for (unsigned level = 1; level < 5; level++) {
		golden((struct pte_desc){.kind = PTE_TABLE, .pfn = PFN(0xabc)}, level, 0x2af001ull);
		cr_assert_eq(arch_pte_decode(0x2af041ull, level).kind, PTE_CORRUPT);
		cr_assert_eq(arch_pte_decode(0x2af011ull, level).kind, PTE_CORRUPT);
	}
	cr_assert_eq(arch_pte_decode(0x2af001ull, 0).kind, PTE_CORRUPT);
}

Test(golden_riscv, absent_kinds_have_v_clear)
{
	golden((struct pte_desc){.kind = PTE_PROTNONE, .pfn = PFN(1), .dirty = 1}, 0, 0x482ull);
	golden((struct pte_desc){.kind = PTE_SWAP, .pfn = PFN(0)}, 0, 0x4ull);
	golden((struct pte_desc){.kind = PTE_MIGRATION, .pfn = PFN(1), .w = 1}, 0, 0x416ull);
}

Test(golden_riscv, reserved_bits_are_corrupt)
{
	for (unsigned bit = 54; bit < 64; bit++)
		cr_assert_eq(arch_pte_decode(0x48d14d7ull | 1ull << bit, 0).kind, PTE_CORRUPT);
	/* a megapage whose frame is not aligned: "misaligned superpage" */
	cr_assert_eq(arch_pte_decode(0x80407ull, 1).kind, PTE_CORRUPT);
}
