/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a program: refused with a reason before anything is mapped, or mapped inside the
 * user range in whole pages. What elf.c asks of the kernel and the core is answered here.
 */
#include "fuzz.h"

#include "kernel/kernel.h"

static const uint8_t *file;
static size_t file_size;
static unsigned refusals, mappings;

void klog(const char *fmt, ...)
{
	refusals++;
}

long quire_inode_read(struct quire_inode *inode, uint64_t off, uintptr_t dst, size_t n, bool user)
{
	if (off >= file_size)
		return 0;
	n = n < file_size - off ? n : file_size - off;
	memcpy((void *)dst, file + off, n);
	return (long)n;
}

void *quire_kmalloc(size_t size, unsigned gfp)
{
	return gfp & QUIRE_GFP_ZERO ? calloc(1, size) : malloc(size);
}

void quire_kfree(const void *p)
{
	free((void *)p);
}

unsigned hal_elf_machine(void)
{
	return 62;
}

const struct mmu_info *hal_mmu_info(void)
{
	static const struct mmu_info info = {.user_end = 1ull << 47};

	return &info;
}

uintptr_t hal_stack_top(void)
{
	return 1ull << 47;
}

/* An interpreter whose name begins with a slash is there, and it is the same bytes. */
static struct vnode program = {.mode = S_IFREG | 0755, .contents = (struct quire_inode *)&program};
static int denied;

int kernel_path(const char *name, unsigned flags, struct path *p)
{
	if (name[0] != '/')
		return -ENOENT;
	*p = (struct path){.v = &program};
	return 0;
}

void path_put(struct path *p)
{
}

int quire_inode_deny_write(struct quire_inode *inode)
{
	denied++;
	return 0;
}

void quire_inode_allow_write(struct quire_inode *inode)
{
	denied--;
}

struct open_file *file_alloc(struct vnode *v, const char *path, unsigned flags)
{
	struct open_file *f = calloc(1, sizeof(*f));

	f->v = v;
	return f;
}

void file_put(struct open_file *f)
{
	free(f);
}

struct quire_file *file_mapping(struct open_file *f)
{
	return (struct quire_file *)f;
}

/* As the core answers: a range that is not the user's is refused, never wrapped. */
long quire_mmap(struct quire_mm *mm, uintptr_t addr, size_t len, unsigned long prot,
		unsigned long flags, struct quire_file *f, uint64_t off)
{
	FUZZ_CHECK(addr % PAGE_SIZE == 0 && off % PAGE_SIZE == 0);
	mappings++;
	if (!len)
		return -EINVAL;
	if (len > 1ull << 47)
		return -ENOMEM;
	if (!(flags & 0x10) && addr + len < addr)
		return -ENOMEM;
	if (!(flags & 0x10))
		return 0x555500000000;
	return addr > (1ull << 47) - len ? -ENOMEM : (long)addr;
}

long quire_munmap(struct quire_mm *mm, uintptr_t addr, size_t len)
{
	FUZZ_CHECK(addr % PAGE_SIZE == 0 && addr + len >= addr);
	return 0;
}

size_t hal_clear_user(uintptr_t dst, size_t n)
{
	FUZZ_CHECK(n < PAGE_SIZE && dst / PAGE_SIZE == (dst + n - 1) / PAGE_SIZE);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct open_file *f = file_alloc(&program, "fuzz", 0);
	struct elf_image img;
	int r;

	file = data;
	file_size = size;
	refusals = mappings = 0;
	r = elf_read(f, "fuzz", &img);
	FUZZ_CHECK(!mappings);
	if (r) {
		FUZZ_CHECK(r == -ENOMEM || ((r == -ENOEXEC || r == -ELIBBAD || r == -ENOENT) && refusals == 1));
	} else {
		elf_map_image((struct quire_mm *)f, f, &img);
		elf_free(&img);
	}
	FUZZ_CHECK(!denied);
	file_put(f);
	return 0;
}
