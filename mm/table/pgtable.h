/* SPDX-License-Identifier: MIT */
/*
 * Page tables. A table of level 0 holds the pages' entries, the one of level pt_levels - 1 is the
 * root; how many levels there are is known only at run time. Each level takes its own bits of an
 * address as the index into its tables. With 4 KiB pages and 512 entries a table:
 *
 *            63    57 56     48 47     39 38     30 29     21 20     12 11      0
 *           +--------+---------+---------+---------+---------+---------+---------+
 *           |        | level 4 | level 3 | level 2 | level 1 | level 0 | in page |
 *           +--------+---------+---------+---------+---------+---------+---------+
 *  5 levels |  sign  |   pgd   |   p4d   |   pud   |   pmd   |   pte   |
 *  4 levels |       sign       | pgd p4d |   pud   |   pmd   |   pte   |
 *  3 levels |            sign            |pgd p4d pud|  pmd  |   pte   |
 *
 * Bits above the root's repeat the highest of the root's. Other pages and tables move the borders:
 * level n begins at bit PAGE_SHIFT + n * PT_INDEX_BITS.
 *
 * The five classic names (pgd, p4d, pud, pmd, pte) are types over one step down. pgd is always the
 * root. A name whose level is absent is folded: its entry is the one of the name above, and that
 * one is never "none", as there is no table to be missing between them. The walk that makes tables
 * is written with these names; walks that make none go by the level's number.
 *
 * Locks: entries of a level-0 table change under the lock in that table's struct page; entries
 * above under mm->page_table_lock. A table disappears only while mmap_lock is held for writing (or
 * the space has no users) and after its VMAs have left the reverse maps.
 */
#ifndef MM_PGTABLE_H
#define MM_PGTABLE_H

#include "mm/base/lockrank.h"
#include "mm/base/mm_types.h"
#include "mm/swap/swap.h"

typedef pteval_t pte_t;
typedef struct {
	pteval_t v;
} pgd_t;
typedef struct {
	pteval_t v;
} p4d_t;
typedef struct {
	pteval_t v;
} pud_t;
typedef struct {
	pteval_t v;
} pmd_t;

#define PT_INDEX_BITS  ARCH_INDEX_BITS
#define PTRS_PER_TABLE (1u << PT_INDEX_BITS)
#define PTRS_PER_PTE   PTRS_PER_TABLE

/* Levels of the tables in use, from hal_mmu_info(). */
extern unsigned pt_levels;

void pgtable_init(void);

/* log2 of the bytes that one entry of a level spans. */
static inline unsigned pt_shift(unsigned level)
{
	ASSERT_DEBUG(level <= ARCH_MAX_LEVELS);
	return PAGE_SHIFT + level * PT_INDEX_BITS;
}

static inline uintptr_t pt_span(unsigned level)
{
	return (uintptr_t)1 << pt_shift(level);
}

static inline unsigned pt_index(uintptr_t addr, unsigned level)
{
	return (addr >> pt_shift(level)) & (PTRS_PER_TABLE - 1);
}

/* Bytes that one level-0 table spans: Linux's PMD_SIZE. */
#define PMD_SPAN (PAGE_SIZE << PT_INDEX_BITS)

/* The end of the entry of that level which holds addr, or end if that comes first. */
static inline uintptr_t pt_addr_end(uintptr_t addr, uintptr_t end, unsigned level)
{
	uintptr_t next = (addr | (pt_span(level) - 1)) + 1;

	ASSERT_DEBUG(addr < end || !end);
	return next - 1 < end - 1 ? next : end;
}

/* Between which addresses the tables are the space's own: all below the root's entries that its
 * range touches, also where it touches a part of one. 0 as ceiling: no limit. */
static inline uintptr_t mm_floor(const struct mm_struct *mm)
{
	return mm->start & ~(pt_span(pt_levels - 1) - 1);
}

static inline uintptr_t mm_ceiling(const struct mm_struct *mm)
{
	return ((mm->task_size - 1) | (pt_span(pt_levels - 1) - 1)) + 1;
}

/* The table that an entry of level > 0 points to. */
static inline pteval_t *pt_table_of(pteval_t v, unsigned level)
{
	return hal_phys_to_virt((phys_addr_t)arch_pte_pfn(v).n << PAGE_SHIFT);
}

/* The struct page of the table that an entry lies in. */
static inline struct page *pt_page(const pteval_t *entry)
{
	return virt_to_page((const void *)((uintptr_t)entry & PAGE_MASK));
}

