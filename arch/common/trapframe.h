/* SPDX-License-Identifier: MIT */
/*
 * The getters and setters of a trap frame that only name a field. A machine's trapframe.h includes
 * this at its end, with each field as an lvalue: TF_IP(tf), TF_SP(tf), TF_SYSCALL_NR(tf) and
 * TF_SYSCALL_RET(tf).
 */
#ifndef ARCH_COMMON_TRAPFRAME_H
#define ARCH_COMMON_TRAPFRAME_H

static inline unsigned long tf_syscall_nr(const struct trap_frame *tf)
{
	return TF_SYSCALL_NR(tf);
}

static inline void tf_set_syscall_ret(struct trap_frame *tf, long ret)
{
	TF_SYSCALL_RET(tf) = ret;
}

static inline unsigned long tf_ip(const struct trap_frame *tf)
{
	return TF_IP(tf);
}

static inline void tf_set_ip(struct trap_frame *tf, unsigned long ip)
{
	TF_IP(tf) = ip;
}

static inline unsigned long tf_sp(const struct trap_frame *tf)
{
	return TF_SP(tf);
}

static inline void tf_set_sp(struct trap_frame *tf, unsigned long sp)
{
	TF_SP(tf) = sp;
}

#endif
