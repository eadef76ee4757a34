/* SPDX-License-Identifier: MIT */
/*
 * RISC-V platform description from the device tree: RAM and what of it is taken, the command line,
 * the initramfs, the clock's rate, console and exit device. Runs once, on the boot page tables; RAM
 * comes from here and from no constant. A tree that makes no sense ends the boot with a line that
 * says why.
 */
#include "lib/string.h"
#include "riscv.h"
#include <quire/abi.h>

struct rv_platform rv_platform;

/* Boot loaders may list the initramfs itself under this name. */
static const char memreserve[] = "memreserve";

/* ---- ranges ---------------------------------------------------------------------------------- */

static void add_range(phys_addr_t start, phys_addr_t end, enum mem_range_kind kind,
		      const char *name, bool no_map)
{
	struct rv_platform *p = &rv_platform;

	if (start == end)
		return;
	if (p->nr_ranges == RV_MAX_RANGES)
		boot_die("more than %u memory ranges", RV_MAX_RANGES);
	p->ranges[p->nr_ranges++] =
		(struct rv_range){.r = {start, end, kind, name}, .no_map = no_map};
}

bool rv_is_ram(phys_addr_t a, uint64_t n)
{
	for (unsigned i = 0; i < rv_platform.nr_ranges; i++) {
		const struct mem_range *r = &rv_platform.ranges[i].r;

		if (r->kind == MEM_RAM && a >= r->start && a < r->end && n <= r->end - a)
			return true;
	}
	return false;
}

/* A bank of RAM. One that overlaps others makes one with them: RAM told twice is RAM once. */
static void add_bank(phys_addr_t start, phys_addr_t end, const char *node)
{
	struct rv_platform *p = &rv_platform;

	for (unsigned i = 0; i < p->nr_ranges;) {
		const struct mem_range *r = &p->ranges[i].r;

		if (r->kind != MEM_RAM || r->start >= end || start >= r->end) {
			i++;
			continue;
		}
		boot_log("device tree: /%s: [0x%lx, 0x%lx) overlaps [0x%lx, 0x%lx), taken as one bank",
		       node, start, end, r->start, r->end);
		start = min(start, r->start);
		end = max(end, r->end);
		p->ranges[i] = p->ranges[--p->nr_ranges];
		i = 0; /* wider now: it may reach another one */
	}
	add_range(start, end, MEM_RAM, "RAM", false);
}

/* The range of another kind than RAM that overlaps [start, end), or NULL; those called but do not
 * count. */
static const struct mem_range *taken_but(phys_addr_t start, phys_addr_t end, const char *but)
{
	for (unsigned i = 0; i < rv_platform.nr_ranges; i++) {
		const struct mem_range *r = &rv_platform.ranges[i].r;

		if (r->kind != MEM_RAM && r->name != but && r->start < end && start < r->end)
			return r;
	}
	return NULL;
}

static const struct mem_range *taken(phys_addr_t start, phys_addr_t end)
{
	return taken_but(start, end, NULL);
}

/* The highest free place of a bank below limit; UINT64_MAX if there is none. */
static phys_addr_t place_in(const struct mem_range *bank, uint64_t size, phys_addr_t limit)
{
	phys_addr_t end = ALIGN_DOWN(min(bank->end, limit), PAGE_SIZE);

	while (end >= bank->start && end - bank->start >= size) {
		const struct mem_range *r = taken(end - size, end);

		if (!r)
			return end - size;
		if (r->start < size)
			break;
		end = ALIGN_DOWN(r->start, PAGE_SIZE);
	}
	return UINT64_MAX;
}

void rv_clip_ram(phys_addr_t limit)
{
	for (unsigned i = 0; i < rv_platform.nr_ranges; i++) {
		struct mem_range *r = &rv_platform.ranges[i].r;

		if (r->kind != MEM_RAM || r->end <= limit)
			continue;
		boot_log("RAM [0x%lx, 0x%lx) is beyond what these page tables reach",
		       max(r->start, limit), r->end);
		r->end = limit;
		r->start = min(r->start, limit);
	}
}

/* Page tables are many single pages: they grow one range downward, not one each. */
static void record_alloc(phys_addr_t at, uint64_t size, enum mem_range_kind kind, const char *name)
{
	for (unsigned i = 0; i < rv_platform.nr_ranges; i++) {
		struct mem_range *r = &rv_platform.ranges[i].r;

		if (r->kind == kind && r->name == name && r->start == at + size) {
			r->start = at;
			return;
		}
	}
	add_range(at, at + size, kind, name, false);
}