/* Some entries more, or less, in a table; its lock is held. Who finds that there is none passes over the
 * table without its lock. So the count rises before an entry is there, and falls when nothing is left to
 * be done for it: its page has lost the mapping, its new place is counted. */
static inline void count_entries(struct page *table, long by)
{
	ASSERT_DEBUG_I("I29", by >= 0 || table->private >= (unsigned long)-by);
	if (by < 0)
		__atomic_store_n(&table->private, table->private + by, __ATOMIC_RELEASE);
	else
		WRITE_ONCE(table->private, table->private + by);
}

static inline void count_entry(const pteval_t *entry, int by)
{
	count_entries(pt_page(entry), by);
}

/* ---- walks ----------------------------------------------------------------------------------- */

/* The level-0 entry of addr, or NULL if a table is missing. Never allocates. */
pte_t *pt_find(struct mm_struct *mm, uintptr_t addr);
/* The same, making the tables that are missing, by the five names: the way of faults, of fork and
 * of mremap. NULL: no memory (nothing has to be undone). */
pte_t *pt_make(struct mm_struct *mm, uintptr_t addr);
/*
 * As the hardware would walk: the last entry met, its contents and its level, even a leaf high up
 * or the kernel's half. NULL if addr is not canonical. Takes no lock.
 */
pteval_t *pt_lookup(struct mm_struct *mm, uintptr_t addr, pteval_t *v, unsigned *level);

/* Calls fn for each level-0 table that overlaps [start, end), in order, with the part of the range
 * it spans and its first entry; absent tables cost nothing. fn != 0 ends the walk with it. */
typedef int (*pt_range_fn)(struct mm_struct *mm, pte_t *pte, uintptr_t start, uintptr_t end,
			   void *ctx);
int pt_for_each(struct mm_struct *mm, uintptr_t start, uintptr_t end, pt_range_fn fn, void *ctx);

struct mmu_gather;
/* Hands to tlb every table below the root whose whole span lies in [floor, ceiling) and that maps
 * some of [start, end); ceiling 0: no limit. Their entries must be empty. mmap_lock for writing. */
void free_pgd_range(struct mmu_gather *tlb, uintptr_t start, uintptr_t end, uintptr_t floor,
		    uintptr_t ceiling);

/* ---- locks of level-0 tables ----------------------------------------------------------------- */

static inline uint32_t *pte_lockptr(const pte_t *pte)
{
	return &pt_page(pte)->ptl;
}

void ptl_wait(uint32_t *ptl);

static inline void ptl_lock_order(uint32_t *ptl, bool nested)
{
	os_preempt(1);
	lockdep_spins("ptl");
	lockdep_acquire(ptl, "ptl", RANK_PTL, nested);
	if (unlikely(__atomic_exchange_n(ptl, 1, __ATOMIC_ACQUIRE)))
		ptl_wait(ptl);
}

static inline void ptl_lock(uint32_t *ptl)
{
	ptl_lock_order(ptl, false);
}

static inline void ptl_unlock(uint32_t *ptl)
{
	lockdep_release(ptl, "ptl");
	__atomic_store_n(ptl, 0, __ATOMIC_RELEASE);
	os_preempt(-1);
}

/*
 * Entries that are changed under one hold of their table's lock. Pre-emption is off meanwhile, and
 * others wait: a walk that changes many lets go and takes the lock again in between. What it found
 * before may then have changed, as between any two tables.
 */
#define PTL_BATCH      128u
#define PTL_BATCH_COPY 192u /* of a fork */
#define PTL_BATCH_SLOW 32u /* where each costs more, or the instruction cache is told of each */
#define PTL_BATCH_PAGE 8u  /* where each changes its page's list */
/* Where some cost far more than others, the sum is at most PTL_BATCH: an entry that is emptied is 1. */
#define PTL_COST_LISTED 4u  /* its page's place in a list or a file changes */
#define PTL_COST_SLOT	12u /* it gives a slot of swap back */
#define PTL_COST_CACHED 48u /* and that one's page in the cache is freed */

/* Which entry of its table it is. */
static inline unsigned long pte_index_of(const pte_t *pte)
{
	return ((uintptr_t)pte & (PAGE_SIZE - 1)) / sizeof(*pte);
}

