/* SPDX-License-Identifier: MIT */
/*
 * x86-64 boot entry, from the loader's 32-bit protected mode (PVH: paging off, flat segments, ebx =
 * start info) into long mode and the upper half. Runs at physical addresses until the jump at the
 * end, so every symbol is taken as PHYS(). The boot tables map the first 4 GiB one to one, and the
 * first 1 GiB again at the image's base; mmu.c replaces them.
 *
 * With the word "la57" on the command line and a processor that has it, paging starts with five
 * levels: it can only be chosen while paging is off.
 */
#define IMAGE_BASE 0xffffffff80000000
#define PHYS(x) ((x) - IMAGE_BASE)

#define START_INFO_CMDLINE 24
#define CMDLINE_MAX 4096

	.section .boot.text, "ax"
	.code32
	.globl x86_entry
x86_entry:
	cli
	cld
	movl %ebx, %ebp			/* the start info survives in ebp */

	/* the loader may not have cleared what the file does not hold */
	movl $PHYS(__bss_start), %edi
	movl $PHYS(__image_end), %ecx
	subl %edi, %ecx
	shrl $2, %ecx
	xorl %eax, %eax
	rep stosl
	movl $PHYS(__boot_stack_top), %esp

	movl $0x80000000, %eax
	cpuid
	cmpl $0x80000001, %eax
	jb no_long_mode
	movl $0x80000001, %eax
	cpuid
	testl $(1 << 29), %edx
	jz no_long_mode

	/* four directories of 2 MiB leaves: 0 .. 4 GiB */
	movl $PHYS(boot_pd), %edi
	movl $0x83, %eax		/* present, writable, large */
	movl $2048, %ecx
1:	movl %eax, (%edi)
	addl $0x200000, %eax
	addl $8, %edi
	loop 1b

	movl $PHYS(boot_pd) + 3, %eax
	movl $PHYS(boot_pdpt_low), %edi
	movl %eax, 0(%edi)
	addl $4096, %eax
	movl %eax, 8(%edi)
	addl $4096, %eax
	movl %eax, 16(%edi)
	addl $4096, %eax
	movl %eax, 24(%edi)
	movl $PHYS(boot_pd) + 3, PHYS(boot_pdpt_high) + 510 * 8
	movl $PHYS(boot_pdpt_low) + 3, PHYS(boot_pml4)
	movl $PHYS(boot_pdpt_high) + 3, PHYS(boot_pml4) + 511 * 8
	movl $PHYS(boot_pml4) + 3, PHYS(boot_pml5)
	movl $PHYS(boot_pml4) + 3, PHYS(boot_pml5) + 511 * 8

	movl $PHYS(boot_pml4), %edi	/* the root, if it stays at four levels */
	movl %cr4, %esi
	orl $(1 << 5), %esi		/* PAE */
	call want_la57
	testl %eax, %eax
	jz 2f
	movl $PHYS(boot_pml5), %edi
	orl $(1 << 12), %esi		/* LA57 */
2:	movl %esi, %cr4
	movl %edi, %cr3

	movl $0xc0000080, %ecx		/* EFER: long mode */
	rdmsr
	orl $(1 << 8), %eax
	wrmsr
	movl %cr0, %eax
	orl $0x80010001, %eax		/* PG, WP, PE */
	movl %eax, %cr0
	lgdt PHYS(boot_gdt_ptr)
	ljmp $0x10, $PHYS(long_mode)

/* eax = 1 if the processor has five levels and the command line holds the word. Keeps edi, esi. */
want_la57:
	pushl %esi
	pushl %edi
	xorl %eax, %eax
	cpuid
	cmpl $7, %eax
	jb 8f
	movl $7, %eax
	xorl %ecx, %ecx
	cpuid
	testl $(1 << 16), %ecx
	jz 8f
	cmpl $0x336ec578, (%ebp)
	jne 8f
	cmpl $0, START_INFO_CMDLINE + 4(%ebp)
	jne 8f
	movl START_INFO_CMDLINE(%ebp), %esi
	testl %esi, %esi
	jz 8f
	movl $CMDLINE_MAX, %ecx
	movb $' ', %dl			/* the character before */
