/* SPDX-License-Identifier: MIT */
/*
 * ELF loader: 64-bit images, ET_EXEC and PIE, read and laid out as Linux 5.10 lays them out: each segment's
 * file part mapped page by page, the rest of its last page cleared, the remaining pages anonymous, the heap
 * behind the last. A PIE without interpreter goes where mmap() would put it, one with an interpreter
 * (PT_INTERP, a program's dynamic loader) at two thirds of user space, and the interpreter where mmap() puts
 * it: that one starts, and is told of the other by the auxiliary vector. An image that is refused is refused before anything changed, with the reason
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

/* The address of the program headers in memory, as AT_PHDR tells it: as the segment has it that holds them
 * in the file; none does: 0. */
static void find_phdrs(struct elf_image *img, uint64_t phoff)
{
	for (unsigned i = 0; i < img->nr_ph; i++) {
		const struct elf_phdr *p = &img->ph[i];

		if (p->p_type == PT_LOAD && p->p_offset <= phoff && phoff - p->p_offset < p->p_filesz)
			img->phdr_addr = p->p_vaddr + (phoff - p->p_offset);
	}
}

static int check_segments(struct elf_image *img, const char *path)
{
	const char *why;

	for (unsigned i = 0; i < img->nr_ph; i++) {
		why = segment_fault(&img->ph[i]);
		if (why)
			return refuse(path, why);
		if (img->ph[i].p_type == PT_GNU_STACK)
			img->exec_stack = img->ph[i].p_flags & PF_X;
	}
	return 0;
}

/* At least one segment to load. */
static int check_loads(const struct elf_image *img, const char *path)
{
	for (unsigned i = 0; i < img->nr_ph; i++)
		if (img->ph[i].p_type == PT_LOAD)
			return 0;
	return refuse(path, "no segment to load");
}

/* Headers, checked. */
static int read_headers(struct vnode *v, const char *path, struct elf_image *img)
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
	if (got < 0 || (size_t)got < n)
		return got < 0 ? (int)got : refuse(path, "program headers run past the file's end");
	if (check_segments(img, path))
		return -ENOEXEC;
	find_phdrs(img, h.e_phoff);
	return 0;
}

/* The file that PT_INTERP names, opened, and nobody may write to it. */
static int open_interp(const char *program, const char *name, struct open_file **out)
{
	struct path p;
	int err = kernel_path(name, 0, &p);

	if (err) {
		klog("%s: not run: its interpreter %s is missing", program, name);
		return err;
	}
	if (vnode_type(p.v) != S_IFREG || !(p.v->mode & 0111) || !p.v->contents)
		err = -EACCES;
	if (!err)
		err = quire_inode_deny_write(p.v->contents);
	if (!err) {
		*out = file_alloc(p.v, p.full, 0);
		if (!*out) {
			quire_inode_allow_write(p.v->contents);
			err = -ENOMEM;
		}
	}
	path_put(&p);
	return err;
}

/* The first PT_INTERP counts. */
static int read_interp(struct vnode *v, const char *path, struct elf_image *img)
{
	const struct elf_phdr *p = NULL;
	char name[PATH_LEN];
	long got;
	int err;

	for (unsigned i = 0; !p && i < img->nr_ph; i++)
		if (img->ph[i].p_type == PT_INTERP)
			p = &img->ph[i];
	if (!p)
		return 0;
	if (p->p_filesz < 2 || p->p_filesz > sizeof(name))
		return refuse(path, "the name of its interpreter is too long or empty");
	got = read_at(v, p->p_offset, name, p->p_filesz);
	if (got < 0 || (uint64_t)got < p->p_filesz || name[p->p_filesz - 1])
		return got < 0 ? (int)got : refuse(path, "the name of its interpreter does not end");
	err = open_interp(path, name, &img->interp);
	if (err)
		return err;
	img->interp_image = quire_kmalloc(sizeof(*img), QUIRE_GFP_ZERO);
	if (!img->interp_image)
		return -ENOMEM;
	err = read_headers(img->interp->v, name, img->interp_image);
	if (!err)
		err = check_loads(img->interp_image, name);
	return err == -ENOEXEC ? -ELIBBAD : err;
}

