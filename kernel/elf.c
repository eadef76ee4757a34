/* SPDX-License-Identifier: MIT */
/*
 * ELF loader: static 64-bit images, ET_EXEC and static PIE, read and laid out as Linux 5.10 lays
 * them out: each segment's file part mapped page by page, the rest of its last page cleared, the
 * remaining pages anonymous, the heap behind the last. A PIE without interpreter goes where mmap()
 * would put it. An image that is refused is refused before anything changed, with the reason
 * logged.
 */
#include "kernel.h"

#define ET_EXEC	     2
#define ET_DYN	     3
#define PT_LOAD	     1
#define PT_INTERP    3
#define PT_PHDR	     6
#define PT_GNU_STACK 0x6474e551u
#define PF_X	     1u
#define PF_W	     2u
#define PF_R	     4u
#define MAX_PHDRS    (65536 / sizeof(struct elf_phdr))

struct elf_header {
	uint8_t e_ident[16];
	uint16_t e_type, e_machine;
	uint32_t e_version;
	uint64_t e_entry, e_phoff, e_shoff;
	uint32_t e_flags;
	uint16_t e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx;
};

/* Says why, and returns what execve answers. */
static int refuse(const char *path, const char *why)
{
	klog("%s: not run: %s", path, why);
	return -ENOEXEC;
}

static long read_at(struct vnode *v, uint64_t off, void *dst, size_t n)
{
	return quire_inode_read(v->contents, off, (uintptr_t)dst, n, false);
}

/* What is wrong with a file header, NULL if nothing is. */
static const char *header_fault(const struct elf_header *h)
{
	if (memcmp(h->e_ident, "\177ELF", 4))
		return "no ELF magic";
	if (h->e_ident[4] != 2 || h->e_ident[5] != 1)
		return "not a 64-bit little-endian ELF";
	if (h->e_type != ET_EXEC && h->e_type != ET_DYN)
		return "neither an executable nor a shared object";
	if (h->e_machine != hal_elf_machine())
		return "made for another machine";
	if (h->e_phentsize != sizeof(struct elf_phdr))
		return "program headers have another size";
	if (h->e_phnum == 0 || h->e_phnum > MAX_PHDRS)
		return "no program headers, or too many";
	return NULL;
}

/* What is wrong with a program header, NULL if nothing is. Offsets past the file's end are
 * allowed: such pages fault with SIGBUS, as on Linux. */
static const char *segment_fault(const struct elf_phdr *p)
{
	uint64_t end = hal_mmu_info()->user_end;

	if (p->p_type == PT_INTERP)
		return "needs an interpreter, only static programs run";
	if (p->p_type != PT_LOAD)
		return NULL;
	if (p->p_filesz > p->p_memsz)
		return "a segment is larger in the file than in memory";
	if (p->p_vaddr >= end || p->p_memsz > end - p->p_vaddr)
		return "a segment lies outside the user range";
	if ((p->p_vaddr - p->p_offset) % PAGE_SIZE)
		return "a segment's offset and address disagree within the page";
	if (p->p_offset + p->p_filesz < p->p_offset)
		return "a segment's file range overflows";
	return NULL;
}

/* The address of the program headers in memory, as AT_PHDR tells it. */
static void find_phdrs(struct elf_image *img, uint64_t phoff)
{
	for (unsigned i = 0; i < img->nr_ph; i++) {
		const struct elf_phdr *p = &img->ph[i];

		/* 5.10: e_phoff as seen from the first segment, wherever that lies in the file. */
		if (p->p_type == PT_LOAD) {
			img->phdr_addr = p->p_vaddr - p->p_offset + phoff;
			return;
		}
	}
}

/* All program headers, and at least one segment to load. */
static int check_segments(struct elf_image *img, const char *path)
{
	unsigned loads = 0;
	const char *why;

	for (unsigned i = 0; i < img->nr_ph; i++) {
		why = segment_fault(&img->ph[i]);
		if (why)
			return refuse(path, why);
		loads += img->ph[i].p_type == PT_LOAD;
		if (img->ph[i].p_type == PT_GNU_STACK)
			img->exec_stack = img->ph[i].p_flags & PF_X;
	}
	return loads ? 0 : refuse(path, "no segment to load");
}

int elf_read(struct vnode *v, const char *path, struct elf_image *img)
{
	struct elf_header h;
	const char *why;
	size_t n;
	long got = read_at(v, 0, &h, sizeof(h));

	*img = (struct elf_image){0};
	if (got < 0)
		return (int)got;
	if ((size_t)got < sizeof(h))
		return refuse(path, "shorter than an ELF header");
	why = header_fault(&h);
	if (why)
		return refuse(path, why);
	n = h.e_phnum * sizeof(struct elf_phdr);
	img->ph = quire_kmalloc(n, 0);
	if (!img->ph)
		return -ENOMEM;
	img->type = h.e_type;
	img->nr_ph = h.e_phnum;
	img->entry = h.e_entry;
	got = read_at(v, h.e_phoff, img->ph, n);
	if (got < 0 || (size_t)got < n) {
		elf_free(img);
		return got < 0 ? (int)got : refuse(path, "program headers run past the file's end");
	}
	if (check_segments(img, path)) {
		elf_free(img);
		return -ENOEXEC;
	}
	find_phdrs(img, h.e_phoff);
	return 0;
}

