/* SPDX-License-Identifier: MIT */
/*
 * The structures that the rooms of mm/ share: address space, VMA, reverse map, file, page cache.
 * Each field that more than one thread may touch names its lock.
 */
#ifndef MM_MM_TYPES_H
#define MM_MM_TYPES_H

#include "arch/hal.h"
#include "lib/list.h"
#include "lib/mutex.h"
#include "lib/radix.h"
#include "lib/rbtree.h"
#include "lib/rwsem.h"
#include "lib/spinlock.h"
#include "mm/base/page.h"

struct quire_mm;
struct quire_inode;
struct quire_file;
struct vm_area_struct;
struct vm_fault;
struct file;

typedef unsigned long vm_flags_t;
typedef unsigned int vm_fault_t;

/* VMA flags, Linux 5.10's values (they show in traces and smaps). */
#define VM_READ	      0x00000001ul
#define VM_WRITE      0x00000002ul
#define VM_EXEC	      0x00000004ul
#define VM_SHARED     0x00000008ul
#define VM_MAYREAD    0x00000010ul
#define VM_MAYWRITE   0x00000020ul
#define VM_MAYEXEC    0x00000040ul
#define VM_MAYSHARE   0x00000080ul
#define VM_GROWSDOWN  0x00000100ul
#define VM_UFFD_MISSING 0x00000200ul
#define VM_PFNMAP     0x00000400ul
#define VM_DENYWRITE  0x00000800ul
#define VM_UFFD_WP    0x00001000ul
#define VM_LOCKED     0x00002000ul
#define VM_IO	      0x00004000ul
#define VM_SEQ_READ   0x00008000ul
#define VM_RAND_READ  0x00010000ul
#define VM_DONTCOPY   0x00020000ul
#define VM_DONTEXPAND 0x00040000ul
#define VM_LOCKONFAULT 0x00080000ul
#define VM_ACCOUNT    0x00100000ul
#define VM_NORESERVE  0x00200000ul
#define VM_HUGETLB    0x00400000ul
#define VM_SYNC	      0x00800000ul
#define VM_ARCH_1     0x01000000ul
#define VM_WIPEONFORK 0x02000000ul
#define VM_DONTDUMP   0x04000000ul
#define VM_SOFTDIRTY  0x08000000ul
#define VM_MIXEDMAP   0x10000000ul
#define VM_HUGEPAGE   0x20000000ul
#define VM_NOHUGEPAGE 0x40000000ul
#define VM_MERGEABLE  0x80000000ul
#define VM_STACK      VM_GROWSDOWN
#define VM_ACCESS_FLAGS (VM_READ | VM_WRITE | VM_EXEC)
#define VM_SPECIAL    (VM_IO | VM_DONTEXPAND | VM_PFNMAP | VM_MIXEDMAP)
#define VM_LOCKED_CLEAR_MASK (~(VM_LOCKED | VM_LOCKONFAULT))

/* vm_page_prot: the rights of an entry to come, without a frame; and the words for frame 0 that
 * mk_pte(), mk_pte_special() and mk_pte_dirty() start from. */
typedef struct {
	struct pte_desc d;
	pteval_t word, special_word, dirty_word;
} pgprot_t;

/* Rows counted per space; the order of Linux's MM_*PAGES. */
enum { MM_FILEPAGES, MM_ANONPAGES, MM_SWAPENTS, MM_SHMEMPAGES, NR_MM_COUNTERS };

/* mm_struct.flags. */
enum {
	MMF_OOM_VICTIM = 1u << 0, /* who used it was killed for its memory */
	MMF_OOM_SKIP = 1u << 1,	  /* and that is given back, or will never be: choose another one */
	MMF_UNSTABLE = 1u << 2,	  /* pages were taken away under its users: what is missing is not zero */
	MMF_OOM_REAP_QUEUED = 1u << 3,
	MMF_HAS_PINNED = 1u << 4, /* some page was pinned for it: fork looks for such */
};

