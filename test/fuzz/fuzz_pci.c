/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as the configuration space of a virtio function, and any answers of its registers: the
 * driver ends, and touches nothing but that space and the part of a BAR that it has mapped.
 */
#include "fuzz.h"

#include "arch/hal_kernel.h"
#include "drivers/drivers.h"
#include "drivers/virtio.h"
#include <quire/abi.h>

#define CONFIG 4096u
#define MAPPED ((char *)0x100000)

static uint8_t config[CONFIG];
static uint64_t mapped; /* bytes behind MAPPED */
static uint64_t answers;

void drivers_log(const char *fmt, ...)
{
}

static uint8_t *place(const void *reg, unsigned width)
{
	const uint8_t *p = reg;

	if (p >= config && p < config + CONFIG) {
		FUZZ_CHECK(p + width <= config + CONFIG && (p - config) % width == 0);
		return (uint8_t *)p;
	}
	FUZZ_CHECK((const char *)reg >= MAPPED && (const char *)reg + width <= MAPPED + mapped);
	return NULL;
}

uint32_t hal_reg_read(const void *reg, unsigned width)
{
	const uint8_t *p = place(reg, width);
	uint32_t v = 0;

	answers = answers * 6364136223846793005ull + 1442695040888963407ull;
	if (p)
		memcpy(&v, p, width);
	else if (answers >> 63) /* else 0, as most are */
		v = (uint32_t)(answers >> 24);
	return width == 4 ? v : v & ((1u << 8 * width) - 1);
}

/* A BAR is 16 KiB long: the bits of its address below that stay, so are those of its kind. The last one
 * is the upper half of the one before. */
void hal_reg_write(void *reg, unsigned width, uint32_t v)
{
	uint8_t *p = place(reg, width);
	bool bar = p && p >= config + 0x10 && p < config + 0x24 && width == 4;

	if (bar)
		v = (v & ~0x3fffu) | (*p & 15);
	if (p)
		memcpy(p, &v, width);
}

void *hal_map_device(phys_addr_t pa, uint64_t size)
{
	FUZZ_CHECK(size);
	mapped = size > mapped ? size : mapped;
	return MAPPED;
}

int hal_msi_request(void (*fn)(void *arg), void *arg, uint64_t *address, uint32_t *data)
{
	*address = 0xfee00000;
	*data = 0x40;
	return 1;
}

void hal_irq_free(unsigned irq)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct pci_function f = {.config = (char *)config, .vendor = VIRTIO_PCI_VENDOR,
				       .device = VIRTIO_PCI_BLOCK};
	static struct virtqueue vq = {.size = 256};
	struct virtio_device vd;

	memset(config, 0, sizeof(config));
	memcpy(config, data, size < CONFIG ? size : CONFIG);
	mapped = 0;
	answers = size;
	if (virtio_pci_probe(&vd, &f))
		return 0;
	FUZZ_CHECK(vd.regs && vd.config_regs && vd.notify_reg);
	(void)vd.t->features(&vd);
	(void)vd.t->queue_max(&vd);
	if (vd.config_len >= 8)
		(void)vd.t->config(&vd, 0, 8);
	if (!vd.t->queue_start(&vd, &vq)) {
		vd.t->notify(&vd);
		vd.t->release(&vd);
	}
	return 0;
}
