/* SPDX-License-Identifier: MIT */
/* The header that mkswap writes into the first page of a swap area. Depends on nothing. */
#ifndef MM_SWAP_HEADER_H
#define MM_SWAP_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct swap_header {
	const uint8_t *page;  /* as it was read */
	bool swapped;	      /* written by a machine of the other byte order */
	uint64_t slots;	      /* of the area, the header's own, number 0, among them */
	uint32_t last_page;   /* the last slot, as the header says */
	uint32_t nr_badpages;
	const char *error;    /* if it was refused: why */
};

/* Reads a header of page_size bytes, of a device of device_pages pages; at most max_slots can be used.
 * 0, or -EINVAL for what Linux 5.10 refuses: no signature, another version, an empty area, a device
 * that is too short, too many bad pages or one that lies outside. */
int swap_header_parse(struct swap_header *h, const void *page, size_t page_size,
		      uint64_t device_pages, uint64_t max_slots);
/* The i-th bad page, i < nr_badpages. */
uint32_t swap_header_bad(const struct swap_header *h, uint32_t i);

#endif
