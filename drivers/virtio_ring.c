/* SPDX-License-Identifier: MIT */
/*
 * The split virtqueue, driver's side (virtio 1.0, 2.4), and the steps by which a device comes to life.
 *
 * Three tables in shared memory: descriptors (pieces of memory, chained), the ring of chains that the
 * device may take (avail), the ring of chains that it is done with (used). Each ring has one writer,
 * who fills an entry and then stores the index behind it, with a release; the reader loads the index
 * with an acquire. The indices run on over 65535; the low bits are the place.
 *
 * The device writes to used, and could write to the others too. So which descriptors are free, how
 * they are chained and what a chain was for stands in the driver's own arrays; a used entry is only
 * believed if a chain that is out begins there.
 */
#include "drivers/virtio.h"

#include "arch/hal.h"
#include "lib/bug.h"
#include "lib/string.h"
#include <quire/abi.h>
#include <quire/quire.h>

#define RESET_TRIES 1000000u

/* ---- life ------------------------------------------------------------------------------------ */

int virtio_reset(struct virtio_device *vd)
{
	vd->t->set_status(vd, 0);
	for (unsigned i = 0; i < RESET_TRIES; i++) {
		if (!vd->t->status(vd))
			return 0;
		hal_cpu_relax();
	}
	return -EIO;
}

static void add_status(struct virtio_device *vd, uint8_t bit)
{
	vd->t->set_status(vd, vd->t->status(vd) | bit);
}

void virtio_fail(struct virtio_device *vd)
{
	add_status(vd, VIRTIO_STATUS_FAILED);
}

int virtio_begin(struct virtio_device *vd, uint64_t wanted, uint64_t *agreed)
{
	if (virtio_reset(vd))
		return -ENODEV;
	add_status(vd, VIRTIO_STATUS_ACKNOWLEDGE);
	add_status(vd, VIRTIO_STATUS_DRIVER);
	*agreed = vd->t->features(vd) & (wanted | VIRTIO_F_VERSION_1);
	if (*agreed & VIRTIO_F_VERSION_1) {
		vd->t->set_features(vd, *agreed);
		add_status(vd, VIRTIO_STATUS_FEATURES_OK);
		if (vd->t->status(vd) & VIRTIO_STATUS_FEATURES_OK)
			return 0;
	}
	virtio_fail(vd);
	return -ENODEV;
}

void virtio_ready(struct virtio_device *vd)
{
	add_status(vd, VIRTIO_STATUS_DRIVER_OK);
}

