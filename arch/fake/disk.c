/* SPDX-License-Identifier: MIT */
/*
 * The fake machine's disks and their interrupts: virtio-blk 1.0 over memory-mapped registers, written
 * from the specification and not from the driver. Register accesses come in by hal_reg_*(); the
 * device takes chains when it is notified, and carries them out when their time has come: data, answer,
 * used ring, interrupt. It accuses a driver that hands it what no device could take.
 *
 * A disk has two contents: what a reader gets, and what would be left without power. A flush makes
 * them equal.
 *
 * machine.lock protects all of it; interrupt handlers are called without.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "arch/fake/fake_disk.h"
#include "arch/fake/machine.h"
#include "arch/hal_kernel.h"
#include <quire/abi.h>

#define SECTOR 512u
#define QUEUE_MAX 256u
#define MAX_SEGMENTS 130
#define LATENCY_NS 20000u
#define REGS_PHYS (1ull << 52)
#define REGS_SIZE 0x200u
#define REGS_VA (1ull << 62) /* not canonical: a plain access faults */

#define F_VERSION_1 (1ull << 32)
#define F_INDIRECT (1ull << 28)
#define F_SEG_MAX (1ull << 2)
#define F_RO (1ull << 5)
#define F_FLUSH (1ull << 9)

struct segment {
	phys_addr_t pa;
	uint32_t len;
	bool write; /* by the device */
};

struct op {
	uint16_t head;
	unsigned n;
	struct segment seg[MAX_SEGMENTS];
	uint64_t due, number;
};

struct disk {
	struct fake_disk_config cfg;
	uint8_t *now, *durable;
	bool own; /* durable is ours */
	bool dead;
	struct fake_disk_counters count;

	uint32_t status, features_sel, driver_features_sel, queue_sel, queue_num, ready, isr;
	uint64_t driver_features, desc, avail, used;
	uint16_t last_avail, used_idx;
	struct op ops[QUEUE_MAX];
	unsigned nops;
	uint64_t number;

	/* accidents: counted down, or in force */
	uint64_t fail, fail_kind[3], tear, lie_id, lie_twice, lie_count, mute;
	uint64_t bad_sector, slow;
	bool fail_all, stall, reversed;

	void (*irq_fn)(void *arg);
	void *irq_arg;
};

static struct disk *disks[FAKE_MAX_DISKS];
static unsigned ndisks;

/* ---- contents -------------------------------------------------------------------------------- */

static uint64_t bytes_of(const struct disk *d)
{
	return d->cfg.sectors * SECTOR;
}

