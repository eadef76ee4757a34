/* SPDX-License-Identifier: MIT */
/*
 * Identifiers and instruction caches of the fake machine, as RISC-V has them. Who gives identifiers out,
 * puts flushes off and fences fetches is arch/common/asid.c, the code of the real machine; here are the
 * caches that it has to keep right.
 *
 * What a CPU cached under an identifier stays until it is fenced. So long as the space has that identifier
 * it lies in the space's own tables (tlb.c). What nobody may reach any more (the space has got another
 * identifier, or is gone; or it was taken away while the CPU ran something else, which is to forget it
 * before it runs the space again) is given up: it leads to no frame, but the identifier is burnt on this
 * CPU (struct cpu.burnt). A CPU that runs a space by an identifier that is burnt, or by one under which it
 * holds what another space cached, reads through that: it is accused.
 *
 * A CPU fetches whole lines and keeps them until its fence.i. One that differs from memory, of a frame that
 * hal_icache_sync() has made good since, is an accusation where it is fetched.
 */
#include <stdlib.h>
#include <string.h>

#include "arch/fake/arch.h"
#include "arch/fake/machine.h"

#define LINE  64u
#define LINES (1u << 14)

_Static_assert(ARCH_CPUS_MAX == FAKE_MAX_CPUS, "one bit and place for each CPU");

struct arch_space *mmu_running[ARCH_CPUS_MAX];

struct fetched {
	phys_addr_t line;
	uint64_t fences; /* of the CPU when it was fetched; another number: there is none */
	uint8_t bytes[LINE];
};

bool tags_start(void)
{
	unsigned bits = machine.cfg.with_asids ? asid_usable(machine.mmu.asid_bits, machine.cfg.cpus) : 0;

	machine.mmu.asid_bits = bits;
	machine.cfg.with_asids = bits != 0;
	asid_start(bits);
	memset(mmu_running, 0, sizeof(mmu_running));
	for (unsigned cpu = 0; cpu < machine.cfg.cpus; cpu++) {
		struct cpu *c = &machine.cpu[cpu];

		free(c->burnt);
		c->burnt = calloc(1, 1ul << bits);
		c->fences = 1;
		if (machine.cfg.icaches && !c->fetched)
			c->fetched = calloc(LINES, sizeof(*c->fetched));
		if (!c->burnt || (machine.cfg.icaches && !c->fetched))
			return false;
	}
	return true;
}

void tags_end(void)
{
	for (unsigned cpu = 0; cpu < FAKE_MAX_CPUS; cpu++) {
		free(machine.cpu[cpu].burnt);
		free(machine.cpu[cpu].fetched);
	}
}

/* ---- identifiers ----------------------------------------------------------------------------- */

void tags_give_up(struct fake_space *s)
{
	for (unsigned cpu = 0; cpu < machine.cfg.cpus; cpu++)
		if (tlb_flush_all(s, cpu) && s->tag)
			machine.cpu[cpu].burnt[s->tag] = 1;
}

/* What the space has cached lies under the identifier that it had then. A CPU that has said that it leaves
 * the space makes no access before it has left. */
static void retag(struct fake_space *s)
{
	if (s->tag == s->arch->asid)
		return;
	for (unsigned cpu = 0; cpu < machine.cfg.cpus; cpu++)
		if (__atomic_load_n(&mmu_running[cpu], __ATOMIC_SEQ_CST) == s->arch &&
		    machine.cpu[cpu].space == s && s->tag)
			fake_accuse(FAKE_ASID, "CPU %u runs a space by identifier %u, which has got %u", cpu,
				    s->tag, s->arch->asid);
	tags_give_up(s);
	s->tag = s->arch->asid;
}

uint64_t tags_flush(struct fake_space *s, uintptr_t start, uintptr_t last)
{
	uint64_t cpus = 0, now;

	if (!s->user || !machine.cfg.with_asids)
		return ~0ull;
	retag(s);
	if (!asid_cached(s->arch)) {
		tags_give_up(s);
		return 0;
	}
	for (unsigned cpu = 0; cpu < machine.cfg.cpus; cpu++)
		cpus |= (uint64_t)(s->tlb[cpu].n != 0) << cpu;
	now = asid_note_stale(&s->arch->stale, cpus & ~(1ull << self.cpu), s->arch);
	for (unsigned cpu = 0; cpu < machine.cfg.cpus; cpu++)
		if ((cpus & ~now) >> cpu & 1 && cpu != self.cpu && tlb_drop_stale(s, cpu, start, last))
			machine.cpu[cpu].burnt[s->tag] = 1;
	return now | (1ull << self.cpu);
}

