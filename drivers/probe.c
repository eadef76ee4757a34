/* SPDX-License-Identifier: MIT */
/* Finding devices: the machine tells where registers lie (hal_devices()), the drivers look what is
 * behind them. */
#include "arch/hal_kernel.h"
#include "drivers/block.h"
#include "drivers/drivers.h"
#include "drivers/virtio.h"
#include <quire/os.h>

void drivers_log(const char *fmt, ...)
{
	char line[160];
	va_list ap;

	va_start(ap, fmt);
	vscnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	os_log(line);
}

static void probe_virtio(const struct virtio_device *vd)
{
	if (vd->id == VIRTIO_ID_BLOCK)
		(void)virtio_blk_probe(vd);
}

/* Only block devices are touched. */
static void probe_pci(const struct pci_function *f)
{
	struct virtio_device vd;

	if (f->vendor == VIRTIO_PCI_VENDOR &&
	    (f->device == VIRTIO_PCI_BLOCK || f->device == VIRTIO_PCI_BLOCK_OLD) &&
	    !virtio_pci_probe(&vd, f))
		probe_virtio(&vd);
}

static void probe(const struct hal_device *d, void *ctx)
{
	struct virtio_device vd;

	switch (d->kind) {
	case HAL_VIRTIO_MMIO:
		if (!virtio_mmio_probe(&vd, d->regs, d->size, d->irq))
			probe_virtio(&vd);
		break;
	case HAL_PCI_ECAM:
		pci_scan(d->regs, d->size, probe_pci);
		break;
	}
}

void drivers_init(void)
{
	hal_devices(probe, NULL);
	blk_thread_start();
}

void drivers_quiet(void)
{
	blk_thread_stop();
}

void drivers_exit(void)
{
	drivers_quiet();
	blkdev_forget_all();
	virtio_blk_exit();
}
