/* SPDX-License-Identifier: MIT */
/*
 * What only kernel/ needs of a machine: boot information, trap frames, kernel contexts, user
 * entry, signal frames, FP state, timer, interrupts. The memory manager never includes this.
 * The encodings are the machine's (Linux's per architecture where user programs see them); every
 * decision is the kernel's.
 */
#ifndef ARCH_HAL_KERNEL_H
#define ARCH_HAL_KERNEL_H

#include "hal.h"

/* ---- boot ----------------------------------------------------------------------------------- */

struct boot_info {
	const char *cmdline;	     /* NUL-terminated, kernel address */
	const void *initrd;	     /* kernel address, NULL if there is none */
	size_t initrd_size;
	void *trace_ring;	     /* reserved RAM the host reads, NULL if none was asked for */
	size_t trace_ring_size;
	phys_addr_t trace_ring_phys;
};

/* Called by the machine once it can run C with its direct map up. Interrupts off. */
_Noreturn void kernel_main(const struct boot_info *bi);

/* ---- trap frames ---------------------------------------------------------------------------- */

/*
 * The registers of an interrupted context. struct trap_frame is completed by the machine's
 * "trapframe.h" (found on the include path), which defines these as static inline (those that only
 * name a field by way of arch/common/trapframe.h):
 *
 *   unsigned long tf_syscall_nr(const struct trap_frame *);
 *   unsigned long tf_syscall_arg(const struct trap_frame *, unsigned i);      i = 0 .. 5
 *   void tf_set_syscall_ret(struct trap_frame *, long ret);
 *   void tf_syscall_restart(struct trap_frame *);      run the system call again on return
 *   unsigned long tf_ip(const struct trap_frame *);    void tf_set_ip(tf, unsigned long);
 *   unsigned long tf_sp(const struct trap_frame *);    void tf_set_sp(tf, unsigned long);
 *   bool tf_user(const struct trap_frame *);
 *   void tf_init_user(struct trap_frame *, unsigned long entry, unsigned long sp);
 *
 * and struct hal_fpu (FP and vector state of one task, with its alignment) and
 * struct hal_context (a suspended kernel thread: a stack pointer, say).
 */
#include "trapframe.h"

/* Calls the kernel gets from the machine's trap entry. Interrupts are off on entry unless it says
 * otherwise, and off again on return. */
void kernel_syscall(struct trap_frame *tf);
/* Interrupts are as they were in the interrupted code, once the machine has read what the fault left in
 * registers of its own. Returns true: resume tf (the machine applies fi->fixup itself when this returns false for a
 * kernel-mode fault with fixup != 0; false without fix-up means kernel_oops was not survivable). */
bool kernel_page_fault(struct trap_frame *tf, const struct fault_info *fi);

enum trap_kind {
	TRAP_ILLEGAL,	 /* SIGILL  ILL_ILLOPC */
	TRAP_BREAKPOINT, /* SIGTRAP TRAP_BRKPT */
	TRAP_DIVIDE,	 /* SIGFPE  FPE_INTDIV */
	TRAP_FPE,	 /* SIGFPE, code in addr's place is the machine's si_code */
	TRAP_ALIGN,	 /* SIGBUS  BUS_ADRALN */
	TRAP_PROTECTION, /* x86 #GP: SIGSEGV SI_KERNEL, address 0 */
	TRAP_OTHER,
};
/* Any other trap from user mode. From kernel mode the machine calls kernel_oops(). */
void kernel_user_trap(struct trap_frame *tf, enum trap_kind kind, unsigned long addr, int code);
_Noreturn void kernel_oops(struct trap_frame *tf, const char *what);
/* The periodic timer fired; tf is what it interrupted. */
void kernel_timer_tick(struct trap_frame *tf);
/* Somebody called hal_cpu_kick() for this CPU, or a call between CPUs came (then there may be nothing
 * to do); tf is what it interrupted. Then as after a tick: kernel_irq_exit(), or the way to user mode. */