struct mm_struct {
	struct vm_area_struct *mmap;   /* VMAs by address; mmap_lock */
	struct rb_root mm_rb;	       /* the same, with the largest gap below each node; mmap_lock */
	struct vm_area_struct *vmacache; /* hint of find_vma(); any reader may replace it, atomic */
	uintptr_t (*get_unmapped_area)(struct mm_struct *mm, struct file *file, uintptr_t addr,
				       size_t len, unsigned long pgoff, unsigned long flags);
	uintptr_t mmap_base;	       /* top-down search starts here */
	uintptr_t mmap_legacy_base;    /* bottom-up search starts here */
	uintptr_t stack_top;	       /* where the stack ends: the ceiling of ordinary maps */
	uintptr_t task_size;	       /* first address beyond the space */
	uintptr_t start;	       /* first address of the space */
	bool legacy_layout;	       /* mmap searches bottom-up */
	bool user;		       /* pages carry the U bit */
	pteval_t *pgd;		       /* top table, direct-map address */
	unsigned long pgd_used[(1u << ARCH_INDEX_BITS) / 64]; /* its entries; page_table_lock */
	struct arch_space arch;
	uint32_t mm_users;	       /* atomic: tasks using it; 0 starts the tear-down */
	uint32_t mm_count;	       /* atomic: users of this structure and the root table; all
					  users together count as one */
	int map_count;		       /* VMAs; mmap_lock for writing */
	struct rw_semaphore mmap_lock; /* older kernels: mmap_sem */
	spinlock_t page_table_lock;    /* tables above level 0 */
	unsigned long pgtables_bytes;  /* atomic */
	uint32_t tlb_flush_pending;    /* atomic: gathers that have yet to flush */
	uint32_t tlb_flush_batched;    /* atomic: batches of reclaim that have yet to flush */
	unsigned long hiwater_rss, hiwater_vm;
	unsigned long total_vm, locked_vm, data_vm, exec_vm, stack_vm; /* pages; mmap_lock */
	unsigned long locked_stale;    /* part of locked_vm that no area holds, see move_keep_old() */
	vm_flags_t def_flags;	       /* for new VMAs: VM_LOCKED after mlockall(MCL_FUTURE) */
	uintptr_t start_code, end_code, start_data, end_data; /* mmap_lock */
	uintptr_t start_brk, brk, start_stack;
	uintptr_t arg_start, arg_end, env_start, env_end;
	long rss[NR_MM_COUNTERS];      /* atomic */
	uint64_t min_flt, maj_flt;     /* atomic */
	uintptr_t spurious_addr;       /* the last spurious fault, and how many in a row */
	unsigned spurious_count;       /* atomic, as an estimate */
	void *owner;		       /* opaque, the kernel's */
	struct list_head mmlist;       /* all spaces; mmlist_lock */
	uint32_t flags;		       /* MMF_*; atomic, none is ever taken back */
	uint64_t slept;		       /* atomic: nothing of it can run, since so many evictions, plus 1;
					  0: it runs */
	uint16_t lru_space;	       /* number of its lists of pages (lru/spaces.h); set once */
	uint32_t oom_pid;	       /* of the victim, for the log; set before it is queued */
	char oom_comm[16];	       /* the same */
	uint64_t oom_reap_at;	       /* when the reaper may begin; oom_reaper_lock */
	struct list_head oom_reap;     /* waits for the reaper; oom_reaper_lock */
};

struct anon_vma {
	struct anon_vma *root;	       /* whose lock protects the whole family */
	struct rw_semaphore rwsem;     /* used in the root only */
	uint32_t refcount;	       /* atomic; readers that keep it alive */
	unsigned num_children;	       /* anon_vmas whose parent this is, itself as a root too; root's rwsem */
	unsigned num_active_vmas;      /* VMAs whose anon_vma this is; root's rwsem */
	uint32_t space;		       /* atomic: lru_space of the mm whose pages are born here */
	struct anon_vma *parent;
	struct rb_root rb_root;	       /* interval tree of anon_vma_chains; root's rwsem */
};