void elf_free(struct elf_image *img)
{
	quire_kfree(img->ph);
	img->ph = NULL;
}

static unsigned long prot_of(unsigned flags)
{
	return (flags & PF_R ? PROT_READ : 0) | (flags & PF_W ? PROT_WRITE : 0) |
	       (flags & PF_X ? PROT_EXEC : 0);
}

/* The span of all segments, in whole pages. */
static size_t total_size(const struct elf_image *img)
{
	uint64_t lo = UINT64_MAX, hi = 0;

	for (unsigned i = 0; i < img->nr_ph; i++) {
		const struct elf_phdr *p = &img->ph[i];

		if (p->p_type != PT_LOAD)
			continue;
		lo = min(lo, p->p_vaddr & PAGE_MASK);
		hi = max(hi, p->p_vaddr + p->p_memsz);
	}
	return ALIGN_UP(hi - lo, PAGE_SIZE);
}

/* Maps the file part of one segment. total: of the first segment of a PIE, room for all. */
static long map_segment(struct quire_mm *mm, struct quire_file *qf, const struct elf_phdr *p,
			uintptr_t addr, unsigned long flags, size_t total)
{
	size_t size = ALIGN_UP(p->p_filesz + (p->p_vaddr & ~PAGE_MASK), PAGE_SIZE);
	uint64_t off = p->p_offset - (p->p_vaddr & ~PAGE_MASK);
	unsigned long prot = prot_of(p->p_flags);
	long at;

	addr &= PAGE_MASK;
	flags |= MAP_PRIVATE | MAP_DENYWRITE | MAP_EXECUTABLE;
	if (!p->p_filesz && !total)
		return (long)addr;
	if (!total)
		return quire_mmap(mm, addr, size, prot, flags, qf, off);
	at = quire_mmap(mm, addr, total, prot, flags, qf, off);
	if (at >= 0 && total > size)
		quire_munmap(mm, (uintptr_t)at + size, total - size);
	return at;
}

/* From the end of the file's bytes to the end of the segment's: clear, then anonymous pages. */
static int map_bss(struct quire_mm *mm, uintptr_t bss, uintptr_t end, unsigned flags)
{
	uintptr_t start = ALIGN_UP(bss, PAGE_SIZE), stop = ALIGN_UP(end, PAGE_SIZE);
	size_t tail = start - bss;
	long r;

	if (stop > start) {
		r = quire_mmap(mm, start, stop - start,
			       PROT_READ | PROT_WRITE | (flags & PF_X ? PROT_EXEC : 0),
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0);
		if (r < 0)
			return (int)r;
	}
	if (end > bss && tail && hal_clear_user(bss, tail) && flags & PF_W)
		return -EFAULT;
	return 0;
}

/* For /proc: the lowest start is code, the highest start data, as 5.10 counts. */
static void note_ranges(struct elf_image *img, const struct elf_phdr *p, uintptr_t addr)
{
	uintptr_t file_end = addr + p->p_filesz;

	if (!img->start_code || addr < img->start_code)
		img->start_code = addr;
	img->start_data = max(img->start_data, addr);
	if (p->p_flags & PF_X)
		img->end_code = max(img->end_code, file_end);
	img->end_data = max(img->end_data, file_end);
}

int elf_map_image(struct quire_mm *mm, struct open_file *f, struct elf_image *img)
{
	struct quire_file *qf = file_mapping(f);
	uintptr_t bss = 0, brk = 0;
	unsigned bss_flags = 0;
	bool first = true;

	if (!qf)
		return -ENOMEM;
	for (unsigned i = 0; i < img->nr_ph; i++) {
		const struct elf_phdr *p = &img->ph[i];
		bool place = first && img->type == ET_DYN;
		long at;

		if (p->p_type != PT_LOAD)
			continue;
		/* A segment behind one that ended in zeros: those come first, as on Linux. */
		if (brk > bss && map_bss(mm, bss + img->bias, brk + img->bias, bss_flags))
			return -ENOMEM;
		bss = max(bss, brk);
		at = map_segment(mm, qf, p, img->bias + p->p_vaddr, place ? 0 : MAP_FIXED,
				 place ? total_size(img) : 0);
		if (at < 0)
			return (int)at;
		if (place)
			img->bias = (uintptr_t)at - (p->p_vaddr & PAGE_MASK);
		first = false;
		note_ranges(img, p, img->bias + p->p_vaddr);
		bss = max(bss, (uintptr_t)(p->p_vaddr + p->p_filesz));
		if (p->p_vaddr + p->p_memsz > brk) {
			brk = p->p_vaddr + p->p_memsz;
			bss_flags = p->p_flags;
		}
	}
	img->entry += img->bias;
	img->phdr_addr += img->bias;
	img->brk = ALIGN_UP(brk + img->bias, PAGE_SIZE);
	return map_bss(mm, bss + img->bias, brk + img->bias, bss_flags);
}