void kernel_kick(struct trap_frame *tf);
/* Last before an interrupt returns to kernel code: another task may run first. */
void kernel_irq_exit(void);
/* Called last before every return to user mode, interrupts off: deliver signals, reschedule. */
void kernel_return_to_user(struct trap_frame *tf);

/* ---- kernel contexts ------------------------------------------------------------------------ */

/* Prepares a context that starts fn(arg) on the stack [stack, stack + size). */
void hal_context_init(struct hal_context *c, void *stack, size_t size, void (*fn)(void *),
		      void *arg);
/* Saves the running context in prev and continues next. Interrupts off. */
void hal_context_switch(struct hal_context *prev, struct hal_context *next);
/* The context ended and will never run again; frees what the machine keeps for it. Not called
 * for the running one. */
void hal_context_destroy(struct hal_context *c);
/* The stack the next trap from user mode starts on (its top). */
void hal_set_kernel_stack(void *top);
/* Leaves for user mode with tf. Calls kernel_return_to_user() first. Never returns. */
_Noreturn void hal_user_enter(struct trap_frame *tf);

/* FP and vector state: of a fresh program, saved from and loaded into the processor. Interrupts off. */
void hal_fpu_init(struct hal_fpu *f);
void hal_fpu_save(struct hal_fpu *f);
void hal_fpu_restore(const struct hal_fpu *f);

/* Thread pointer of the user program (FS base on x86-64, tp on RISC-V), kept per task. */
void hal_tls_set(struct trap_frame *tf, unsigned long tls);
/* Saves and loads what of it lives in the processor and not in tf, at a task switch. */
unsigned long hal_tls_save(void);
void hal_tls_restore(unsigned long tls);

/* ---- signal frames -------------------------------------------------------------------------- */

struct hal_siginfo {
	int signo, errno_, code;
	unsigned long addr; /* SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP */
	int pid, uid;	    /* kill() and SIGCHLD */
	int status;	    /* SIGCHLD */
	unsigned long value; /* of a code below 0 but SI_TKILL: what the sender gave; of SI_TIMER the timer's
			      * number and overruns are in pid and uid */
};

struct hal_sigaction {
	unsigned long handler, flags, restorer, mask; /* as the user's rt_sigaction gave them */
};

/*
 * Builds Linux's rt_sigframe of this architecture (siginfo, ucontext with all registers and FP
 * state) below sp and points tf at the handler. fault: the derived error code for the frame's
 * own trap fields. fpu: the task's saved FP state, and after it what the handler starts with;
 * the registers themselves are the caller's to save and load. sp: where the stack for it ends (the
 * kernel chose: alternate or the running one; the red zone is the machine's to leave).
 * Returns 0 or -EFAULT. May sleep.
 */
int hal_sigframe_push(struct trap_frame *tf, struct hal_fpu *fpu, const struct hal_sigaction *sa,
		      const struct hal_siginfo *si, unsigned long oldmask, unsigned long sp,
		      const unsigned long altstack[3], uint32_t fault_code);
/* rt_sigreturn: everything back, FP state into fpu, which holds a saved one before; tells the mask to
 * restore. 0 or -EFAULT. May sleep. */
int hal_sigframe_pop(struct trap_frame *tf, struct hal_fpu *fpu, unsigned long *mask,
		     unsigned long altstack[3]);

/*
 * Where C libraries give no restorer (trapframe.h then defines HAL_SIGRETURN_CODE) the user's
 * sigaction has no such field either: it is handler, flags, mask. The kernel maps a page with this
 * code, read-only and executable, into every program and passes its address as sa->restorer.
 */
#ifdef HAL_SIGRETURN_CODE
const void *hal_sigreturn_code(size_t *n);
#endif

/* ---- system-call numbers --------------------------------------------------------------------- */

/*
 * arch/common/syscall_table.h has Linux's numbers, a column for each architecture; trapframe.h says
 * by SYS_ARCH which one this machine's programs speak. A few calls of
 * one architecture only (arch_prctl, riscv_flush_icache) end in:
 */
