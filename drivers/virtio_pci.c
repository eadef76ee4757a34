/* SPDX-License-Identifier: MIT */
/*
 * virtio over PCI (virtio 1.0, 4.1): the parts of its registers are named by capabilities, which say
 * in which BAR they lie. Interrupts are messages: none for changes of the configuration, message 0 for
 * the queue. Functions that have only the old registers are left alone.
 */
#include "drivers/virtio.h"

#include "arch/hal_kernel.h"
#include "drivers/drivers.h"
#include <quire/abi.h>

enum { CFG_COMMON = 1, CFG_NOTIFY = 2, CFG_DEVICE = 4 };

/* A capability. */
#define CAP_SIZE	16
#define CAP_LEN		2
#define CAP_TYPE	3
#define CAP_BAR		4
#define CAP_OFFSET	8
#define CAP_LENGTH	12
#define CAP_MULTIPLIER	16

enum { /* common registers */
	REG_DEVICE_FEATURES_SEL = 0x00,
	REG_DEVICE_FEATURES = 0x04,
	REG_DRIVER_FEATURES_SEL = 0x08,
	REG_DRIVER_FEATURES = 0x0c,
	REG_MSIX_CONFIG = 0x10,
	REG_STATUS = 0x14,
	REG_GENERATION = 0x15,
	REG_QUEUE_SEL = 0x16,
	REG_QUEUE_SIZE = 0x18,
	REG_QUEUE_MSIX = 0x1a,
	REG_QUEUE_ENABLE = 0x1c,
	REG_QUEUE_NOTIFY_OFF = 0x1e,
	REG_QUEUE_DESC = 0x20,
	REG_QUEUE_AVAIL = 0x28,
	REG_QUEUE_USED = 0x30,
	COMMON_SIZE = 0x38,
};

#define NO_VECTOR 0xffffu

static uint32_t get(struct virtio_device *vd, unsigned reg, unsigned width)
{
	return hal_reg_read(vd->regs + reg, width);
}

static void put(struct virtio_device *vd, unsigned reg, unsigned width, uint32_t v)
{
	hal_reg_write(vd->regs + reg, width, v);
}

static uint8_t vpci_status(struct virtio_device *vd)
{
	return (uint8_t)get(vd, REG_STATUS, 1);
}

static void vpci_set_status(struct virtio_device *vd, uint8_t status)
{
	put(vd, REG_STATUS, 1, status);
}

static uint64_t vpci_features(struct virtio_device *vd)
{
	uint64_t low;

	put(vd, REG_DEVICE_FEATURES_SEL, 4, 0);
	low = get(vd, REG_DEVICE_FEATURES, 4);
	put(vd, REG_DEVICE_FEATURES_SEL, 4, 1);
	return (uint64_t)get(vd, REG_DEVICE_FEATURES, 4) << 32 | low;
}

static void vpci_set_features(struct virtio_device *vd, uint64_t features)
{
	put(vd, REG_DRIVER_FEATURES_SEL, 4, 0);
	put(vd, REG_DRIVER_FEATURES, 4, (uint32_t)features);
	put(vd, REG_DRIVER_FEATURES_SEL, 4, 1);
	put(vd, REG_DRIVER_FEATURES, 4, (uint32_t)(features >> 32));
}

static uint64_t vpci_config(struct virtio_device *vd, unsigned off, unsigned n)
{
	char *reg = vd->config_regs + off;

	if (n < 8)
		return hal_reg_read(reg, n);
	return (uint64_t)hal_reg_read(reg + 4, 4) << 32 | hal_reg_read(reg, 4);
}

static uint32_t vpci_generation(struct virtio_device *vd)
{
	return get(vd, REG_GENERATION, 1);
}

static uint64_t vpci_config_size(struct virtio_device *vd)
{
	return vd->config_len;
}

static unsigned vpci_queue_max(struct virtio_device *vd)
{
	put(vd, REG_QUEUE_SEL, 2, 0);
	return get(vd, REG_QUEUE_SIZE, 2);
}

static void put64(struct virtio_device *vd, unsigned reg, uint64_t v)
{
	put(vd, reg, 4, (uint32_t)v);
	put(vd, reg + 4, 4, (uint32_t)(v >> 32));
}

