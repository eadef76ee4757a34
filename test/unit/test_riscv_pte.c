/* SPDX-License-Identifier: MIT */
/*
 * arch/riscv/pte.h: the bits as the manual draws them, and every word that the hardware or the
 * kernel must refuse. (The laws that hold on every machine are tested in test/arch/.)
 */
#include <criterion/criterion.h>

#include "arch/riscv/pte.h"

static enum pte_kind kind_of(pteval_t v, unsigned level)
{
	return arch_pte_decode(v, level).kind;
}

Test(riscv_pte, golden_words)
{
	struct pte_desc d = {.kind = PTE_LEAF, .pfn = PFN(0x80200), .r = true, .x = true,
			     .global = true, .accessed = true};

	cr_assert_eq(arch_pte_encode(d, 0), 0x2008006bull);
	d = (struct pte_desc){.kind = PTE_LEAF, .pfn = PFN(0x12345), .r = true, .w = true,
			      .user = true, .accessed = true, .dirty = true};
	cr_assert_eq(arch_pte_encode(d, 0), 0x48d14d7ull);
	d.soft_dirty = d.special = true;
	cr_assert_eq(arch_pte_encode(d, 0), 0x48d17d7ull);
	d = (struct pte_desc){.kind = PTE_LEAF, .pfn = PFN(1ull << 18), .x = true, .user = true};
	cr_assert_eq(arch_pte_encode(d, 2), 0x10000019ull, "execute alone stays alone");
	d = (struct pte_desc){.kind = PTE_TABLE, .pfn = PFN((1ull << 44) - 1)};
	cr_assert_eq(arch_pte_encode(d, 3), 0x3ffffffffffc01ull);
	d = (struct pte_desc){.kind = PTE_PROTNONE, .pfn = PFN(5), .accessed = true};
	cr_assert_eq(arch_pte_encode(d, 0), 0x1442ull);
	d = (struct pte_desc){.kind = PTE_SWAP};
	cr_assert_eq(arch_pte_encode(d, 0), 0x4ull);
	d = (struct pte_desc){.kind = PTE_MIGRATION, .w = true, .soft_dirty = true, .pfn = PFN(1)};
	cr_assert_eq(arch_pte_encode(d, 0), 0x516ull);
}

Test(riscv_pte, rights_are_widened)
{
	struct pte_desc d = {.kind = PTE_LEAF, .w = true, .mt = MT_DEVICE};

	d = arch_pte_widen(d);
	cr_assert(d.r && d.w && !d.x && d.mt == MT_WB);
	d = arch_pte_widen((struct pte_desc){.kind = PTE_LEAF});
	cr_assert(d.r && !d.w && !d.x, "without any right it would be a table");
	d = arch_pte_widen((struct pte_desc){.kind = PTE_LEAF, .x = true});
	cr_assert(!d.r && d.x);
}

Test(riscv_pte, refuses_what_the_hardware_refuses)
{
	for (unsigned l = 0; l < ARCH_MAX_LEVELS; l++) {
		for (unsigned bit = 54; bit < 64; bit++) {
			cr_assert_eq(kind_of(0x4full | 1ull << bit, l), PTE_CORRUPT);
			cr_assert_eq(kind_of(1ull << bit, l), PTE_CORRUPT);
		}
		cr_assert_eq(kind_of(0x45, l), PTE_CORRUPT, "write without read");
		cr_assert_eq(kind_of(0x4d, l), PTE_CORRUPT, "write and execute without read");
		cr_assert_eq(kind_of(0x11, l), PTE_CORRUPT, "a pointer with U");
		cr_assert_eq(kind_of(0x41, l), PTE_CORRUPT, "a pointer with A");
		cr_assert_eq(kind_of(0x81, l), PTE_CORRUPT, "a pointer with D");
		cr_assert_eq(kind_of(0x401, l), l ? PTE_TABLE : PTE_CORRUPT);
		if (l) {
			pteval_t low = 1ull << (10 + 9 * l - 1);

			cr_assert_eq(kind_of(0x43 | low, l), PTE_CORRUPT, "not aligned");
			cr_assert_eq(kind_of(0x43 | low << 1, l), PTE_LEAF);
		}
	}
}

/* Whatever the kernel does not write is corrupt, and whatever is not corrupt it writes alike. */
Test(riscv_pte, every_low_word)
{
	for (unsigned l = 0; l < ARCH_MAX_LEVELS; l++)
		for (pteval_t v = 0; v < 1 << 16; v++) {
			struct pte_desc d = arch_pte_decode(v, l);

			if (d.kind != PTE_CORRUPT) {
				cr_assert_eq(arch_pte_encode(d, l), v);
				cr_assert_eq(d.kind == PTE_NONE, v == 0);
				cr_assert_eq(d.kind == PTE_LEAF || d.kind == PTE_TABLE, v & 1);
				continue;
			}
			cr_assert(!d.pfn.n && !d.r && !d.w && !d.x && !d.user && !d.accessed &&
				  !d.dirty && !d.soft_dirty && !d.special && !d.global);
		}
}