long hal_arch_syscall(struct trap_frame *tf, const char *name);
/* AT_HWCAP, AT_PLATFORM (may be NULL) and uname's machine for a new program. */
unsigned long hal_elf_hwcap(void);
const char *hal_elf_platform(void);
const char *hal_machine_name(void);
/* A CPU's lines of /proc/cpuinfo after its number, into buf: bytes. */
size_t hal_cpu_describe(unsigned cpu, char *buf, size_t size);
/* The number by which the machine itself, or an emulator of it, knows this CPU. */
unsigned hal_cpu_number(unsigned cpu);
/* EM_X86_64 or EM_RISCV. 0: this machine loads no ELF (the fake). */
unsigned hal_elf_machine(void);
/* Where mmap's search starts from, as this architecture's Linux places it (bytes). */
uintptr_t hal_stack_top(void);

/* ---- interrupts, and what belongs to one CPU ---------------------------------------------------- */

#ifndef HAL_INLINE_irq_switch
void hal_irq_disable(void);
void hal_irq_enable(void);
#endif
/* Adds v to a word that only this CPU's tasks and interrupts change, whichever come in between:
 * whether it is 0 now. */
#ifndef HAL_INLINE_local_add
static inline bool hal_local_add(uint32_t *p, uint32_t v)
{
	return !__atomic_add_fetch(p, v, __ATOMIC_RELAXED);
}
#endif

/* The CPU's task: a word that is the kernel's, NULL until it sets it. It is read by one access, so a
 * task reads its own whichever CPU it is on. Set with interrupts off. */
#ifndef HAL_INLINE_task
void *hal_task(void);
void hal_set_task(void *task);
#endif
/* Interrupts an online CPU: it leaves hal_idle(), comes by kernel_kick(). Kicks that follow each other
 * closely may be one. Any context. */
void hal_cpu_kick(unsigned cpu);

/* ---- devices ----------------------------------------------------------------------------------- */

enum hal_device_kind {
	HAL_VIRTIO_MMIO, /* a bank of virtio registers; its interrupt is irq */
	HAL_PCI_ECAM,	 /* configuration space of the PCI buses from first_bus on, 1 MiB each */
};

struct hal_device {
	enum hal_device_kind kind;
	phys_addr_t regs;
	uint64_t size;
	unsigned irq, first_bus;
};

/* Calls fn for what the firmware told of, in the order of addresses. */
void hal_devices(void (*fn)(const struct hal_device *d, void *ctx), void *ctx);
/* Where the kernel reaches device registers, for good; NULL: there is no room. */
void *hal_map_device(phys_addr_t pa, uint64_t size);
/* One access of 1, 2 or 4 bytes to a register. A write comes after all earlier stores to memory, a
 * read before all later loads. */
uint32_t hal_reg_read(const void *reg, unsigned width);
void hal_reg_write(void *reg, unsigned width, uint32_t v);
/* From now on fn(arg) is called for the line, interrupts off, and quiets the device. 0, -EINVAL
 * (there is no such line), -EBUSY. */
int hal_irq_request(unsigned irq, void (*fn)(void *arg), void *arg);
/* An interrupt of its own that a device causes by writing data to address: its number, or -ENOSPC
 * (no more, or the machine has none such). */
int hal_msi_request(void (*fn)(void *arg), void *arg, uint64_t *address, uint32_t *data);
/* fn is not called any more. The device is quiet. */
void hal_irq_free(unsigned irq);

/* ---- timer and idling ------------------------------------------------------------------------ */

void hal_timer_start(uint64_t period_ns);
uint64_t hal_clock_ns(void);  /* since boot */
/* The time of the day by the machine's own clock, ns since 1970; 0: it has none, or it is unreadable. Boot,
 * where hal_map_device() works. */
uint64_t hal_realtime_ns(void);
uint64_t hal_entropy(void);   /* whatever the machine has; never blocks */
void hal_idle(void);	      /* interrupts off: wait for one, handle it, return */
/* One byte typed on the console, or -1. */
int hal_console_getc(void);

#endif
