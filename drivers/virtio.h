/* SPDX-License-Identifier: MIT */
/*
 * virtio 1.0 devices, as their drivers see them: registers behind a transport (memory-mapped or
 * PCI), and a split virtqueue. The device is not trusted: what it writes is checked before it is
 * used as an index, and what the driver needs later it keeps for itself.
 */
#ifndef DRIVERS_VIRTIO_H
#define DRIVERS_VIRTIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "drivers/pci.h"

/* ---- the transport --------------------------------------------------------------------------- */

struct virtio_device;
struct virtqueue;

struct virtio_transport {
	uint8_t (*status)(struct virtio_device *vd);
	void (*set_status)(struct virtio_device *vd, uint8_t status);
	uint64_t (*features)(struct virtio_device *vd);
	void (*set_features)(struct virtio_device *vd, uint64_t features);
	/* n bytes of the device's own registers, at most 8 and aligned to n. */
	uint64_t (*config)(struct virtio_device *vd, unsigned off, unsigned n);
	uint32_t (*generation)(struct virtio_device *vd);
	/* How many bytes of them there are, as far as the transport knows. */
	uint64_t (*config_size)(struct virtio_device *vd);
	/* Entries that queue 0 can have; 0: there is none. */
	unsigned (*queue_max)(struct virtio_device *vd);
	/* Tells the device of vq, its queue 0, and that it interrupts by irq_fn(). 0 or -errno. */
	int (*queue_start)(struct virtio_device *vd, const struct virtqueue *vq);
	void (*notify)(struct virtio_device *vd);
	/* First in the interrupt handler: false, it was not for us. */
	bool (*irq_ack)(struct virtio_device *vd);
	/* The end: interrupts are let go. The device was reset. */
	void (*release)(struct virtio_device *vd);
};

struct virtio_device {
	const struct virtio_transport *t;
	unsigned id;		     /* what it is: VIRTIO_ID_* */
	void (*irq_fn)(void *arg);   /* the driver's, set before queue_start() */
	void *irq_arg;
	/* the transport's: its interrupt, its registers, mapped */
	int irq;
	char *regs, *notify_reg, *config_regs;
	uint64_t config_len, notify_len;
	uint32_t notify_multiplier;
	struct pci_function pci;
};

#define VIRTIO_ID_BLOCK 2

#define VIRTIO_PCI_VENDOR    0x1af4
#define VIRTIO_PCI_BLOCK     0x1042
#define VIRTIO_PCI_BLOCK_OLD 0x1001 /* has both kinds of registers */

#define VIRTIO_F_INDIRECT  (1ull << 28)
#define VIRTIO_F_VERSION_1 (1ull << 32)

#define VIRTIO_STATUS_ACKNOWLEDGE 1
#define VIRTIO_STATUS_DRIVER	  2
#define VIRTIO_STATUS_DRIVER_OK	  4
#define VIRTIO_STATUS_FEATURES_OK 8
#define VIRTIO_STATUS_NEEDS_RESET 64
#define VIRTIO_STATUS_FAILED	  128

/* Reset, acknowledged, and agreed on what of wanted it offers (version 1 is always wanted and
 * needed). 0, -ENODEV: not a device of version 1, or it does not agree; it is marked as failed. */
int virtio_begin(struct virtio_device *vd, uint64_t wanted, uint64_t *agreed);
/* It may work from here on. */
void virtio_ready(struct virtio_device *vd);
/* It forgets everything and touches no memory of ours any more. -EIO: it does not say so. */
int virtio_reset(struct virtio_device *vd);
void virtio_fail(struct virtio_device *vd);
/* A number of its own registers that was not torn by a change; false: it has none there. */
bool virtio_config(struct virtio_device *vd, unsigned off, unsigned n, uint64_t *v);

/* ---- the split virtqueue --------------------------------------------------------------------- */

#define VIRTQ_MAX 256 /* entries: what fits into two pages */

struct virtq_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

#define VIRTQ_DESC_NEXT	 1
#define VIRTQ_DESC_WRITE 2 /* by the device */
#define VIRTQ_DESC_INDIRECT 4 /* it leads to a table with the chain */

struct virtq_avail {
	uint32_t flags_idx; /* flags (0) in the lower half, the index in the upper */
	uint16_t ring[];
};

struct virtq_used_elem {
	uint32_t id, len;
};

struct virtq_used {
	uint16_t flags, idx;
	struct virtq_used_elem ring[];
};

#define VIRTQ_NO_NOTIFY 1

/* The user's lock covers all of it. */
struct virtqueue {
	unsigned size;
	struct virtq_desc *desc;
	struct virtq_avail *avail;
	struct virtq_used *used;
	uint64_t desc_phys, avail_phys, used_phys;
	uint16_t free_head, nfree;
	uint16_t avail_idx, used_idx; /* what we made available so far, what we took back */
	uint16_t first, last;	      /* of the chain being built */
	struct virtq_desc *table;     /* which goes there; NULL: into the ring */
	bool broken;		      /* the device said what cannot be */
	uint16_t next[VIRTQ_MAX];     /* ours: the device can write to desc */
	uint16_t length[VIRTQ_MAX];   /* of the chain that begins here; 0: none does */
	void *token[VIRTQ_MAX];
};

/* size: a power of two, at most VIRTQ_MAX. 0 or -ENOMEM. Context: sleep. */
int virtq_alloc(struct virtqueue *vq, unsigned size);
void virtq_free(struct virtqueue *vq);

/* A chain of n pieces: begin, push each, end. The device may see it once it has ended. false: there
 * are not so many entries free. token: what virtq_get() gives back, not NULL. */
bool virtq_begin(struct virtqueue *vq, unsigned n);
/* The same with a table of the caller's for the pieces, which takes one entry however many there are;
 * the table lies in one page, and is the device's until the chain comes back. */
bool virtq_begin_table(struct virtqueue *vq, struct virtq_desc *table);
void virtq_push(struct virtqueue *vq, uint64_t phys, uint32_t len, unsigned flags);
void virtq_end(struct virtqueue *vq, void *token);
/* Whether the device wants to be told of chains that ended since it was told last. */
bool virtq_wants_notify(struct virtqueue *vq);
/* The next chain that the device is done with, or NULL: none, or vq->broken. */
void *virtq_get(struct virtqueue *vq);

/* ---- finding them ---------------------------------------------------------------------------- */

/* A bank of registers: 0 and *vd filled in, -ENODEV. */
int virtio_mmio_probe(struct virtio_device *vd, uint64_t phys, uint64_t size, unsigned irq);
/* A PCI function, the same. */
int virtio_pci_probe(struct virtio_device *vd, const struct pci_function *f);

/* The block device that vd is, made known as "vd" and the next letter. 0 or -errno, with the reason
 * in the log. Context: sleep. */
int virtio_blk_probe(const struct virtio_device *vd);
/* Ends all of them. Nothing is under way. Context: sleep. */
void virtio_blk_exit(void);

#endif
