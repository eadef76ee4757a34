/* SPDX-License-Identifier: MIT */
/*
 * memhog [MIB]: maps that much memory, writes its own address into every word of every page,
 * reads all of it back twice, gives every second page back, reads the rest again. Status 1 if a
 * word is wrong or the memory is not to be had.
 */
#include "user/text.h"
#include "user/u.h"
#include "user/u_nr.h"

#define BASE 0x300000000ul

static void say(struct u *u, const char *what, uint64_t n)
{
	char buf[128];
	struct text t = TEXT(buf);

	text_str(&t, "memhog: ");
	text_str(&t, what);
	text_chr(&t, ' ');
	text_udec(&t, n);
	text_chr(&t, '\n');
	u_write(u, buf, t.n);
}

static uint64_t wrong_words(uintptr_t start, uintptr_t end, uintptr_t step)
{
	uint64_t wrong = 0;

	for (uintptr_t page = start; page < end; page += step)
		for (uintptr_t p = page; p < page + U_PAGE; p += 8)
			wrong += *(volatile uint64_t *)p != p;
	return wrong;
}

static int demo_main(struct u *u, void *state, int argc, char **argv)
{
	const char *arg = argc > 1 ? argv[1] : "16";
	uintptr_t size = str_num(&arg, 10) << 20, end = BASE + size;
	uint64_t wrong;
	long ret = u_syscall(u, NR_mmap, BASE, (long)size, U_PROT_READ | U_PROT_WRITE,
			     U_MAP_PRIVATE | U_MAP_ANONYMOUS | U_MAP_FIXED, -1, 0);

	if (ret != (long)BASE) {
		say(u, "no memory, error", (uint64_t)-ret);
		return 1;
	}
	for (uintptr_t p = BASE; p < end; p += 8)
		*(volatile uint64_t *)p = p;
	say(u, "pages written", size / U_PAGE);
	wrong = wrong_words(BASE, end, U_PAGE) + wrong_words(BASE, end, U_PAGE);
	for (uintptr_t p = BASE + U_PAGE; p < end; p += 2 * U_PAGE)
		u_syscall(u, NR_madvise, (long)p, U_PAGE, 4, 0, 0, 0); /* MADV_DONTNEED */
	wrong += wrong_words(BASE, end, 2 * U_PAGE);
	for (uintptr_t p = BASE + U_PAGE; p < end; p += 2 * U_PAGE)
		wrong += *(volatile uint64_t *)p != 0;
	u_syscall(u, NR_munmap, BASE, (long)size, 0, 0, 0, 0);
	say(u, "wrong words", wrong);
	return wrong != 0;
}

extern const struct u_program demo_program;
const struct u_program demo_program = { demo_main, 0, 0x200000000 };
