/* SPDX-License-Identifier: MIT */
/* virtio over memory-mapped registers (virtio 1.0, 4.2). The old layout, version 1, is refused. */
#include "drivers/virtio.h"

#include "arch/hal_kernel.h"
#include "drivers/drivers.h"
#include <quire/abi.h>

enum {
	REG_MAGIC = 0x000,
	REG_VERSION = 0x004,
	REG_DEVICE_ID = 0x008,
	REG_DEVICE_FEATURES = 0x010,
	REG_DEVICE_FEATURES_SEL = 0x014,
	REG_DRIVER_FEATURES = 0x020,
	REG_DRIVER_FEATURES_SEL = 0x024,
	REG_QUEUE_SEL = 0x030,
	REG_QUEUE_NUM_MAX = 0x034,
	REG_QUEUE_NUM = 0x038,
	REG_QUEUE_READY = 0x044,
	REG_QUEUE_NOTIFY = 0x050,
	REG_INTERRUPT_STATUS = 0x060,
	REG_INTERRUPT_ACK = 0x064,
	REG_STATUS = 0x070,
	REG_QUEUE_DESC = 0x080,
	REG_QUEUE_AVAIL = 0x090,
	REG_QUEUE_USED = 0x0a0,
	REG_GENERATION = 0x0fc,
	REG_CONFIG = 0x100,
};

#define MAGIC 0x74726976u /* "virt" */

static uint32_t get(struct virtio_device *vd, unsigned reg)
{
	return hal_reg_read(vd->regs + reg, 4);
}

static void put(struct virtio_device *vd, unsigned reg, uint32_t v)
{
	hal_reg_write(vd->regs + reg, 4, v);
}

static uint8_t mmio_status(struct virtio_device *vd)
{
	return (uint8_t)get(vd, REG_STATUS);
}

static void mmio_set_status(struct virtio_device *vd, uint8_t status)
{
	put(vd, REG_STATUS, status);
}

static uint64_t mmio_features(struct virtio_device *vd)
{
	uint64_t low;

	put(vd, REG_DEVICE_FEATURES_SEL, 0);
	low = get(vd, REG_DEVICE_FEATURES);
	put(vd, REG_DEVICE_FEATURES_SEL, 1);
	return (uint64_t)get(vd, REG_DEVICE_FEATURES) << 32 | low;
}

static void mmio_set_features(struct virtio_device *vd, uint64_t features)
{
	put(vd, REG_DRIVER_FEATURES_SEL, 0);
	put(vd, REG_DRIVER_FEATURES, (uint32_t)features);
	put(vd, REG_DRIVER_FEATURES_SEL, 1);
	put(vd, REG_DRIVER_FEATURES, (uint32_t)(features >> 32));
}

static uint64_t mmio_config(struct virtio_device *vd, unsigned off, unsigned n)
{
	char *reg = vd->regs + REG_CONFIG + off;

	if (n < 8)
		return hal_reg_read(reg, n);
	return (uint64_t)hal_reg_read(reg + 4, 4) << 32 | hal_reg_read(reg, 4);
}

static uint32_t mmio_generation(struct virtio_device *vd)
{
	return get(vd, REG_GENERATION);
}

static uint64_t mmio_config_size(struct virtio_device *vd)
{
	return vd->config_len;
}

static unsigned mmio_queue_max(struct virtio_device *vd)
{
	put(vd, REG_QUEUE_SEL, 0);
	return get(vd, REG_QUEUE_READY) ? 0 : get(vd, REG_QUEUE_NUM_MAX);
}

static void put64(struct virtio_device *vd, unsigned reg, uint64_t v)
{
	put(vd, reg, (uint32_t)v);
	put(vd, reg + 4, (uint32_t)(v >> 32));
}

static int mmio_queue_start(struct virtio_device *vd, const struct virtqueue *vq)
{
	int err = hal_irq_request((unsigned)vd->irq, vd->irq_fn, vd->irq_arg);

	if (err)
		return err;
	put(vd, REG_QUEUE_SEL, 0);
	put(vd, REG_QUEUE_NUM, vq->size);
	put64(vd, REG_QUEUE_DESC, vq->desc_phys);
	put64(vd, REG_QUEUE_AVAIL, vq->avail_phys);
	put64(vd, REG_QUEUE_USED, vq->used_phys);
	put(vd, REG_QUEUE_READY, 1);
	return 0;
}

static void mmio_notify(struct virtio_device *vd)
{
	put(vd, REG_QUEUE_NOTIFY, 0);
}

static bool mmio_irq_ack(struct virtio_device *vd)
{
	uint32_t why = get(vd, REG_INTERRUPT_STATUS);

	if (why)
		put(vd, REG_INTERRUPT_ACK, why);
	return why != 0;
}

static void mmio_release(struct virtio_device *vd)
{
	hal_irq_free((unsigned)vd->irq);
}

static const struct virtio_transport mmio = {
	.status = mmio_status,
	.set_status = mmio_set_status,
	.features = mmio_features,
	.set_features = mmio_set_features,
	.config = mmio_config,
	.generation = mmio_generation,
	.config_size = mmio_config_size,
	.queue_max = mmio_queue_max,
	.queue_start = mmio_queue_start,
	.notify = mmio_notify,
	.irq_ack = mmio_irq_ack,
	.release = mmio_release,
};

int virtio_mmio_probe(struct virtio_device *vd, uint64_t phys, uint64_t size, unsigned irq)
{
	char *regs;

	if (size <= REG_CONFIG)
		return -ENODEV;
	regs = hal_map_device(phys, size);
	if (!regs)
		return -ENOMEM;
	*vd = (struct virtio_device){.t = &mmio, .regs = regs, .irq = (int)irq,
				     .config_len = size - REG_CONFIG};
	if (get(vd, REG_MAGIC) != MAGIC)
		return -ENODEV;
	vd->id = get(vd, REG_DEVICE_ID);
	if (!vd->id)
		return -ENODEV; /* a bank that nothing is plugged into */
	if (get(vd, REG_VERSION) == 2)
		return 0;
	drivers_log("virtio: device %u at 0x%llx has the old registers: not used", vd->id,
		    (unsigned long long)phys);
	return -ENODEV;
}