static uint8_t *contents(uint64_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void disks_end(void)
{
	while (ndisks) {
		struct disk *d = disks[--ndisks];

		/* turned off in order: what is in its cache is kept */
		if (!d->own && !d->dead && d->now != d->durable)
			memcpy(d->durable, d->now, bytes_of(d));
		if (d->own || d->now != d->durable)
			munmap(d->now, bytes_of(d));
		if (d->own && d->now != d->durable)
			munmap(d->durable, bytes_of(d));
		free(d);
		disks[ndisks] = NULL;
	}
}

static void devices(void);
static uint64_t next_event(void);
static void idle(void);

int fake_disk_add(const struct fake_disk_config *cfg)
{
	struct disk *d = calloc(1, sizeof(*d));

	if (!d || !machine.up || ndisks == FAKE_MAX_DISKS || !cfg->sectors) {
		free(d);
		return -1;
	}
	d->cfg = *cfg;
	d->slow = 1;
	d->bad_sector = UINT64_MAX;
	if (!d->cfg.latency_ns)
		d->cfg.latency_ns = LATENCY_NS;
	if (!d->cfg.queue_size)
		d->cfg.queue_size = QUEUE_MAX;
	d->own = !cfg->image;
	d->durable = d->own ? contents(bytes_of(d)) : cfg->image;
	d->now = cfg->no_cache ? d->durable : contents(bytes_of(d));
	if (!d->now || !d->durable)
		abort();
	if (!d->own && d->now != d->durable)
		memcpy(d->now, d->durable, bytes_of(d));
	disks[ndisks++] = d;
	machine.on_destroy = disks_end;
	machine.on_devices = devices;
	machine.next_event = next_event;
	machine.on_idle = idle;
	return (int)ndisks - 1;
}

void fake_disk_peek(unsigned disk, uint64_t sector, void *buf, unsigned sectors)
{
	fake_lock();
	memcpy(buf, disks[disk]->now + sector * SECTOR, (size_t)sectors * SECTOR);
	fake_unlock();
}

void fake_disk_poke(unsigned disk, uint64_t sector, const void *buf, unsigned sectors)
{
	fake_lock();
	memcpy(disks[disk]->now + sector * SECTOR, buf, (size_t)sectors * SECTOR);
	memmove(disks[disk]->durable + sector * SECTOR, buf, (size_t)sectors * SECTOR);
	fake_unlock();
}

const struct fake_disk_counters *fake_disk_counters(unsigned disk)
{
	return &disks[disk]->count;
}

/* ---- accidents ------------------------------------------------------------------------------- */

bool fake_disk_accident(unsigned disk, const char *name, uint64_t value)
{
	struct disk *d = disks[disk];
	const struct {
		const char *name;
		uint64_t *count;
		bool *flag;
	} accidents[] = {
		{"fail", &d->fail, NULL},
		{"fail-reads", &d->fail_kind[0], NULL},
		{"fail-writes", &d->fail_kind[1], NULL},
		{"fail-flushes", &d->fail_kind[2], NULL},
		{"fail-all", NULL, &d->fail_all},
		{"bad-sector", &d->bad_sector, NULL},
		{"slow", &d->slow, NULL},
		{"stall", NULL, &d->stall},
		{"reversed", NULL, &d->reversed},
		{"tear", &d->tear, NULL},
		{"lie-id", &d->lie_id, NULL},
		{"lie-twice", &d->lie_twice, NULL},
		{"lie-count", &d->lie_count, NULL},
		{"mute", &d->mute, NULL},
	};

	for (size_t i = 0; i < sizeof(accidents) / sizeof(accidents[0]); i++) {
		if (strcmp(accidents[i].name, name))
			continue;
		fake_lock();
		if (accidents[i].count)
			*accidents[i].count = value;
		else
			*accidents[i].flag = value != 0;
		fake_unlock();
		return true;
	}
	return false;
}

/* It happens now, if it was ordered for the n-th time and this is it. */
static bool happens(uint64_t *count)
{
	return *count && --*count == 0;
}

/* ---- requests -------------------------------------------------------------------------------- */

static void *ram(phys_addr_t pa)
{
	return hal_phys_to_virt(pa);
}

/* The memory of a request is the disk's until it ends. */
static void hold_frames(const struct op *o, int delta)
{
	for (unsigned i = 0; i < o->n; i++) {
		uint64_t last = (o->seg[i].pa + o->seg[i].len - 1) >> ARCH_PAGE_SHIFT;

		for (uint64_t pfn = o->seg[i].pa >> ARCH_PAGE_SHIFT; pfn <= last; pfn++) {
			struct frame *f = fake_frame(pfn);

			if (f)
				f->dma += delta;
		}
	}
}

static bool bad_chain(const char *why)
{
	fake_accuse(FAKE_BAD_CALL, "a disk gets a request that %s", why);
	return false;
}

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

/* The table that the chain at head lies in, of *size entries, and where in it it begins. NULL: it was
 * accused. */
static const struct desc *find_table(struct disk *d, unsigned head, unsigned *size, unsigned *at)
{
	const struct desc *ring = ram(d->desc), *e;

	*size = d->queue_num;
	*at = head;
	if (head >= d->queue_num || !(ring[head].flags & 4))
		return ring;
	e = &ring[head];
	*size = e->len / sizeof(*e);
	*at = 0;
	if (!(d->driver_features & F_INDIRECT) || e->flags != 4 || !e->len || e->len % sizeof(*e) ||
	    !fake_is_ram(e->addr, e->len)) {
		bad_chain("has a table that cannot be");
		return NULL;
	}
	return ram(e->addr);
}

/* Takes the chain at head apart. */
static bool read_chain(struct disk *d, struct op *o)
{
	unsigned at, size;
	const struct desc *table = find_table(d, o->head, &size, &at);

	for (o->n = 0; table; o->n++) {
		struct segment *s = &o->seg[o->n];

		if (at >= size)
			return bad_chain("leaves the table of descriptors");
		if (o->n == MAX_SEGMENTS)
			return bad_chain("has too many pieces, or none that is the last");
		*s = (struct segment){table[at].addr, table[at].len, table[at].flags & 2};
		if (!s->len || !fake_is_ram(s->pa, s->len))
			return bad_chain("does not lie in memory");
		if (!(table[at].flags & 1))
			break;
		at = table[at].next;
	}
	if (!table)
		return false;
	o->n++;
	if (o->n < 2 || o->seg[0].len != 16 || o->seg[0].write || o->seg[o->n - 1].len != 1 ||
	    !o->seg[o->n - 1].write)
		return bad_chain("has no header or no place for the answer");
	if (d->cfg.seg_max && o->n - 2 > d->cfg.seg_max)
		return bad_chain("has more pieces than the disk takes");
	return true;
}

static void take_chains(struct disk *d)
{
	const uint16_t *avail = ram(d->avail);

	if (!d->ready || !(d->status & 4))
		return;
	d->count.notified++;
	while (d->last_avail != __atomic_load_n(&avail[1], __ATOMIC_ACQUIRE)) {
		struct op *o = &d->ops[d->nops];
		uint64_t mean = d->cfg.latency_ns * d->slow;

		if (d->nops == QUEUE_MAX) {
			bad_chain("does not fit into its queue");
			return;
		}
		o->head = avail[2 + d->last_avail++ % d->queue_num];
		o->number = ++d->number;
		o->due = machine.clock_ns + mean / 2 + fake_random() % (mean + 1);
		if (!read_chain(d, o))
			continue;
		hold_frames(o, 1);
		d->nops++;
		d->count.under_way = d->nops;
		if (d->nops > d->count.most_under_way)
			d->count.most_under_way = d->nops;
	}
}

static uint32_t data_bytes(const struct op *o)
{
	uint32_t n = 0;

	for (unsigned i = 1; i + 1 < o->n; i++)
		n += o->seg[i].len;
	return n;
}

/* Moves up to n bytes between the disk and the pieces. */
static void move_data(struct disk *d, const struct op *o, uint64_t sector, uint32_t n, bool to_disk)
{
	uint8_t *at = d->now + sector * SECTOR;

	for (unsigned i = 1; i + 1 < o->n && n; i++) {
		uint32_t part = o->seg[i].len < n ? o->seg[i].len : n;

		if (o->seg[i].write == to_disk)
			bad_chain("turns a piece the wrong way");
		else if (to_disk)
			memcpy(at, ram(o->seg[i].pa), part);
		else
			memcpy(ram(o->seg[i].pa), at, part);
		at += part;
		n -= part;
	}
}

/* What the disk answers: 0 done, 1 failed, 2 it does not know that. */
static uint8_t carry_out(struct disk *d, const struct op *o)
{
	struct {
		uint32_t type, reserved;
		uint64_t sector;
	} h;
	uint32_t n = data_bytes(o);
	unsigned kind;
	bool fails, torn;

	memcpy(&h, ram(o->seg[0].pa), sizeof(h));
	if (h.type != 0 && h.type != 1 && h.type != 4)
		return 2;
	kind = h.type == 4 ? 2 : h.type;
	fails = d->fail_all;
	fails |= happens(&d->fail);
	fails |= happens(&d->fail_kind[kind]);
	torn = kind == 1 && happens(&d->tear);
	if (kind == 2) {
		d->count.flushes++;
		if (!fails && !d->cfg.no_cache)
			memcpy(d->durable, d->now, bytes_of(d));
		return fails;
	}
	if (n % SECTOR || !n || h.sector > d->cfg.sectors || n / SECTOR > d->cfg.sectors - h.sector) {
		bad_chain("lies beyond its end, or is no whole number of sectors");
		return 1;
	}
	fails |= d->bad_sector >= h.sector && d->bad_sector - h.sector < n / SECTOR;
	fails |= kind == 1 && d->cfg.read_only;
	if (torn)
		move_data(d, o, h.sector, n / SECTOR / 2 * SECTOR, true);
	if (fails || torn)
		return 1;
	move_data(d, o, h.sector, n, kind == 1);
	if (kind == 1) {
		d->count.writes++;
		d->count.sectors_written += n / SECTOR;
		d->count.most_write = n > d->count.most_write ? n : d->count.most_write;
	} else {
		d->count.reads++;
		d->count.sectors_read += n / SECTOR;
		d->count.most_read = n > d->count.most_read ? n : d->count.most_read;
	}
	return 0;
}

struct used {
	uint16_t flags, idx;
	struct {
		uint32_t id, len;
	} ring[];
};

static void put_used(struct disk *d, uint32_t id, uint32_t len)
{
	struct used *used = ram(d->used);

	used->ring[d->used_idx % d->queue_num].id = id;
	used->ring[d->used_idx % d->queue_num].len = len;
	d->used_idx++;
	__atomic_store_n(&used->idx, d->used_idx, __ATOMIC_RELEASE);
}

/* Takes the i-th out of those under way and ends it. */
static void end_op(struct disk *d, unsigned i)
{
	struct op o = d->ops[i];
	uint8_t answer = carry_out(d, &o);
	bool twice = happens(&d->lie_twice);

	for (unsigned k = 0; k < d->nops; k++)
		d->count.overtaken += k != i && d->ops[k].number < o.number;
	memmove(&d->ops[i], &d->ops[i + 1], (--d->nops - i) * sizeof(o));
	d->count.under_way = d->nops;
	d->count.failed += answer != 0;
	hold_frames(&o, -1);
	if (!happens(&d->mute))
		*(uint8_t *)ram(o.seg[o.n - 1].pa) = answer;
	if (happens(&d->lie_id))
		o.head = (uint16_t)(o.head ^ 0x7f5);
	if (happens(&d->lie_count))
		d->used_idx = (uint16_t)(d->used_idx + d->queue_num + 1);
	put_used(d, o.head, data_bytes(&o));
	if (twice)
		put_used(d, o.head, data_bytes(&o));
	d->isr |= 1;
}

/* Ends what has come due: the first in time, or in reverse all that is there. */
static void run_disk(struct disk *d)
{
	unsigned first = 0;

	while (d->nops && !d->stall) {
		for (unsigned i = first = 0; i < d->nops; i++)
			if (d->ops[i].due < d->ops[first].due)
				first = i;
		if (d->ops[first].due > machine.clock_ns)
			return;
		if (!d->reversed)
			end_op(d, first);
		while (d->reversed && d->nops)
			end_op(d, d->nops - 1);
	}
}

void fake_disk_power_cut(unsigned disk)
{
	struct disk *d = disks[disk];

	fake_lock();
	for (; d->nops; d->nops--) {
		struct op *o = &d->ops[d->nops - 1];
		uint32_t n = data_bytes(o);

		if (n && !o->seg[1].write)
			move_data(d, o, *(uint64_t *)((char *)ram(o->seg[0].pa) + 8),
				  fake_random() % (n / SECTOR + 1) * SECTOR, true);
		hold_frames(o, -1);
	}
	for (uint64_t s = 0; s < d->cfg.sectors; s++) {
		uint8_t *now = d->now + s * SECTOR, *left = d->durable + s * SECTOR;

		if (memcmp(now, left, SECTOR) && fake_random() % 2)
			memcpy(left, now, SECTOR);
	}
	if (d->now != d->durable)
		memcpy(d->now, d->durable, bytes_of(d));
	d->dead = true;
	d->ready = 0;
	d->isr = 0;
	fake_unlock();
}

/* ---- registers ------------------------------------------------------------------------------- */

static struct disk *disk_at(phys_addr_t pa, unsigned *off)
{
	uint64_t n = (pa - REGS_PHYS) / FAKE_PAGE;

	*off = (unsigned)((pa - REGS_PHYS) % FAKE_PAGE);
	return pa >= REGS_PHYS && n < ndisks && *off < REGS_SIZE ? disks[n] : NULL;
}

static uint64_t features(const struct disk *d)
{
	return F_VERSION_1 | (d->cfg.read_only ? F_RO : 0) | (d->cfg.no_cache ? 0 : F_FLUSH) |
	       (d->cfg.seg_max ? F_SEG_MAX : 0) | (d->cfg.no_tables ? 0 : F_INDIRECT);
}

static uint32_t config_word(const struct disk *d, unsigned off)
{
	uint32_t words[4] = {(uint32_t)d->cfg.sectors, (uint32_t)(d->cfg.sectors >> 32), 0,
			     d->cfg.seg_max};

	return off / 4 < 4 ? words[off / 4] : 0;
}

static uint32_t reg_read(const struct disk *d, unsigned off)
{
	switch (off) {
	case 0x000:
		return 0x74726976;
	case 0x004:
		return d->cfg.old ? 1 : 2;
	case 0x008:
		return d->dead ? 0 : 2;
	case 0x010:
		return d->features_sel > 1 ? 0 : (uint32_t)(features(d) >> 32 * d->features_sel);
	case 0x034:
		return d->queue_sel ? 0 : d->cfg.queue_size;
	case 0x044:
		return d->queue_sel ? 0 : d->ready;
	case 0x060:
		return d->isr;
	case 0x070:
		return d->status;
	default:
		return off >= 0x100 ? config_word(d, off - 0x100) : 0;
	}
}

static void reset(struct disk *d)
{
	for (; d->nops; d->nops--)
		hold_frames(&d->ops[d->nops - 1], -1);
	d->status = d->features_sel = d->driver_features_sel = d->queue_sel = 0;
	d->queue_num = d->ready = d->isr = 0;
	d->driver_features = d->desc = d->avail = d->used = 0;
	d->last_avail = d->used_idx = 0;
	d->count.under_way = 0;
}

static void set_status(struct disk *d, uint32_t v)
{
	if (!v) {
		reset(d);
		return;
	}
	if ((v & 8) && !(d->status & 8) &&
	    (d->driver_features & ~features(d) || !(d->driver_features & F_VERSION_1)))
		v &= ~8u;
	d->status = v;
}

static void set_half(uint64_t *at, bool high, uint32_t v)
{
	*at = high ? (*at & 0xffffffffu) | (uint64_t)v << 32 : (*at & ~0xffffffffull) | v;
}

static void queue_ready(struct disk *d, uint32_t v)
{
	if (v && (!d->queue_num || d->queue_num > d->cfg.queue_size ||
		  d->queue_num & (d->queue_num - 1) || d->desc % 16 || d->avail % 2 || d->used % 4 ||
		  !fake_is_ram(d->desc, 16ull * d->queue_num) ||
		  !fake_is_ram(d->avail, 6 + 2ull * d->queue_num) ||
		  !fake_is_ram(d->used, 6 + 8ull * d->queue_num) || !(d->status & 8)))
		fake_accuse(FAKE_BAD_CALL, "a disk's queue of %u entries cannot be", d->queue_num);
	else
		d->ready = v;
}

static void reg_write(struct disk *d, unsigned off, uint32_t v)
{
	switch (off) {
	case 0x014:
		d->features_sel = v;
		break;
	case 0x020:
		if (d->driver_features_sel < 2)
			set_half(&d->driver_features, d->driver_features_sel, v);
		break;
	case 0x024:
		d->driver_features_sel = v;
		break;
	case 0x030:
		d->queue_sel = v;
		break;
	case 0x038:
		d->queue_num = v;
		break;
	case 0x044:
		queue_ready(d, v);
		break;
	case 0x050:
		take_chains(d);
		break;
	case 0x064:
		d->isr &= ~v;
		break;
	case 0x070:
		set_status(d, v);
		break;
	case 0x080:
	case 0x084:
		set_half(&d->desc, off & 4, v);
		break;
	case 0x090:
	case 0x094:
		set_half(&d->avail, off & 4, v);
		break;
	case 0x0a0:
	case 0x0a4:
		set_half(&d->used, off & 4, v);
		break;
	default:
		fake_accuse(FAKE_BAD_CALL, "a disk has no register at %#x to write to", off);
	}
}

/* ---- the contract: devices ------------------------------------------------------------------- */

void hal_devices(void (*fn)(const struct hal_device *d, void *ctx), void *ctx)
{
	for (unsigned i = 0; i < ndisks; i++)
		fn(&(struct hal_device){.kind = HAL_VIRTIO_MMIO, .size = REGS_SIZE, .irq = i + 1,
					.regs = REGS_PHYS + i * FAKE_PAGE}, ctx);
}

void *hal_map_device(phys_addr_t pa, uint64_t size)
{
	return (void *)(uintptr_t)(REGS_VA + pa);
}

uint32_t hal_reg_read(const void *reg, unsigned width)
{
	unsigned off;
	struct disk *d = disk_at((uintptr_t)reg - REGS_VA, &off);
	uint32_t v = 0;

	if (!d || width != 4 || off % 4) {
		fake_accuse(FAKE_BAD_CALL, "a read of %u bytes at register %p", width, reg);
		return 0;
	}
	fake_lock();
	v = reg_read(d, off);
	fake_unlock();
	return v;
}

void hal_reg_write(void *reg, unsigned width, uint32_t v)
{
	unsigned off;
	struct disk *d = disk_at((uintptr_t)reg - REGS_VA, &off);

	if (!d || width != 4 || off % 4) {
		fake_accuse(FAKE_BAD_CALL, "a write of %u bytes at register %p", width, reg);
		return;
	}
	fake_lock();
	if (!d->dead)
		reg_write(d, off, v);
	else if (off == 0x070 && !v)
		reset(d); /* without power it is quiet at once */
	fake_unlock();
}

int hal_irq_request(unsigned irq, void (*fn)(void *arg), void *arg)
{
	if (!irq || irq > ndisks)
		return -EINVAL;
	if (disks[irq - 1]->irq_fn)
		return -EBUSY;
	fake_lock();
	disks[irq - 1]->irq_fn = fn;
	disks[irq - 1]->irq_arg = arg;
	fake_unlock();
	return 0;
}

int hal_msi_request(void (*fn)(void *arg), void *arg, uint64_t *address, uint32_t *data)
{
	return -ENOSPC;
}

void hal_irq_free(unsigned irq)
{
	fake_lock();
	disks[irq - 1]->irq_fn = NULL;
	fake_unlock();
}

/* ---- time ------------------------------------------------------------------------------------ */

/* The disk whose line is up, after everything that is due has ended; NULL: none. Locked. */
static struct disk *line_up(void)
{
	struct disk *up = NULL;

	for (unsigned i = 0; i < ndisks; i++) {
		run_disk(disks[i]);
		if (!up && disks[i]->isr && disks[i]->irq_fn)
			up = disks[i];
	}
	if (up)
		up->count.interrupts++;
	return up;
}

/* Calls the handler of a line that is up. from: how the machine gets into one. */
static bool interrupt(void (*from)(void (*fn)(void *arg), void *arg))
{
	void (*fn)(void *arg) = NULL;
	void *arg = NULL;
	struct disk *d;

	fake_lock();
	d = line_up();
	if (d) {
		fn = d->irq_fn;
		arg = d->irq_arg;
	}
	fake_unlock();
	if (fn)
		from(fn, arg);
	return fn != NULL;
}

static void plainly(void (*fn)(void *arg), void *arg)
{
	bool was_off = self.irqs_off;

	self.in_irq = true;
	self.irqs_off = true;
	fn(arg);
	self.irqs_off = was_off;
	self.in_irq = false;
}

static void devices(void)
{
	(void)interrupt(machine.on_device_irq ? machine.on_device_irq : plainly);
}

/* When something will happen by itself; UINT64_MAX: nothing will. */
static uint64_t next_event(void)
{
	uint64_t at = UINT64_MAX;

	fake_lock();
	for (unsigned i = 0; i < ndisks; i++) {
		const struct disk *d = disks[i];

		if (d->isr && d->irq_fn)
			at = 0;
		for (unsigned k = 0; k < d->nops && !d->stall; k++)
			at = d->ops[k].due < at ? d->ops[k].due : at;
	}
	fake_unlock();
	return at;
}

/* The CPU is idle, interrupts off, and lets one in. */
static void idle(void)
{
	(void)interrupt(plainly);
}
