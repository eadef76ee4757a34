/* SPDX-License-Identifier: MIT */
/*
 * x86-64 console output and input, power-off: the emulator's debug console (port 0xE9) where there
 * is one, the first serial port otherwise and for typed input; the end of the machine. Nothing here
 * waits for long or needs memory, so it works from any context.
 */
#include "x86.h"

#define DEBUGCON 0xe9
#define EXIT_PORT 0xf4
#define COM1 0x3f8
#define COM_DATA 0
#define COM_IER	 1
#define COM_FCR	 2
#define COM_LCR	 3
#define COM_MCR	 4
#define COM_LSR	 5
#define COM_SCRATCH 7
#define LSR_DATA 0x01
#define LSR_ROOM 0x20

static bool have_debugcon, have_com1;

void x86_console_init(void)
{
	/* the emulator's device reads back its own port number; an empty bus reads 0xff */
	have_debugcon = inb(DEBUGCON) == DEBUGCON;

	outb(COM1 + COM_SCRATCH, 0x5a);
	have_com1 = inb(COM1 + COM_SCRATCH) == 0x5a;
	if (!have_com1)
		return;
	outb(COM1 + COM_IER, 0);
	outb(COM1 + COM_LCR, 0x80); /* the next two bytes are the divisor */
	outb(COM1 + COM_DATA, 1);   /* 115200 baud */
	outb(COM1 + COM_IER, 0);
	outb(COM1 + COM_LCR, 0x03); /* 8 bits, no parity */
	outb(COM1 + COM_FCR, 0xc7); /* FIFOs on and empty */
	outb(COM1 + COM_MCR, 0x03);
}

static void com1_putc(char c)
{
	/* bounded: a port that never drains loses text, not the machine */
	for (unsigned i = 0; i < 100000 && !(inb(COM1 + COM_LSR) & LSR_ROOM); i++)
		hal_cpu_relax();
	outb(COM1 + COM_DATA, (uint8_t)c);
}

void hal_log(const char *s, size_t n)
{
	if (have_debugcon) {
		__asm__ volatile("rep outsb" : "+S"(s), "+c"(n) : "d"(DEBUGCON) : "memory");
		return;
	}
	for (; have_com1 && n; n--, s++) {
		if (*s == '\n')
			com1_putc('\r');
		com1_putc(*s);
	}
}

int hal_console_getc(void)
{
	if (!have_com1 || !(inb(COM1 + COM_LSR) & LSR_DATA))
		return -1;
	return inb(COM1 + COM_DATA);
}

void hal_exit(int status)
{
	unsigned v = status < 0 || status > 0x60 ? 0x60 : (unsigned)status;

	hal_irq_save();
	outl(EXIT_PORT, 0x10 + v); /* the emulator ends with (v << 1) | 1 */
	for (;;)
		__asm__ volatile("hlt");
}