phys_addr_t rv_boot_alloc(uint64_t size, enum mem_range_kind kind, const char *name,
			  phys_addr_t limit)
{
	phys_addr_t best = UINT64_MAX;

	size = ALIGN_UP(size, PAGE_SIZE);
	for (unsigned i = 0; i < rv_platform.nr_ranges; i++) {
		const struct mem_range *r = &rv_platform.ranges[i].r;
		phys_addr_t at;

		if (r->kind != MEM_RAM)
			continue;
		at = place_in(r, size, limit);
		if (at != UINT64_MAX && (best == UINT64_MAX || at > best))
			best = at;
	}
	if (best != UINT64_MAX)
		record_alloc(best, size, kind, name);
	return best;
}

/* ---- the tree -------------------------------------------------------------------------------- */

static bool is_memory(const struct dtb *d, dtb_node n)
{
	const char *type = dtb_string(d, n, "device_type");
	const char *status = dtb_string(d, n, "status");

	return type && !strcmp(type, "memory") &&
	       (!status || !strcmp(status, "okay") || !strcmp(status, "ok"));
}

static void read_banks(const struct dtb *d)
{
	uint64_t start, size;
	bool any = false;

	for (dtb_node n = dtb_first_child(d, dtb_root(d)); n >= 0; n = dtb_next_sibling(d, n)) {
		int err = 0;

		for (unsigned i = 0; is_memory(d, n) && !err; i++) {
			err = dtb_reg(d, n, "reg", i, &start, &size);
			if (err || !size)
				continue;
			add_bank(start, start + size, dtb_name(d, n));
			any = true;
		}
		if (err == -EINVAL)
			boot_die("device tree: /%s: reg makes no sense", dtb_name(d, n));
	}
	if (!any)
		boot_die("device tree: no memory");
}

static void read_reserved(const struct dtb *d)
{
	dtb_node n = dtb_path(d, "/reserved-memory");
	uint64_t start, size;

	for (unsigned i = 0; dtb_reservation(d, i, &start, &size); i++)
		add_range(start, start + size, MEM_RESERVED, memreserve, false);
	for (n = dtb_first_child(d, n); n >= 0; n = dtb_next_sibling(d, n)) {
		int err = 0;

		/*
		 * A child with a size but no reg asks for memory, it does not say where. Firmware
		 * guards its own with PMP whether or not it says no-map: nothing here is mapped.
		 */
		for (unsigned i = 0; !err; i++) {
			err = dtb_reg(d, n, "reg", i, &start, &size);
			if (!err)
				add_range(start, start + size, MEM_RESERVED, "reserved-memory",
					  true);
		}
		if (err == -EINVAL)
			boot_die("device tree: /reserved-memory/%s: reg makes no sense",
			       dtb_name(d, n));
	}
}

/* Firmware that does not say where it lies: what is below us in our bank is taken for it. */
static void reserve_firmware(phys_addr_t image)
{
	for (unsigned i = 0; i < rv_platform.nr_ranges; i++) {
		struct mem_range bank = rv_platform.ranges[i].r;

		if (bank.kind == MEM_RAM && image > bank.start && image < bank.end &&
		    !taken(bank.start, image))
			add_range(bank.start, image, MEM_RESERVED, "firmware", true);
	}
}

static void read_initrd(const struct dtb *d, dtb_node chosen)
{
	struct rv_platform *p = &rv_platform;
	const struct mem_range *r;
	uint64_t start, end;

	if (dtb_number(d, chosen, "linux,initrd-start", &start) ||
	    dtb_number(d, chosen, "linux,initrd-end", &end) || start == end)
		return;
	if (end < start || !rv_is_ram(start, end - start))
		boot_die("initramfs [0x%lx, 0x%lx) is not in RAM", start, end);
	r = taken_but(start, end, memreserve);
	if (r)
		boot_die("initramfs [0x%lx, 0x%lx) runs into %s [0x%lx, 0x%lx): give more memory",
		       start, end, r->name, r->start, r->end);
	p->initrd_start = start;
	p->initrd_end = end;
	add_range(start, end, MEM_BOOT_DATA, "initramfs", false);
}