/* The queue's message is written, and read back: a device without room for it says so. */
static int vpci_queue_start(struct virtio_device *vd, const struct virtqueue *vq)
{
	uint64_t off;

	put(vd, REG_QUEUE_SEL, 2, 0);
	off = (uint64_t)get(vd, REG_QUEUE_NOTIFY_OFF, 2) * vd->notify_multiplier;
	if (off + 2 > vd->notify_len)
		return -EIO;
	vd->irq = pci_msix_start(&vd->pci, vd->irq_fn, vd->irq_arg);
	if (vd->irq < 0)
		return vd->irq;
	put(vd, REG_MSIX_CONFIG, 2, NO_VECTOR);
	put(vd, REG_QUEUE_MSIX, 2, 0);
	if (get(vd, REG_QUEUE_MSIX, 2)) {
		pci_msix_stop(&vd->pci, vd->irq);
		return -EIO;
	}
	vd->notify_reg += off;
	put(vd, REG_QUEUE_SIZE, 2, vq->size);
	put64(vd, REG_QUEUE_DESC, vq->desc_phys);
	put64(vd, REG_QUEUE_AVAIL, vq->avail_phys);
	put64(vd, REG_QUEUE_USED, vq->used_phys);
	put(vd, REG_QUEUE_ENABLE, 2, 1);
	return 0;
}

static void vpci_notify(struct virtio_device *vd)
{
	hal_reg_write(vd->notify_reg, 2, 0);
}

static bool vpci_irq_ack(struct virtio_device *vd)
{
	return true; /* a message has no level to lower */
}

static void vpci_release(struct virtio_device *vd)
{
	pci_msix_stop(&vd->pci, vd->irq);
	pci_enable(&vd->pci, false);
}

static const struct virtio_transport vpci = {
	.status = vpci_status,
	.set_status = vpci_set_status,
	.features = vpci_features,
	.set_features = vpci_set_features,
	.config = vpci_config,
	.generation = vpci_generation,
	.config_size = vpci_config_size,
	.queue_max = vpci_queue_max,
	.queue_start = vpci_queue_start,
	.notify = vpci_notify,
	.irq_ack = vpci_irq_ack,
	.release = vpci_release,
};

/* Maps the first usable part of that type that is at least `least` bytes long; *len: how many. */
static char *map_part(const struct pci_function *f, unsigned type, uint64_t least, uint64_t *len,
		      unsigned *cap)
{
	char *regs = NULL;

	for (unsigned n = 0; !regs && (*cap = pci_capability(f, PCI_CAP_VENDOR, n, CAP_SIZE)) != 0; n++) {
		if (pci_read(f, *cap + CAP_TYPE, 1) != type || pci_read(f, *cap + CAP_LEN, 1) < CAP_SIZE)
			continue;
		*len = pci_read(f, *cap + CAP_LENGTH, 4);
		if (*len > 4096)
			*len = 4096;
		if (*len >= least)
			regs = pci_map(f, pci_read(f, *cap + CAP_BAR, 1),
				       pci_read(f, *cap + CAP_OFFSET, 4), *len);
	}
	return regs;
}

int virtio_pci_probe(struct virtio_device *vd, const struct pci_function *f)
{
	unsigned cap, id = f->device >= 0x1040 ? f->device - 0x1040u : pci_read(f, PCI_SUBSYSTEM_ID, 2);
	uint64_t len;

	*vd = (struct virtio_device){.t = &vpci, .id = id, .pci = *f};
	pci_enable(f, true);
	vd->regs = map_part(f, CFG_COMMON, COMMON_SIZE, &len, &cap);
	vd->config_regs = map_part(f, CFG_DEVICE, 8, &vd->config_len, &cap);
	vd->notify_reg = map_part(f, CFG_NOTIFY, 2, &vd->notify_len, &cap);
	if (vd->regs && vd->config_regs && vd->notify_reg &&
	    cap + CAP_MULTIPLIER + 4 <= 256) {
		vd->notify_multiplier = pci_read(f, cap + CAP_MULTIPLIER, 4);
		return 0;
	}
	drivers_log("virtio: device %u at %02x.%u has no registers of version 1 that can be used", id,
		    f->dev, f->fn);
	pci_enable(f, false);
	return -ENODEV;
}