/* After each entry that a walk has looked at or changed, n of them: others get the lock after every so many. */
static inline void ptl_breathe_every(uint32_t *ptl, unsigned long n, unsigned every)
{
	if (unlikely(n % every == 0)) {
		ptl_unlock(ptl);
		ptl_lock(ptl);
	}
}

static inline void ptl_breathe(uint32_t *ptl, unsigned long n)
{
	ptl_breathe_every(ptl, n, PTL_BATCH_SLOW);
}

/* The table that an entry lies in is locked, or the lock itself held, by this CPU. */
#define assert_ptl_held(ptl)                                                               \
	do {                                                                               \
		if (DEBUG_ASSERTS && unlikely(!lockdep_finds(ptl)))                        \
			lock_not_held(__FILE__, __LINE__, "ptl", "is not held");           \
	} while (0)
#define assert_pte_locked(pte) assert_ptl_held(pte_lockptr(pte))
/* Some table is, where it is not known which. */
#define assert_table_locked()                                                              \
	do {                                                                               \
		if (DEBUG_ASSERTS && unlikely(!lockdep_finds_rank(RANK_PTL)))              \
			lock_not_held(__FILE__, __LINE__, "ptl", "is not held");           \
	} while (0)

/* Locks the tables of both entries, the lower address first; once if they share a table. */
void ptl_lock_two(const pte_t *a, const pte_t *b);
void ptl_unlock_two(const pte_t *a, const pte_t *b);

/* ---- entries --------------------------------------------------------------------------------- */

ARCH_INLINE struct pte_desc pte_desc(pte_t pte)
{
	return arch_pte_decode(pte, 0);
}

ARCH_INLINE pte_t pte_make(struct pte_desc d)
{
	return arch_pte_encode(d, 0);
}

static inline pte_t pte_get(const pte_t *p)
{
	return hal_pte_get(p);
}

static inline bool pte_none(pte_t pte)
{
	return pte == 0;
}

/* Keeps a frame, whether or not the hardware may use it (PROT_NONE). */
static inline bool pte_present(pte_t pte)
{
	return likely(arch_pte_is_leaf(pte)) || pte_desc(pte).kind == PTE_PROTNONE;
}

static inline bool pte_write(pte_t pte)
{
	return arch_pte_is_leaf(pte) && arch_pte_has(pte, PTE_BIT_W);
}

static inline pfn_t pte_pfn(pte_t pte)
{
	return likely(arch_pte_is_leaf(pte)) ? arch_pte_pfn(pte) : pte_desc(pte).pfn;
}

/* The page that a present entry counts for; NULL for the zero page and special entries. */
static inline struct page *vm_normal_page(const struct vm_area_struct *vma, pte_t pte)
{
	return arch_pte_has(pte, PTE_BIT_SPECIAL) ? NULL : pfn_to_page(pte_pfn(pte));
}

/* An entry for the frame with a VMA's rights, accessed. */
static inline pte_t mk_pte(const struct page *page, const pgprot_t *prot)
{
	return arch_pte_refill(prot->word, page_to_pfn(page));
}

/* The same, of a page that no map count counts. */
static inline pte_t mk_pte_special(const struct page *page, const pgprot_t *prot)
{
	return arch_pte_refill(prot->special_word, page_to_pfn(page));
}

/* The same after a write: dirty, and writable if the VMA is. */
static inline pte_t mk_pte_dirty(const struct page *page, const pgprot_t *prot)
{
	return arch_pte_refill(prot->dirty_word, page_to_pfn(page));
}

/* A write to it is told to a userfaultfd, if its VMA is registered for that. */
static inline bool pte_uffd_wp(pte_t v)
{
	return ARCH_UFFD_WP && pte_desc(v).uffd_wp;
}

/* The same of a leaf, which loses the right to write. */
static inline pte_t pte_mkuffd_wp(pte_t v)
{
	return arch_pte_edit(v, PTE_BIT_UFFD_WP, PTE_BIT_W);
}

/* The same frame and history, other rights. */
pte_t pte_modify(pte_t pte, pgprot_t prot);

/* Stores an entry, as it is: no count, no flush. */
static inline void set_pte(pte_t *p, pte_t v)
{
	hal_pte_set(p, v);
}

/* d, as it was read from p under the table's lock, was not used lately: also where there is no
 * right to it and the hardware does not see it. The caller flushes. */