5:	movb (%esi), %al
	testb %al, %al
	jz 8f
	cmpb $' ', %dl
	jne 6f
	cmpl $0x3735616c, (%esi)	/* "la57" */
	jne 6f
	movb 4(%esi), %dh
	testb %dh, %dh
	jz 7f
	cmpb $' ', %dh
	je 7f
6:	movb %al, %dl
	incl %esi
	loop 5b
8:	xorl %eax, %eax
	jmp 9f
7:	movl $1, %eax
9:	popl %edi
	popl %esi
	ret

no_long_mode:
	movl $PHYS(no_long_mode_text), %esi
1:	lodsb
	testb %al, %al
	jz 2f
	outb %al, $0xe9
	jmp 1b
2:	movl $0x11, %eax
	outl %eax, $0xf4		/* the emulator's exit device: status 1 */
3:	hlt
	jmp 3b

	.code64
long_mode:
	movabsq $upper_half, %rax
	jmp *%rax
upper_half:
	xorl %eax, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl %eax, %fs
	movl %eax, %gs
	movq $__boot_stack_top, %rsp
	movl %ebp, %edi
	xorl %ebp, %ebp			/* the last frame, for backtraces */
	call x86_boot
	ud2

	/* Where a CPU that was started goes on, on the boot tables. */
secondary:
	xorl %eax, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl %eax, %fs
	movl %eax, %gs
	movq x86_start_cr3(%rip), %rax
	movq %rax, %cr3
	movq x86_start_stack(%rip), %rsp
	xorl %ebp, %ebp
	call x86_secondary
	ud2

	/*
	 * What smp.c copies to the page at TRAMPOLINE and a started CPU begins with: real mode, cs its
	 * page. From there in one step to long mode: paging, protection and EFER.LME are enough for it.
	 */
	.section .rodata
#define TRAMPOLINE 0x8000
#define IN_PAGE(x) ((x) - x86_trampoline)
	.balign 16
	.globl x86_trampoline, x86_trampoline_end, x86_trampoline_cr3, x86_trampoline_cr4
	.code16
x86_trampoline:
	cli
	cld
	movw %cs, %ax
	movw %ax, %ds
	movl IN_PAGE(x86_trampoline_cr4), %eax
	movl %eax, %cr4
	movl IN_PAGE(x86_trampoline_cr3), %eax
	movl %eax, %cr3
	movl $0xc0000080, %ecx		/* EFER: long mode, and entries may forbid execution */
	rdmsr
	orl $(1 << 8 | 1 << 11), %eax
	wrmsr
	lgdtl IN_PAGE(trampoline_gdt_ptr)
	movl $0x80010033, %eax		/* PG, WP, NE, ET, MP, PE: INIT had set CD and NW */
	movl %eax, %cr0
	ljmpl $0x10, $(TRAMPOLINE + IN_PAGE(trampoline_long))
	.code64
trampoline_long:
	movabsq $secondary, %rax
	jmp *%rax
	.balign 8
trampoline_gdt:
	.quad 0
	.quad 0
	.quad 0x00af9b000000ffff	/* 0x10: 64-bit code, as in the kernel's own */
trampoline_gdt_ptr:
	.word . - trampoline_gdt - 1
	.long TRAMPOLINE + IN_PAGE(trampoline_gdt)
	.balign 4
x86_trampoline_cr3:
	.long 0
x86_trampoline_cr4:
	.long 0
x86_trampoline_end:

	.section .rodata
	.balign 8
boot_gdt:
	.quad 0
	.quad 0
	.quad 0x00af9b000000ffff	/* 0x10: 64-bit code */
	.quad 0x00cf93000000ffff	/* 0x18: data */
boot_gdt_ptr:
	.word . - boot_gdt - 1
	.long PHYS(boot_gdt)
no_long_mode_text:
	.asciz "quire: this processor has no 64-bit mode\n"

	.section .bss.boot_tables, "aw", @nobits
	.balign 4096
	.globl x86_boot_root, x86_boot_root_la57
x86_boot_root_la57:
boot_pml5:	.skip 4096
x86_boot_root:
boot_pml4:	.skip 4096
boot_pdpt_low:	.skip 4096
boot_pdpt_high:	.skip 4096
boot_pd:	.skip 4 * 4096
	.section .note.GNU-stack, "", @progbits
