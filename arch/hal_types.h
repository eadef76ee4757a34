/* SPDX-License-Identifier: MIT */
/*
 * Basic types of the HAL (hal.h): physical addresses and frame numbers, page-table descriptors,
 * fault descriptions, memory ranges. Plain data, no machine, no policy.
 */
#ifndef ARCH_HAL_TYPES_H
#define ARCH_HAL_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t phys_addr_t; /* a physical address, bytes */

/* A page frame number, in units of PAGE_SIZE. A struct, so that it is never mixed with an address. */
typedef struct {
	uint64_t n;
} pfn_t;

#define PFN(x) ((pfn_t){(uint64_t)(x)})

/* For what is only cheap where it stands: with a constant level most of an encoder falls away. */
#define ARCH_INLINE static inline __attribute__((always_inline))

/* One page-table entry of any level, as the machine stores it. */
typedef uint64_t pteval_t;

/* What an entry is. A kind of its own each, so that no two of them are ever confused. */
enum pte_kind {
	PTE_NONE = 0,   /* the zero word, and nothing else */
	PTE_TABLE,      /* points to a table of the next level down (level > 0) */
	PTE_LEAF,       /* maps a frame, the hardware uses it */
	PTE_PROTNONE,   /* keeps a frame, the hardware sees nothing */
	PTE_SWAP,       /* a swap entry: pfn.n is its payload of ARCH_SWAP_BITS bits */
	PTE_MIGRATION,  /* a frame on the move: pfn.n is the payload, w tells "was writable" */
	PTE_CORRUPT,    /* decode only: no encoder writes this word */
};

enum mem_type {
	MT_WB = 0, /* write-back, ordinary RAM */
	MT_WC,     /* write-combining */
	MT_UC,     /* uncached */
	MT_DEVICE, /* device registers: uncached and ordered */
};

/*
 * An entry, spelled out. r, w, x, user, global, accessed, dirty, soft_dirty, special, uffd_wp and mt have a
 * meaning for PTE_LEAF; PTE_PROTNONE keeps pfn, accessed, dirty, soft_dirty, special and uffd_wp;
 * PTE_SWAP and PTE_MIGRATION keep pfn (payload), soft_dirty and uffd_wp, PTE_MIGRATION w too;
 * PTE_TABLE keeps pfn alone. Everything else is zero.
 */
struct pte_desc {
	pfn_t pfn;
	enum pte_kind kind;
	enum mem_type mt;
	bool r, w, x;
	bool user, global;
	bool accessed, dirty;
	bool soft_dirty, special; /* software's own bits */
	bool uffd_wp; /* the same, where ARCH_UFFD_WP says that there is room: a write is told to a userfaultfd */
};

/* Bits of a level-0 entry by neutral names, for arch_pte_has() and arch_pte_edit(). */
#define PTE_BIT_W	   0x01u
#define PTE_BIT_ACCESSED   0x02u
#define PTE_BIT_DIRTY	   0x04u
#define PTE_BIT_SOFT_DIRTY 0x08u
#define PTE_BIT_SPECIAL	   0x10u
#define PTE_BIT_UFFD_WP	   0x20u /* only with ARCH_UFFD_WP */

enum fault_access { FAULT_READ = 0, FAULT_WRITE, FAULT_FETCH };

enum fault_kind {
	FAULT_TRANSLATION = 0, /* no usable translation, or access not allowed by it */
	FAULT_CORRUPT,         /* the walker met a word that it refuses (reserved bits set) */
	FAULT_BUS,             /* the translation is good, the memory behind it is not */
};

/* Bits of Linux's x86 page-fault error code, the neutral layout on every machine. */
#define FAULT_CODE_PRESENT 0x01u
#define FAULT_CODE_WRITE   0x02u
#define FAULT_CODE_USER    0x04u
#define FAULT_CODE_RSVD    0x08u
#define FAULT_CODE_FETCH   0x10u

/*
 * A fault as every machine can tell it. There is no "present" bit: not every machine reports one,
 * and the core re-reads the entry under its lock anyway.
 */
struct fault_info {
	uintptr_t addr;           /* the faulting virtual address, exact byte */
	uintptr_t ip;             /* the faulting instruction */
	uintptr_t fixup;          /* where to resume a failed user copy, 0 if there is none */
	enum fault_access access;
	enum fault_kind kind;
	bool user;                /* came from user mode */
	/*
	 * What the CPU itself said, in the neutral layout, and which of its bits the CPU says at
	 * all. The core compares its derived code with this and counts disagreements.
	 */
	uint32_t raw_code;
	uint32_t raw_mask;
};

/* Kinds of physical memory that a machine reports before the core starts. */
enum mem_range_kind {
	MEM_RAM = 0,     /* usable, the core may own it */
	MEM_RESERVED,    /* firmware, device tree, tables: never touched */
	MEM_KERNEL,      /* this image: text, data, bss */
	MEM_BOOT_DATA,   /* initramfs, command line: the kernel may give it back later */
	MEM_TRACE,       /* the trace ring that the host reads */
};

struct mem_range {
	phys_addr_t start, end; /* [start, end) in bytes, not necessarily page-aligned */
	enum mem_range_kind kind;
	const char *name;       /* for people; may be NULL */
};

/* What the core asks about the MMU, once, at start. */
struct mmu_info {
	unsigned levels;          /* levels of the tables in use (3, 4, 5) */
	unsigned va_bits;         /* width of a virtual address, sign included */
	unsigned asid_bits;       /* 0: no address-space identifiers */
	uintptr_t user_end;       /* TASK_SIZE: first address a user space may not have */
	bool hw_accessed_dirty;   /* hardware sets A and D itself */
	bool caches_invalid;      /* an absent entry may be cached: publish needs a fence */
	bool needs_bbm;           /* a live entry's frame or size changes only through absent */
};

/* The kernel's own virtual layout, as the machine (or the embedder) sets it up. */
struct kernel_layout {
	uintptr_t direct_base;    /* physical 0 appears here (if it is RAM at all) */
	uintptr_t vmemmap_base;   /* room for struct page of every frame number */
	uintptr_t vmemmap_end;
	uintptr_t vmalloc_base;   /* room for vmalloc, ioremap, kernel stacks */
	uintptr_t vmalloc_end;
};

/* Rights of a kernel mapping. */
#define KMAP_R 1u
#define KMAP_W 2u
#define KMAP_X 4u

/* Gives the machine one zeroed page for a kernel page table; n == UINT64_MAX if there is none. */
typedef pfn_t (*table_alloc_fn)(void *ctx);

typedef unsigned long irqflags_t;

#endif