bool virtio_config(struct virtio_device *vd, unsigned off, unsigned n, uint64_t *v)
{
	if (off + n > vd->t->config_size(vd))
		return false;
	for (unsigned i = 0; i < 100; i++) {
		uint32_t before = vd->t->generation(vd);

		*v = vd->t->config(vd, off, n);
		if (vd->t->generation(vd) == before)
			return true;
	}
	return false; /* it never stands still */
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* Both rings share a page: 4 + 2 n + 2 bytes, and 4 + 8 n + 2. */
#define USED_OFFSET 1024
_Static_assert(6 + 2 * VIRTQ_MAX <= USED_OFFSET && USED_OFFSET + 6 + 8 * VIRTQ_MAX <= 4096,
	       "both rings in a page");
_Static_assert(sizeof(struct virtq_desc) * VIRTQ_MAX <= 4096, "all descriptors in a page");

int virtq_alloc(struct virtqueue *vq, unsigned size)
{
	char *rings;

	ASSERT(size && size <= VIRTQ_MAX && !(size & (size - 1)));
	*vq = (struct virtqueue){.size = size};
	vq->desc = quire_alloc_pages(0, QUIRE_GFP_ZERO);
	rings = quire_alloc_pages(0, QUIRE_GFP_ZERO);
	vq->avail = (struct virtq_avail *)rings;
	vq->used = (struct virtq_used *)(rings + USED_OFFSET);
	if (!vq->desc || !rings) {
		virtq_free(vq);
		return -ENOMEM;
	}
	vq->desc_phys = hal_virt_to_phys(vq->desc);
	vq->avail_phys = hal_virt_to_phys(rings);
	vq->used_phys = vq->avail_phys + USED_OFFSET;
	for (unsigned i = 0; i < size; i++)
		vq->next[i] = (uint16_t)(i + 1);
	vq->nfree = (uint16_t)size;
	return 0;
}

void virtq_free(struct virtqueue *vq)
{
	if (vq->desc)
		quire_free_pages(vq->desc, 0);
	if (vq->avail)
		quire_free_pages(vq->avail, 0);
	vq->desc = NULL;
	vq->avail = NULL;
}

/* ---- to the device --------------------------------------------------------------------------- */

bool virtq_begin(struct virtqueue *vq, unsigned n)
{
	if (n > vq->nfree || vq->broken)
		return false;
	vq->first = vq->free_head;
	vq->length[vq->first] = 0;
	vq->table = NULL;
	return true;
}

bool virtq_begin_table(struct virtqueue *vq, struct virtq_desc *table)
{
	if (!virtq_begin(vq, 1))
		return false;
	vq->table = table;
	vq->last = 0;
	return true;
}

void virtq_push(struct virtqueue *vq, uint64_t phys, uint32_t len, unsigned flags)
{
	uint16_t i = vq->free_head;

	if (vq->table) {
		i = vq->last++;
		vq->table[i] = (struct virtq_desc){phys, len, (uint16_t)(flags | VIRTQ_DESC_NEXT),
						   vq->last};
		return;
	}
	ASSERT(vq->nfree);
	vq->free_head = vq->next[i];
	vq->nfree--;
	vq->last = i;
	vq->length[vq->first]++;
	/* the next one is where the list of free ones goes on; the last chain end is cut in end() */
	vq->desc[i] = (struct virtq_desc){phys, len, (uint16_t)(flags | VIRTQ_DESC_NEXT),
					  vq->next[i]};
}

/* The table as the one piece of a chain in the ring. */
static void end_table(struct virtqueue *vq)
{
	struct virtq_desc *table = vq->table;
	unsigned n = vq->last;

	table[n - 1].flags &= (uint16_t)~VIRTQ_DESC_NEXT;
	vq->table = NULL;
	virtq_push(vq, hal_virt_to_phys(table), (uint32_t)(n * sizeof(*table)), VIRTQ_DESC_INDIRECT);
}

void virtq_end(struct virtqueue *vq, void *token)
{
	if (vq->table)
		end_table(vq);
	ASSERT(token && vq->length[vq->first]);
	vq->desc[vq->last].flags &= (uint16_t)~VIRTQ_DESC_NEXT;
	vq->token[vq->first] = token;
	vq->avail->ring[vq->avail_idx % vq->size] = vq->first;
	vq->avail_idx++;
	/* The device sees descriptors and entry before the index. An exchange, so that the look at
	 * used->flags in virtq_wants_notify() comes after it; of both halves, for not every machine
	 * has one of 16 bits. */
	__atomic_exchange_n(&vq->avail->flags_idx, (uint32_t)vq->avail_idx << 16, __ATOMIC_SEQ_CST);
}

bool virtq_wants_notify(struct virtqueue *vq)
{
	return !(__atomic_load_n(&vq->used->flags, __ATOMIC_SEQ_CST) & VIRTQ_NO_NOTIFY);
}

/* ---- and back -------------------------------------------------------------------------------- */

static void free_chain(struct virtqueue *vq, uint16_t first)
{
	uint16_t last = first;

	for (unsigned n = vq->length[first]; n > 1; n--)
		last = vq->next[last];
	vq->nfree = (uint16_t)(vq->nfree + vq->length[first]);
	vq->length[first] = 0;
	vq->token[first] = NULL;
	vq->next[last] = vq->free_head;
	vq->free_head = first;
}

void *virtq_get(struct virtqueue *vq)
{
	uint16_t idx = __atomic_load_n(&vq->used->idx, __ATOMIC_ACQUIRE);
	uint32_t id;
	void *token;

	if (vq->broken || idx == vq->used_idx)
		return NULL;
	id = READ_ONCE(vq->used->ring[vq->used_idx % vq->size].id);
	if ((uint16_t)(idx - vq->used_idx) > vq->size || id >= vq->size || !vq->token[id]) {
		vq->broken = true;
		return NULL;
	}
	vq->used_idx++;
	token = vq->token[id];
	free_chain(vq, (uint16_t)id);
	return token;
}