/* The CPU has the space, and has fenced what it had to. */
static void check_tag(struct fake_space *s)
{
	struct cpu *c = fake_cpu();

	if (c->burnt[s->tag]) {
		fake_accuse(FAKE_ASID, "CPU %u runs a space by identifier %u, with translations that were taken away",
			    self.cpu, s->tag);
		c->burnt[s->tag] = 0;
	}
	for (struct fake_space *o = machine.spaces; o; o = o->next)
		if (o != s && o->tag == s->tag && o->user && o->tlb[self.cpu].n) {
			fake_accuse(FAKE_ASID, "CPU %u runs a space by identifier %u, with translations of another",
				    self.cpu, s->tag);
			tlb_flush_all(o, self.cpu);
		}
}

void tags_switch(struct arch_space *as)
{
	struct fake_space *left = fake_cpu()->space, *s = as ? as->fs : NULL;

	__atomic_store_n(&mmu_running[self.cpu], as, __ATOMIC_SEQ_CST);
	fake_cross();
	asid_load(as, as ? as->root : PFN(0));
	fake_lock();
	if (left && (!left->user || !machine.cfg.with_asids)) /* nothing of it carries a tag */
		tlb_flush_all(left, self.cpu);
	if (s && s->user && machine.cfg.with_asids)
		check_tag(s);
	fake_unlock();
}

void arch_root_load(pfn_t root, uint32_t asid)
{
	struct arch_space *as = mmu_running[self.cpu];

	fake_cross();
	fake_lock();
	if (as && machine.cfg.with_asids)
		retag(as->fs);
	fake_cpu()->space = as ? as->fs : NULL;
	fake_unlock();
	fake_cross();
}

void arch_fence_asid(uint32_t asid)
{
	fake_lock();
	fake_cpu()->burnt[asid] = 0;
	for (struct fake_space *s = machine.spaces; asid && s; s = s->next)
		if (s->tag == asid)
			tlb_flush_all(s, self.cpu);
	fake_unlock();
	fake_cross();
}

void arch_flush_all(void)
{
	fake_lock();
	memset(fake_cpu()->burnt, 0, 1ul << machine.mmu.asid_bits);
	for (struct fake_space *s = machine.spaces; s; s = s->next)
		tlb_flush_all(s, self.cpu);
	fake_unlock();
	fake_cross();
}

/* ---- fetches --------------------------------------------------------------------------------- */

static void forget_fetched(unsigned cpu)
{
	machine.cpu[cpu].fences++;
}

void arch_fence_i(void)
{
	fake_lock();
	forget_fetched(self.cpu);
	fake_unlock();
}

/* By the firmware, which has no interrupts to wait for. */
void arch_fence_i_others(uint64_t cpus)
{
	fake_cross();
	fake_lock();
	for (unsigned cpu = 0; cpu < machine.cfg.cpus; cpu++)
		if (cpus >> cpu & 1)
			forget_fetched(cpu);
	fake_unlock();
}

uint8_t tags_fetch(phys_addr_t pa)
{
	const uint8_t *now = hal_phys_to_virt(pa);
	phys_addr_t line = pa & ~(phys_addr_t)(LINE - 1);
	struct fetched *f;

	if (!fake_cpu()->fetched)
		return __atomic_load_n(now, __ATOMIC_RELAXED);
	f = &fake_cpu()->fetched[line / LINE % LINES];
	if (f->line != line || f->fences != fake_cpu()->fences) {
		f->line = line;
		f->fences = fake_cpu()->fences;
		for (unsigned i = 0; i < LINE; i++)
			f->bytes[i] = __atomic_load_n((uint8_t *)hal_phys_to_virt(line) + i, __ATOMIC_RELAXED);
	}
	if (f->bytes[pa - line] != *now && books_is_synced(pa >> ARCH_PAGE_SHIFT)) {
		fake_accuse(FAKE_STALE_CODE, "CPU %u fetches from %#llx what was there before hal_icache_sync()",
			    self.cpu, (unsigned long long)pa);
		f->bytes[pa - line] = *now;
	}
	return f->bytes[pa - line];
}