static inline void pte_clear_accessed(pte_t *p, struct pte_desc d)
{
	assert_pte_locked(p);
	if (d.kind == PTE_LEAF) {
		hal_pte_clear_accessed(p, 0);
		return;
	}
	d.accessed = false;
	set_pte(p, pte_make(d));
}

/* Stores an entry and keeps the table's count of live entries. Table locked. */
static inline void set_pte_at(struct mm_struct *mm, uintptr_t addr, pte_t *p, pte_t v)
{
	pte_t old = hal_pte_get(p);

	assert_pte_locked(p);
	if (!old && v)
		count_entry(p, 1);
	else if (old && !v)
		count_entry(p, -1);
	set_pte(p, v);
}

/* Empties an entry and returns what was there, accessed and dirty bits included. Table locked;
 * the caller flushes if it was present. */
static inline pte_t ptep_get_and_clear(struct mm_struct *mm, pte_t *p)
{
	pte_t old = hal_pte_xchg(p, 0);

	assert_pte_locked(p);
	if (old)
		count_entry(p, -1);
	return old;
}

/* ---- swap entries ---------------------------------------------------------------------------- */

/* Not "present", and not "none" either: whoever walks a table has to say what becomes of it. It counts
 * as a live entry of its table. docs/swap.md lists all of them. */
static inline bool is_swap_pte(pte_t pte)
{
	return !arch_pte_is_leaf(pte) && pte_desc(pte).kind == PTE_SWAP;
}

static inline swp_entry_t pte_to_swp_entry(pte_t pte)
{
	ASSERT_DEBUG(is_swap_pte(pte));
	return (swp_entry_t){pte_desc(pte).pfn.n};
}

/* was: the entry that it takes the place of, whose marks it keeps. */
static inline pte_t swp_entry_to_pte(swp_entry_t entry, struct pte_desc was)
{
	return pte_make((struct pte_desc){.kind = PTE_SWAP, .pfn = PFN(entry.val),
					  .soft_dirty = was.soft_dirty, .uffd_wp = was.uffd_wp});
}

/* ---- code ------------------------------------------------------------------------------------ */

/* v is about to be stored, or stored again elsewhere: fetches must then find what the kernel has
 * written into the page since they last could (a file's write, a truncation, a hole). Table locked. */
void sync_code(pte_t v);
/* The same of the next `most` entries of a table that are not empty, among its next n. */
void sync_code_batch(const pte_t *pte, unsigned long n, unsigned long most);

/* By user space or not, and the four lowest flags: read, write, execute, shared. */
extern pgprot_t protection_map[2][16];

/* The rights that a VMA's flags ask for; private memory never gets W at first. */
static inline const pgprot_t *vm_get_page_prot(bool user, vm_flags_t flags)
{
	return &protection_map[user][flags & 15];
}

/* ---- roots and table pages -------------------------------------------------------------------- */

/* An empty root with the kernel's half in it: mm->pgd and mm->arch. 0 or -ENOMEM. */
int pgd_alloc(struct mm_struct *mm);
void pgd_free(struct mm_struct *mm);

/* One zeroed table page, of any level, counted nowhere yet; NULL: no memory. */
struct page *pte_alloc_one(struct mm_struct *mm);
/* Gives a table page back (never hooked in, or unhooked and flushed). */
void pt_page_free(struct page *table);

/* ---- the five names -------------------------------------------------------------------------- */

/* The level of a name's entries, where it is not folded; the root's is pt_levels - 1. */
enum { PMD_LEVEL = 1, PUD_LEVEL, P4D_LEVEL, PGD_LEVEL };

/* Has the name of that level no tables of its own, beside the root? */
static inline bool pt_folded(unsigned level)
{
	return level + 2 > ARCH_MAX_LEVELS || level + 2 > pt_levels;
}

/* The step down: where addr has its entry in the table below `above`, which is of that level. */
static inline pteval_t *pt_below(const pteval_t *above, unsigned level, uintptr_t addr)
{
	return pt_table_of(hal_pte_get(above), level) + pt_index(addr, level - 1);
}

/* Hooks a fresh table into an entry of that level, and gives it back if another one came first.
 * 0, or -ENOMEM if table is NULL. Takes mm->page_table_lock. */
int pt_populate(struct mm_struct *mm, pteval_t *entry, unsigned level, struct page *table);

/* An entry as it is now. */
static inline pgd_t pgdp_get(const pgd_t *pgd)
{
	return (pgd_t){hal_pte_get(&pgd->v)};
}