int elf_read(struct open_file *f, const char *path, struct elf_image *img)
{
	int err = read_headers(f->v, path, img);

	if (!err)
		err = read_interp(f->v, path, img);
	if (!err)
		err = check_loads(img, path);
	if (err)
		elf_free(img);
	return err;
}

void elf_free(struct elf_image *img)
{
	if (img->interp) {
		quire_inode_allow_write(img->interp->v->contents);
		file_put(img->interp);
	}
	if (img->interp_image)
		quire_kfree(img->interp_image->ph);
	quire_kfree(img->interp_image);
	quire_kfree(img->ph);
	*img = (struct elf_image){0};
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

/* Anonymous pages from the page behind `bss` to the one that holds `end`. */
static int map_zeros(struct quire_mm *mm, uintptr_t bss, uintptr_t end, unsigned flags)
{
	uintptr_t start = ALIGN_UP(bss, PAGE_SIZE), stop = ALIGN_UP(end, PAGE_SIZE);
	long r = 0;

	if (stop > start)
		r = quire_mmap(mm, start, stop - start, PROT_READ | PROT_WRITE | (flags & PF_X ? PROT_EXEC : 0),
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, NULL, 0);
	return r < 0 ? (int)r : 0;
}

/* What lies behind the file's bytes in their last page, up to `most` of it, is zero; -EFAULT. */
static int clear_tail(uintptr_t bss, size_t most)
{
	size_t tail = min(ALIGN_UP(bss, PAGE_SIZE) - bss, most);

	return tail && hal_clear_user(bss, tail) ? -EFAULT : 0;
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

/* Where mmap() may put the first segment: 0, anywhere; and how. An interpreter, or a PIE that has none. */
static uintptr_t place_of(const struct elf_image *img, const struct elf_phdr *p, unsigned long *flags)
{
	*flags = 0;
	if (!img->interp)
		return 0;
	*flags = MAP_FIXED;
	return ((hal_stack_top() / 3 * 2) & PAGE_MASK) + (p->p_vaddr & PAGE_MASK);
}

static int map_image(struct quire_mm *mm, struct open_file *f, struct elf_image *img)
{
	struct quire_file *qf = file_mapping(f);
	uintptr_t bss = 0, brk = 0;
	unsigned bss_flags = 0;
	bool first = true;
	int err;

	if (!qf)
		return -ENOMEM;
	for (unsigned i = 0; i < img->nr_ph; i++) {
		const struct elf_phdr *p = &img->ph[i];
		bool place = first && img->type == ET_DYN;
		unsigned long how = MAP_FIXED;
		uintptr_t addr = img->bias + p->p_vaddr;
		long at;

		if (p->p_type != PT_LOAD)
			continue;
		/* A segment behind one that ended in zeros: those come first, as on Linux; that the tail
		 * cannot be cleared is nothing yet. */
		if (brk > bss) {
			err = map_zeros(mm, bss + img->bias, brk + img->bias, bss_flags);
			if (err)
				return err;
			(void)!clear_tail(bss + img->bias, brk - bss);
		}
		if (place)
			addr = place_of(img, p, &how);
		at = map_segment(mm, qf, p, addr, how, place ? total_size(img) : 0);
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
	err = map_zeros(mm, bss + img->bias, brk + img->bias, bss_flags);
	if (!err && bss != brk && clear_tail(bss + img->bias, PAGE_SIZE) && bss_flags & PF_W)
		err = -EFAULT;
	return err;
}

int elf_map_image(struct quire_mm *mm, struct open_file *f, struct elf_image *img)
{
	int err = map_image(mm, f, img);

	if (err || !img->interp)
		return err;
	err = map_image(mm, img->interp, img->interp_image);
	img->interp_base = img->interp_image->bias;
	img->interp_entry = img->interp_image->entry;
	return err;
}