struct anon_vma_chain {
	struct vm_area_struct *vma;
	struct anon_vma *anon_vma;
	struct list_head same_vma;     /* mmap_lock and page_table_lock */
	struct rb_node rb;	       /* anon_vma->rb_root; root's rwsem */
	unsigned long rb_subtree_last;
};

struct vm_area_struct {
	uintptr_t vm_start, vm_end;    /* [start, end); mmap_lock for writing */
	struct vm_area_struct *vm_next, *vm_prev;
	struct rb_node vm_rb;
	unsigned long rb_own_gap;      /* free room right below this VMA; mmap_lock for writing */
	unsigned long rb_subtree_gap;  /* largest gap below any VMA of this subtree */
	struct mm_struct *vm_mm;
	const pgprot_t *vm_page_prot;  /* one of a few that last for ever */
	vm_flags_t vm_flags;
	struct {
		struct rb_node rb;     /* mapping's i_mmap; its i_mmap_rwsem */
		unsigned long rb_subtree_last;
	} shared;
	struct list_head anon_vma_chain; /* mmap_lock and page_table_lock */
	struct anon_vma *anon_vma;     /* page_table_lock; set once */
	const struct vm_operations_struct *vm_ops;
	unsigned long vm_pgoff;	       /* pages into vm_file, or vm_start >> PAGE_SHIFT */
	struct file *vm_file;
	void *vm_private_data;
	void *vm_policy;	       /* opaque: compared by merging */
	void *vm_userfaultfd_ctx;      /* opaque: compared by merging */
	unsigned long swap_ra;	       /* atomic, a hint: where swap was last asked for (swapin.c) */
};

/* What a fault carries down to the object that is mapped. */
struct vm_fault {
	struct vm_area_struct *vma;
	uintptr_t address;	       /* page-aligned */
	unsigned flags;		       /* FAULT_FLAG_* */
	unsigned long pgoff;
	struct page *page;	       /* ->fault() puts its page here, locked and referenced */
	struct page *cow_page;
	pteval_t *pte;		       /* the entry, its lock held where stated */
	pteval_t orig_pte;
	uint32_t *ptl;
	unsigned row;		       /* the row chosen (enum quire_fault_row) */
	unsigned mapped;	       /* entries that filemap_map_one() filled */
};

#define FAULT_FLAG_WRITE       0x01u
#define FAULT_FLAG_USER	       0x04u
#define FAULT_FLAG_INSTRUCTION 0x08u
#define FAULT_FLAG_REMOTE      0x10u
#define FAULT_FLAG_ALLOW_RETRY 0x20u /* mmap_lock may be given up, once, to wait for a device */
#define FAULT_FLAG_TRIED       0x40u /* it was: from now on a device is waited for with the lock held */

#define VM_FAULT_OOM	0x0001u
#define VM_FAULT_SIGBUS 0x0002u
#define VM_FAULT_MAJOR	0x0004u
#define VM_FAULT_SIGSEGV 0x0040u
#define VM_FAULT_NOPAGE 0x0100u /* the entry is already in place */
#define VM_FAULT_LOCKED 0x0200u /* vmf->page comes locked */
#define VM_FAULT_RETRY	0x0400u /* nothing was done: the access has to be tried again */
#define VM_FAULT_UNLOCKED 0x1000u /* and mmap_lock was given up, as FAULT_FLAG_ALLOW_RETRY allowed */
#define VM_FAULT_ERROR	(VM_FAULT_OOM | VM_FAULT_SIGBUS | VM_FAULT_SIGSEGV)

/* May the fault still give up mmap_lock to wait for a device? */
static inline bool fault_flag_allow_retry_first(unsigned flags)
{
	return (flags & (FAULT_FLAG_ALLOW_RETRY | FAULT_FLAG_TRIED)) == FAULT_FLAG_ALLOW_RETRY;
}

