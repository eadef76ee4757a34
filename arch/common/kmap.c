/* SPDX-License-Identifier: MIT */
/*
 * Mapping kernel ranges: building and changing the kernel's page tables, on any machine. A walk
 * goes from the top table to the level wanted and makes the tables that are missing; a range is cut
 * into the largest leaves that fit. Nothing here is hot: a direct map of gigabytes is a few
 * thousand entries, made once.
 *
 * These tables hold nothing but tables and leaves. Any other word was written by a stray store, and
 * must not be followed: the walk goes no further, the machine's log names the word and its place,
 * and the caller gets -EUCLEAN, which says more than that something is mapped there.
 */
#include "arch/common/kmap.h"
#include "lib/printf.h"
#include <quire/abi.h>

#define KMAP_ENTRIES (1u << ARCH_INDEX_BITS)

static pteval_t *table_at(const struct kmap *k, pfn_t table)
{
	return (pteval_t *)((uintptr_t)(table.n << ARCH_PAGE_SHIFT) + k->table_offset);
}

static pteval_t *entry_in(pteval_t *table, uintptr_t va, unsigned level)
{
	return &table[(va >> (ARCH_PAGE_SHIFT + level * ARCH_INDEX_BITS)) & (KMAP_ENTRIES - 1)];
}

/* Why nothing can be mapped at an entry that holds v. */
static int refuse(pteval_t v, uintptr_t va, unsigned level)
{
	char line[96];

	if (arch_pte_decode(v, level).kind == PTE_LEAF)
		return -EEXIST;
	hal_log(line, scnprintf(line, sizeof(line),
				"quire: kernel map: corrupt entry %#llx of level %u at %#lx\n",
				(unsigned long long)v, level, (unsigned long)va));
	return -EUCLEAN;
}

/* The entry of va at level, with tables made on the way. NULL and *err: -ENOMEM, or why the entry
 * above it leads nowhere. */
static pteval_t *walk_alloc(const struct kmap *k, uintptr_t va, unsigned level, int *err)
{
	pteval_t *table = table_at(k, k->root);

	for (unsigned l = k->levels - 1; l > level; l--) {
		pteval_t *e = entry_in(table, va, l);
		struct pte_desc d = arch_pte_decode(hal_pte_get(e), l);

		if (d.kind == PTE_NONE) {
			d = (struct pte_desc){.kind = PTE_TABLE, .pfn = k->alloc(k->ctx)};
			if (d.pfn.n == UINT64_MAX) {
				*err = -ENOMEM;
				return NULL;
			}
			hal_pte_set(e, arch_pte_encode(d, l));
		} else if (d.kind != PTE_TABLE) {
			*err = refuse(hal_pte_get(e), va, l);
			return NULL;
		}
		table = table_at(k, d.pfn);
	}
	return entry_in(table, va, level);
}

/* The lowest entry that exists on va's way: a leaf's, or the one where the way ends. */
static pteval_t *walk(const struct kmap *k, uintptr_t va, unsigned *level)
{
	pteval_t *table = table_at(k, k->root);

	for (unsigned l = k->levels - 1;; l--) {
		pteval_t *e = entry_in(table, va, l);
		struct pte_desc d = arch_pte_decode(hal_pte_get(e), l);

		if (d.kind != PTE_TABLE) {
			*level = l;
			return e;
		}
		table = table_at(k, d.pfn);
	}
}

/* The highest level whose leaf fits at va and pa and into size. */
static unsigned best_level(const struct kmap *k, uintptr_t va, phys_addr_t pa, uint64_t size)
{
	unsigned l = k->levels - 1;

	for (; l > 0; l--) {
		uint64_t bytes = kmap_entry_size(l);

		if ((k->leaf_levels & ARCH_LEAF_LEVELS & (1u << l)) && size >= bytes &&
		    !((va | pa) & (bytes - 1)))
			break;
	}
	return l;
}

int kmap_map(const struct kmap *k, uintptr_t va, phys_addr_t pa, uint64_t size,
	     struct pte_desc proto)
{
	uint64_t done = 0;
	int err = 0;

	proto.kind = PTE_LEAF;
	while (done < size) {
		unsigned l = best_level(k, va + done, pa + done, size - done);
		pteval_t *e = walk_alloc(k, va + done, l, &err);

		if (e && arch_pte_decode(hal_pte_get(e), l).kind == PTE_TABLE && l > 0) {
			/* a table is there already, perhaps empty: fill it with smaller leaves */
			struct kmap small = *k;
			uint64_t bytes = kmap_entry_size(l);

			small.leaf_levels &= (1u << l) - 1;
			err = kmap_map(&small, va + done, pa + done, bytes, proto);
			if (err)
				break;
			done += bytes;
			continue;
		}
		if (e && hal_pte_get(e))
			err = refuse(hal_pte_get(e), va + done, l);
		if (err)
			break;
		proto.pfn = PFN((pa + done) >> ARCH_PAGE_SHIFT);
		hal_pte_set(e, arch_pte_encode(proto, l));
		done += kmap_entry_size(l);
	}
	/* leaves were made in order of address, so what was made is exactly [va, va + done) */
	if (err && done)
		(void)kmap_unmap(k, va, done);
	return err;
}

int kmap_unmap(const struct kmap *k, uintptr_t va, uint64_t size)
{
	uintptr_t last = va + size - 1; /* a range may end where addresses do */
	int err = 0;

	while (size && va <= last) {
		unsigned l;
		pteval_t *e = walk(k, va, &l);
		uint64_t bytes = kmap_entry_size(l);
		uintptr_t first = va & ~(uintptr_t)(bytes - 1);
		pteval_t v = hal_pte_get(e);
		struct pte_desc d = arch_pte_decode(v, l);

		if (v) {
			if (first < va || first + (bytes - 1) > last)
				err = -EINVAL;
			else
				hal_pte_set(e, 0);
			if (d.kind != PTE_LEAF)
				err = refuse(v, va, l);
		}
		if (first + bytes <= va)
			break; /* the end of the address space */
		va = first + bytes;
	}
	return err;
}

int kmap_reserve(const struct kmap *k, uintptr_t va, uint64_t size)
{
	uint64_t bytes = kmap_entry_size(k->levels - 1);
	uintptr_t last = va + size - 1;
	int err = 0;

	for (va &= ~(uintptr_t)(bytes - 1); va <= last; va += bytes) {
		if (!walk_alloc(k, va, k->levels - 2, &err))
			return err;
		if (va + bytes < va)
			break;
	}
	return 0;
}

struct pte_desc kmap_lookup(const struct kmap *k, uintptr_t va, unsigned *level)
{
	unsigned l;
	const pteval_t *e = walk(k, va, &l);

	if (level)
		*level = l;
	return arch_pte_decode(hal_pte_get(e), l);
}

struct pte_desc kmap_prot(unsigned prot, enum mem_type mt)
{
	return (struct pte_desc){
		.kind = PTE_LEAF,
		.mt = mt,
		.r = prot & KMAP_R,
		.w = prot & KMAP_W,
		.x = prot & KMAP_X,
		.global = true,
		.accessed = true,
		.dirty = prot & KMAP_W,
	};
}