static inline p4d_t p4dp_get(const p4d_t *p4d)
{
	return (p4d_t){hal_pte_get(&p4d->v)};
}

static inline pud_t pudp_get(const pud_t *pud)
{
	return (pud_t){hal_pte_get(&pud->v)};
}

static inline pmd_t pmdp_get(const pmd_t *pmd)
{
	return (pmd_t){hal_pte_get(&pmd->v)};
}

/* Is the table of the next name missing? */
static inline bool pgd_none(pgd_t pgd)
{
	return !pt_folded(P4D_LEVEL) && !pgd.v;
}

static inline bool p4d_none(p4d_t p4d)
{
	return !pt_folded(PUD_LEVEL) && !p4d.v;
}

static inline bool pud_none(pud_t pud)
{
	return !pt_folded(PMD_LEVEL) && !pud.v;
}

static inline bool pmd_none(pmd_t pmd)
{
	return !pmd.v;
}

/* The next name's entry; its table is there. */
static inline pgd_t *pgd_offset(const struct mm_struct *mm, uintptr_t addr)
{
	return (pgd_t *)(mm->pgd + pt_index(addr, pt_levels - 1));
}

static inline p4d_t *p4d_offset(pgd_t *pgd, uintptr_t addr)
{
	return (p4d_t *)(pt_folded(P4D_LEVEL) ? &pgd->v : pt_below(&pgd->v, PGD_LEVEL, addr));
}

static inline pud_t *pud_offset(p4d_t *p4d, uintptr_t addr)
{
	return (pud_t *)(pt_folded(PUD_LEVEL) ? &p4d->v : pt_below(&p4d->v, P4D_LEVEL, addr));
}

static inline pmd_t *pmd_offset(pud_t *pud, uintptr_t addr)
{
	return (pmd_t *)(pt_folded(PMD_LEVEL) ? &pud->v : pt_below(&pud->v, PUD_LEVEL, addr));
}

static inline pte_t *pte_offset(pmd_t *pmd, uintptr_t addr)
{
	return pt_below(&pmd->v, PMD_LEVEL, addr);
}
/* All memory is mapped already, so there is nothing to map, and to unmap. */
#define pte_offset_map(pmd, addr) pte_offset(pmd, addr)

/* pt_populate() of each name. */
static inline int pgd_populate(struct mm_struct *mm, pgd_t *pgd, struct page *table)
{
	return pt_populate(mm, &pgd->v, PGD_LEVEL, table);
}

static inline int p4d_populate(struct mm_struct *mm, p4d_t *p4d, struct page *table)
{
	return pt_populate(mm, &p4d->v, P4D_LEVEL, table);
}

static inline int pud_populate(struct mm_struct *mm, pud_t *pud, struct page *table)
{
	return pt_populate(mm, &pud->v, PUD_LEVEL, table);
}

static inline int pmd_populate(struct mm_struct *mm, pmd_t *pmd, struct page *table)
{
	return pt_populate(mm, &pmd->v, PMD_LEVEL, table);
}

/* The next name's entry, its table made if it is missing; NULL: no memory. */
static inline p4d_t *p4d_alloc(struct mm_struct *mm, pgd_t *pgd, uintptr_t addr)
{
	if (unlikely(pgd_none(pgdp_get(pgd))) && pgd_populate(mm, pgd, pte_alloc_one(mm)))
		return NULL;
	return p4d_offset(pgd, addr);
}

static inline pud_t *pud_alloc(struct mm_struct *mm, p4d_t *p4d, uintptr_t addr)
{
	if (unlikely(p4d_none(p4dp_get(p4d))) && p4d_populate(mm, p4d, pte_alloc_one(mm)))
		return NULL;
	return pud_offset(p4d, addr);
}

static inline pmd_t *pmd_alloc(struct mm_struct *mm, pud_t *pud, uintptr_t addr)
{
	if (unlikely(pud_none(pudp_get(pud))) && pud_populate(mm, pud, pte_alloc_one(mm)))
		return NULL;
	return pmd_offset(pud, addr);
}

/* Makes the level-0 table of a pmd entry if it is missing. 0 or -ENOMEM. */
static inline int pte_alloc(struct mm_struct *mm, pmd_t *pmd)
{
	return likely(!pmd_none(pmdp_get(pmd))) ? 0 : pmd_populate(mm, pmd, pte_alloc_one(mm));
}

#endif