struct vm_operations_struct {
	void (*open)(struct vm_area_struct *vma);
	void (*close)(struct vm_area_struct *vma);
	/* Finds or makes the page of vmf->pgoff: vmf->page referenced and locked. Or VM_FAULT_RETRY with
	 * VM_FAULT_UNLOCKED: mmap_lock was given up, the VMA may be gone. */
	vm_fault_t (*fault)(struct vm_fault *vmf);
	/* Maps cached pages start..end (page offsets) round the fault without I/O; the caller gives
	 * vmf->pte of start's entry with its lock held; uses filemap_map_one() of memory.c. */
	void (*map_pages)(struct vm_fault *vmf, unsigned long start, unsigned long end);
	/* A shared page is about to become writable. 0 or VM_FAULT_*. */
	vm_fault_t (*page_mkwrite)(struct vm_fault *vmf);
	const char *(*name)(struct vm_area_struct *vma);
};

/* ---- files and page cache (filemap.c, shmem.c) ------------------------------------------------ */

/* Tags of i_pages. DIRTY: to be written. WRITEBACK: being written, or was: who finds PG_writeback clear
 * takes it away. TOWRITE: one of those that a write-out which must end has yet to write. */
enum { PAGECACHE_TAG_DIRTY, PAGECACHE_TAG_WRITEBACK, PAGECACHE_TAG_TOWRITE };

struct address_space {
	struct quire_inode *host;
	struct radix_tree i_pages;     /* index -> page; i_lock */
	spinlock_t i_lock;
	unsigned long nrpages;	       /* i_lock */
	unsigned long nr_swapped;      /* slots of shared memory that hold a swap entry; i_lock */
	unsigned long nr_shadows;      /* slots that remember a page that left; i_lock */
	unsigned long nr_shadow_nodes; /* nodes of i_pages that hold nothing else; i_lock */
	struct radix_node *spare_nodes; /* for i_pages; i_lock */
	unsigned long nr_dirty;	       /* entries of i_pages with PAGECACHE_TAG_DIRTY; i_lock */
	uint64_t dirtied_when;	       /* os_clock_ns() when the first of them came, 0: none; i_lock */
	uint32_t wb_err;	       /* errors of writes to the device (errseq.h); atomic */
	struct rb_root i_mmap;	       /* interval tree of vma->shared; i_mmap_rwsem */
	struct rw_semaphore i_mmap_rwsem;
	int32_t i_mmap_writable;       /* atomic: writable shared maps; < 0: denied (seal) */
	bool unevictable;	       /* its pages stay in memory; atomic. Who looks at it to move a page has
					* the page locked */
};

struct file_operations {
	/* Sets vma->vm_ops and may change flags; 0 or -errno. */
	int (*mmap)(struct file *file, struct vm_area_struct *vma);
	/* Its own address choice, or NULL. */
	uintptr_t (*get_unmapped_area)(struct mm_struct *mm, struct file *file, uintptr_t addr,
				       size_t len, unsigned long pgoff, unsigned long flags);
};

/* What is read ahead of an open file. Hints: each is read and written by itself, without a lock; whatever they
 * say together, no more than a window is read (mm/object/readahead.c). */
struct file_ra_state {
	uint64_t start;	     /* the current window's first page ... */
	uint32_t size;	     /* ... and how many it has */
	uint32_t async_size; /* so many before its end the next one is begun; 0: never */
	uint32_t ra_pages;   /* the largest window, 0: none */
	uint32_t mmap_miss;  /* faults that found nothing, less those that found something */
	uint64_t prev;	     /* page that was read last, UINT64_MAX: none */
	bool random;	     /* POSIX_FADV_RANDOM */
};

struct file {
	uint32_t f_count;	       /* atomic */
	unsigned f_mode;	       /* QUIRE_FMODE_* */
	const struct file_operations *f_op;
	struct quire_inode *f_inode;   /* holds a reference */
	struct address_space *f_mapping;
	char *f_path;		       /* for maps; slab memory, never NULL */
	const struct quire_area_ops *f_areas; /* told of areas that map it; NULL: nobody; constant */
	void *f_private;	       /* f_areas' own; constant */
	uint32_t f_wb_err;	       /* what of f_mapping->wb_err was told to this file; atomic */
	struct file_ra_state f_ra;
};