static void read_chosen(const struct dtb *d)
{
	dtb_node n = dtb_path(d, "/chosen");
	const char *args = dtb_string(d, n, "bootargs");
	uint32_t len = 0;
	const uint8_t *seed = dtb_prop(d, n, "rng-seed", &len);

	if (args && strscpy(rv_platform.cmdline, args, sizeof(rv_platform.cmdline)) < 0)
		boot_die("command line is longer than %zu bytes", sizeof(rv_platform.cmdline));
	for (uint32_t i = 0; seed && i < len; i++)
		rv_platform.seed = (rv_platform.seed ^ seed[i]) * 0x100000001b3ull;
	read_initrd(d, n);
}

/* "rv64imafdc_..." : the letters up to the first underscore. */
static void read_isa(const struct dtb *d, dtb_node cpu)
{
	const char *isa = dtb_string(d, cpu, "riscv,isa");

	if (!isa || strncmp(isa, "rv64", 4))
		boot_die("device tree: /cpus/%s: riscv,isa is not rv64...", dtb_name(d, cpu));
	for (isa += 4; *isa >= 'a' && *isa <= 'z'; isa++)
		if (strchr("imafdc", *isa))
			rv_platform.hwcap |= 1ul << (*isa - 'a');
}

static void read_cpus(const struct dtb *d)
{
	dtb_node cpus = dtb_path(d, "/cpus");
	uint64_t hart, size;

	if (dtb_number(d, cpus, "timebase-frequency", &rv_platform.timebase) ||
	    !rv_platform.timebase)
		boot_die("device tree: /cpus: no timebase-frequency");
	for (dtb_node n = dtb_first_child(d, cpus); n >= 0; n = dtb_next_sibling(d, n)) {
		if (!dtb_reg(d, n, "reg", 0, &hart, &size) && hart < 64) {
			rv_platform.harts |= 1ull << hart;
			if (hart == rv_platform.boot_hart)
				read_isa(d, n);
		}
	}
	if (!rv_platform.hwcap)
		boot_die("device tree: /cpus: hart %u is not there", rv_platform.boot_hart);
}

/* The address of the first device that is one of names, in physical memory; 0: none. */
static phys_addr_t find_device(const struct dtb *d, const char *name, dtb_node *node)
{
	uint64_t addr, size;

	for (dtb_node n = dtb_compatible(d, DTB_NONE, name); n >= 0;
	     n = dtb_compatible(d, n, name)) {
		if (dtb_reg(d, n, "reg", 0, &addr, &size) || dtb_translate(d, n, &addr))
			continue;
		*node = n;
		return addr;
	}
	return 0;
}

static void read_devices(const struct dtb *d)
{
	struct rv_platform *p = &rv_platform;
	uint64_t shift = 0;
	dtb_node n;

	p->uart = find_device(d, "ns16550a", &n);
	if (!p->uart)
		p->uart = find_device(d, "ns16550", &n);
	if (p->uart && !dtb_number(d, n, "reg-shift", &shift) && shift <= 2)
		p->uart_shift = (unsigned)shift;
	p->test = find_device(d, "sifive,test0", &n);
}

/* ---- interrupts, and the devices that have them ------------------------------------------------ */

#define IRQ_S_EXTERNAL 9

