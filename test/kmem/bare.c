/* SPDX-License-Identifier: MIT */
/* The replay of page and slab events as a kernel of its own: the recording is the initramfs. */
#include "arch/hal_kernel.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "test/kmem/kmem.h"
#include <quire/quire.h>

static void line(const char *s)
{
	hal_log("kmem: ", 6);
	hal_log(s, strlen(s));
	hal_log("\n", 1);
}

_Noreturn void kernel_main(const struct boot_info *bi)
{
	int status;

	if (!bi->initrd) {
		line("no recording: it is given as the initramfs");
		hal_exit(2);
	}
	if (quire_init(NULL)) {
		line("cannot start the memory manager");
		hal_exit(2);
	}
	status = kmem_replay(bi->initrd, bi->initrd_size, line);
	if (quire_exit() && !status)
		status = 1;
	/* the emulator has states of its own below these */
	hal_exit(status);
}

/* ---- what never happens here ------------------------------------------------------------------- */

static _Noreturn void unexpected(const char *what, const struct trap_frame *tf)
{
	char text[120];

	scnprintf(text, sizeof(text), "%s at ip %#lx", what, tf ? tf_ip(tf) : 0ul);
	line(text);
	hal_exit(3);
}

bool kernel_page_fault(struct trap_frame *tf, const struct fault_info *fi)
{
	unexpected("page fault", tf);
}

#include "test/arch/bare_none.h" /* ends with unexpected() */