static inline bool mm_has_flag(const struct mm_struct *mm, uint32_t flag)
{
	return __atomic_load_n(&mm->flags, __ATOMIC_ACQUIRE) & flag;
}

/* The flags before. */
static inline uint32_t mm_set_flag(struct mm_struct *mm, uint32_t flag)
{
	return __atomic_fetch_or(&mm->flags, flag, __ATOMIC_ACQ_REL);
}

/* quire_mm is the public name of struct mm_struct. */
static inline struct mm_struct *to_mm(struct quire_mm *mm)
{
	return (struct mm_struct *)mm;
}

static inline struct quire_mm *from_mm(struct mm_struct *mm)
{
	return (struct quire_mm *)mm;
}

/* ---- what a VMA says ---------------------------------------------------------------------------- */

static inline unsigned long vma_pages(const struct vm_area_struct *vma)
{
	ASSERT_DEBUG(vma->vm_start <= vma->vm_end);
	return (vma->vm_end - vma->vm_start) >> PAGE_SHIFT;
}

static inline bool vma_is_anonymous(const struct vm_area_struct *vma)
{
	return !vma->vm_ops;
}

/* A VMA that is in a reverse map gets other flags: who comes from a page reads them without mmap_lock. */
static inline void vma_set_flags(struct vm_area_struct *vma, vm_flags_t flags)
{
	WRITE_ONCE(vma->vm_flags, flags);
}

static inline vm_flags_t vma_flags_now(const struct vm_area_struct *vma)
{
	return READ_ONCE(vma->vm_flags);
}

static inline bool vma_is_accessible(const struct vm_area_struct *vma)
{
	return vma->vm_flags & VM_ACCESS_FLAGS;
}

/* Always false: there are no huge-page VMAs. */
static inline bool is_vm_hugetlb_page(const struct vm_area_struct *vma)
{
	return vma->vm_flags & VM_HUGETLB;
}

/* Nor a gate (vsyscall) VMA, which would belong to no space. */
static inline struct vm_area_struct *get_gate_vma(struct mm_struct *mm)
{
	return NULL;
}

/* The page offset into the object (or the rmap key of anonymous memory) of an address. */
static inline unsigned long linear_page_index(const struct vm_area_struct *vma, uintptr_t addr)
{
	ASSERT_DEBUG(addr >= vma->vm_start && addr <= vma->vm_end);
	return ((addr - vma->vm_start) >> PAGE_SHIFT) + vma->vm_pgoff;
}

static inline bool is_cow_mapping(vm_flags_t flags)
{
	return (flags & (VM_SHARED | VM_MAYWRITE)) == VM_MAYWRITE;
}

/* ---- resident pages of a space ------------------------------------------------------------------- */

static inline void add_mm_counter(struct mm_struct *mm, int member, long n)
{
	ASSERT_DEBUG((unsigned)member < NR_MM_COUNTERS);
	__atomic_fetch_add(&mm->rss[member], n, __ATOMIC_RELAXED);
}

static inline unsigned long get_mm_counter(const struct mm_struct *mm, int member)
{
	long v = __atomic_load_n(&mm->rss[member], __ATOMIC_RELAXED);

	ASSERT_DEBUG((unsigned)member < NR_MM_COUNTERS);
	return v < 0 ? 0 : v;
}

static inline unsigned long get_mm_rss(const struct mm_struct *mm)
{
	return get_mm_counter(mm, MM_FILEPAGES) + get_mm_counter(mm, MM_ANONPAGES) +
	       get_mm_counter(mm, MM_SHMEMPAGES);
}

/* Which of the counters a mapped page belongs to. */
static inline int mm_counter(const struct page *page)
{
	ASSERT_DEBUG(!page_test(page, PG_slab));
	if (PageAnon(page))
		return MM_ANONPAGES;
	return page_test(page, PG_swapbacked) ? MM_SHMEMPAGES : MM_FILEPAGES;
}

#endif