static uint32_t cell(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The phandle of the boot hart's own interrupt controller; 0: it has none. */
static uint64_t hart_intc(const struct dtb *d)
{
	uint64_t hart, size, phandle;

	for (dtb_node n = dtb_first_child(d, dtb_path(d, "/cpus")); n >= 0;
	     n = dtb_next_sibling(d, n)) {
		if (dtb_reg(d, n, "reg", 0, &hart, &size) || hart != rv_platform.boot_hart)
			continue;
		for (dtb_node c = dtb_first_child(d, n); c >= 0; c = dtb_next_sibling(d, c))
			if (dtb_string_in(d, c, "compatible", "riscv,cpu-intc") &&
			    !dtb_number(d, c, "phandle", &phandle))
				return phandle;
	}
	return 0;
}

/* The controller's n-th pair of interrupts-extended is its context n: a hart's controller, and which
 * interrupt of it. Without our hart's there is no controller for us. */
static void read_plic(const struct dtb *d)
{
	struct rv_platform *p = &rv_platform;
	uint64_t intc = hart_intc(d), sources = 0;
	const uint8_t *pairs;
	phys_addr_t at;
	uint32_t len = 0;
	dtb_node n;

	at = find_device(d, "sifive,plic-1.0.0", &n);
	if (!at)
		at = find_device(d, "riscv,plic0", &n);
	if (!at || !intc || dtb_number(d, n, "riscv,ndev", &sources))
		return;
	pairs = dtb_prop(d, n, "interrupts-extended", &len);
	for (uint32_t i = 0; pairs && i + 8 <= len; i += 8) {
		if (cell(pairs + i) != intc || cell(pairs + i + 4) != IRQ_S_EXTERNAL)
			continue;
		p->plic = at;
		p->plic_context = i / 8;
		p->plic_sources = (unsigned)sources;
		return;
	}
}

static void add_virtio(phys_addr_t regs, uint64_t size, unsigned irq)
{
	struct rv_platform *p = &rv_platform;
	unsigned i = p->nr_virtio++;

	for (; i && p->virtio[i - 1].regs > regs; i--)
		p->virtio[i] = p->virtio[i - 1];
	p->virtio[i] = (struct rv_virtio){regs, size, irq};
}

static void read_virtio(const struct dtb *d)
{
	uint64_t regs, size;
	uint32_t len;

	for (dtb_node n = dtb_compatible(d, DTB_NONE, "virtio,mmio"); n >= 0;
	     n = dtb_compatible(d, n, "virtio,mmio")) {
		const uint8_t *irq = dtb_prop(d, n, "interrupts", &len);

		if (!irq || len != 4 || dtb_reg(d, n, "reg", 0, &regs, &size) ||
		    dtb_translate(d, n, &regs))
			continue;
		if (rv_platform.nr_virtio == RV_MAX_VIRTIO) {
			boot_log("device tree: more than %u virtio devices", RV_MAX_VIRTIO);
			return;
		}
		add_virtio(regs, size, cell(irq));
	}
}

/* Reading the low half keeps the high one until it is read. */
#define GOLDFISH_LOW  0x00
#define GOLDFISH_HIGH 0x04
#define GOLDFISH_SIZE 0x1000

uint64_t hal_realtime_ns(void)
{
	char *regs = rv_platform.rtc ? hal_map_device(rv_platform.rtc, GOLDFISH_SIZE) : NULL;
	uint64_t low;

	if (!regs)
		return 0;
	low = hal_reg_read(regs + GOLDFISH_LOW, 4);
	return (uint64_t)hal_reg_read(regs + GOLDFISH_HIGH, 4) << 32 | low;
}

void hal_devices(void (*fn)(const struct hal_device *d, void *ctx), void *ctx)
{
	for (unsigned i = 0; i < rv_platform.nr_virtio; i++) {
		const struct rv_virtio *v = &rv_platform.virtio[i];

		fn(&(struct hal_device){.kind = HAL_VIRTIO_MMIO, .regs = v->regs, .size = v->size,
					.irq = v->irq}, ctx);
	}
}

/* ---- all of it ------------------------------------------------------------------------------- */

void rv_platform_init(phys_addr_t fdt, unsigned boot_hart)
{
	phys_addr_t image = hal_virt_to_phys(__image_start);
	struct dtb_error e;
	struct dtb d;
	dtb_node n;

	rv_platform.boot_hart = boot_hart;
	if (fdt >= RV_EARLY_DIRECT_SIZE)
		boot_die("device tree at 0x%lx is out of reach", fdt);
	if (dtb_open(&d, hal_phys_to_virt(fdt), RV_EARLY_DIRECT_SIZE - fdt, &e))
		boot_die("device tree at 0x%lx, byte %u: %s", fdt, e.at, e.why);
	read_devices(&d);
	rv_devices_early();
	read_banks(&d);
	read_reserved(&d);
	reserve_firmware(image);
	add_range(image, hal_virt_to_phys(__image_end), MEM_KERNEL, "kernel", false);
	add_range(fdt, fdt + d.size, MEM_RESERVED, "device tree", false);
	read_chosen(&d);
	read_cpus(&d);
	read_plic(&d);
	read_virtio(&d);
	rv_platform.rtc = find_device(&d, "google,goldfish-rtc", &n);
}

void hal_memory_ranges(void (*fn)(const struct mem_range *r, void *ctx), void *ctx)
{
	for (unsigned i = 0; i < rv_platform.nr_ranges; i++)
		fn(&rv_platform.ranges[i].r, ctx);
}
