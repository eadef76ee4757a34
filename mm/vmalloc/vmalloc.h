/* SPDX-License-Identifier: MIT */
/*
 * The kernel's own address range: areas of it (vmap_area.c), and what is mapped there (vmalloc.c).
 * The whole of it, with its locks and its lazy unmapping, is told in docs/vmalloc.md.
 */
#ifndef MM_VMALLOC_H
#define MM_VMALLOC_H

#include "arch/hal_types.h"
#include "lib/list.h"
#include "lib/rbtree.h"
#include "mm/base/gfp.h"

struct page;

/* vm_struct.flags, Linux's values where it has them. */
#define VM_IOREMAP	0x00000001ul /* device registers */
#define VM_ALLOC	0x00000002ul /* vmalloc: the pages are the area's own */
#define VM_MAP		0x00000004ul /* vmap: the caller's pages, a reference of each */
#define VM_KERNEL_STACK 0x10000000ul /* counted as a stack */

/* What one area is for. Constant from the moment that its vmap_area points to it. */
struct vm_struct {
	void *addr;
	size_t size;		/* bytes, the guard page included */
	unsigned long flags;	/* VM_* above */
	struct page **pages;	/* nr_pages of them; NULL for VM_IOREMAP */
	unsigned nr_pages;
	phys_addr_t phys_addr;	/* VM_IOREMAP */
	const void *caller;	/* return address, for /proc/vmallocinfo */
};

/* A range of addresses: free, in use, or unmapped and waiting for the flush. */
struct vmap_area {
	uintptr_t va_start, va_end;
	struct rb_node rb_node;	/* free: free_vmap_area_root; in use: vmap_area_root */
	union {
		size_t subtree_max_size; /* free: the largest range in the tree below */
		struct vm_struct *vm;	 /* else: what for */
	};
	struct list_head purge_list; /* waiting: vmap_purge_list */
};

/* ---- vmap_area.c ------------------------------------------------------------------------------- */

/* [start, end), page-aligned, is free from now on. 0 or -ENOMEM. */
int vmap_area_init(uintptr_t start, uintptr_t end);
/* Purges, then forgets everything; what is still in use is unmapped and its pages stay out. */
void vmap_area_exit(void);

/* The lowest free range of size bytes at a multiple of align (a power of two, a page at least), in
 * use for vm from now on; vm->addr and vm->size are set. If there is none, waiting ranges are
 * purged and it is tried once more. NULL: no room, or no memory for the bookkeeping (nothing has
 * changed then). Context: sleep. */
struct vmap_area *alloc_vmap_area(struct vm_struct *vm, size_t size, size_t align);
/* The area in use that holds addr, or NULL. It stays as long as its owner does not free it. */
struct vmap_area *find_vmap_area(uintptr_t addr);
/* Takes va out of use; false: another CPU was first. The caller removes its entries. */
bool unlink_vmap_area(struct vmap_area *va);
/* Its addresses are free again: no CPU may hold a translation through them. va is gone. */
void free_vmap_area(struct vmap_area *va);
/* The entries are gone: va waits for the next flush, which gives its addresses back, passes its
 * vm to release_vm_struct() and is made here if enough is waiting. Context: sleep. */
void free_vmap_area_noflush(struct vmap_area *va);
/* One flush for everything that waits. purge: waits for another purge under way; try: leaves it
 * to that one. Each returns the number of pages of address space that came back. */
unsigned long purge_vmap_area_lazy(void);
unsigned long try_purge_vmap_area_lazy(void);
/* Pages of address space that may wait before a flush is made. */
unsigned long lazy_max_pages(void);
/* Pages of address space waiting now. */
unsigned long vmap_lazy_nr(void);
/* A copy of the first area in use that ends above addr; its pages may be gone by then. false: there is none. */
bool vmap_area_next(uintptr_t addr, struct vmap_area *va, struct vm_struct *vm);
/* A copy of the n-th waiting area; false: there are fewer. */
bool vmap_purge_nth(unsigned n, struct vmap_area *va);
/* The trees' own invariants (I30, I31): how many are broken, each said through os_log(). */
long check_vmap_areas(void);

/* vmalloc.c: frees what vm holds, after the flush. Context: sleep. */
void release_vm_struct(struct vm_struct *vm);
/* vmalloc.c: the end of an area that was never freed: its pages are reported as leaked. */
void forget_vm_struct(struct vm_struct *vm);

/* ---- vmalloc.c --------------------------------------------------------------------------------- */

int vmalloc_init(void);
/* Returns the pages still held by allocations that were never freed. */
unsigned long vmalloc_exit(void);

/* size bytes of virtually contiguous memory, page-aligned, an absent page on either side; vzalloc:
 * zeroed. NULL: none, or size is 0. Context: sleep. */
void *vmalloc(size_t size);
void *vzalloc(size_t size);
/* Gives back what vmalloc() or vzalloc() gave. NULL is nothing. An address that is no area's first
 * byte is reported and left alone. The pages are free after the next flush. Context: sleep. */
void vfree(const void *addr);

/* Rights (KMAP_*) and memory type of a mapping in one word, as Linux's pgprot_t. */
typedef unsigned pgprot_kernel_t;
#define KERNEL_PROT(rights, mt) ((rights) | (unsigned)(mt) << 8)
#define PAGE_KERNEL	KERNEL_PROT(KMAP_R | KMAP_W, MT_WB)
#define PAGE_KERNEL_RO	KERNEL_PROT(KMAP_R, MT_WB)

/* Maps count pages side by side. The area holds a reference to each until the flush behind
 * vunmap(), so the caller may drop its own at any time. flags: VM_MAP. NULL: no room, no memory,
 * or more pages than the machine has. Context: sleep. */
void *vmap(struct page **pages, unsigned count, unsigned long flags, pgprot_kernel_t prot);
void vunmap(const void *addr);

/* Device registers [phys, phys + size), uncached: the address that leads to phys. The others map
 * with another memory type. NULL: the range is empty, runs past the last physical address or
 * holds RAM of the core's; or there is no room. Context: sleep. */
void *ioremap(phys_addr_t phys, size_t size);
void *ioremap_uc(phys_addr_t phys, size_t size);
void *ioremap_wc(phys_addr_t phys, size_t size);
void *ioremap_cache(phys_addr_t phys, size_t size);
/* Any address that ioremap gave, unaligned ones too. Another one is reported and left alone. */
void iounmap(const void *addr);

bool is_vmalloc_addr(const void *p);
/* The page, or frame number, behind an address of an area: NULL, or UINT64_MAX, if none is mapped
 * there. Costs a look-up in the tree of areas, no walk of the tables. */
struct page *vmalloc_to_page(const void *addr);
pfn_t vmalloc_to_pfn(const void *addr);

/* Kernel stacks that are kept for the next task; frees about n of them, how many it did. The pages come back
 * with the next flush. Context: sleep (the second). */
unsigned long stack_cache_size(void);
unsigned long stack_cache_shrink(unsigned long n);
/* Frees all of them, and flushes. */
void vmalloc_drain(void);
/* Pages of vmalloc areas and stacks in use. */
unsigned long vmalloc_nr_pages(void);

#endif
