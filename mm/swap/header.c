/* SPDX-License-Identifier: MIT */
/*
 * The header of a swap area, as mkswap(8) writes it:
 *
 *      0 ..  1023   boot code, left alone
 *   1024            version, 1
 *   1028            last page: the number of the last slot
 *   1032            how many bad pages are listed
 *   1036 ..  1535   uuid, label, padding
 *   1536 ..         the bad pages, 4 bytes each
 *   page end - 10   "SWAPSPACE2"
 *
 * All numbers are of the byte order of the machine that wrote it; one of the other order is known by
 * its version. Nothing that is read is trusted: counts are compared with the room there is before
 * anything is looked at by them.
 */
#include "mm/swap/header.h"
#include <quire/abi.h>

#define AT_VERSION   1024u
#define AT_LAST_PAGE 1028u
#define AT_NR_BAD    1032u
#define AT_BAD	     1536u
#define SIGNATURE    "SWAPSPACE2"
#define SIGNATURE_LEN 10u

static uint32_t swab(uint32_t v)
{
	return v >> 24 | (v >> 8 & 0xff00) | (v << 8 & 0xff0000) | v << 24;
}

/* This machine's order is little-endian, as all of ours are; bytes need no alignment. */
static uint32_t word_at(const struct swap_header *h, size_t at)
{
	const uint8_t *p = h->page + at;
	uint32_t v = p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;

	return h->swapped ? swab(v) : v;
}

uint32_t swap_header_bad(const struct swap_header *h, uint32_t i)
{
	return word_at(h, AT_BAD + 4 * (size_t)i);
}

static int refuse(struct swap_header *h, const char *why)
{
	h->error = why;
	return -EINVAL;
}

static bool has_signature(const uint8_t *page, size_t page_size)
{
	const char *want = SIGNATURE;

	for (size_t i = 0; i < SIGNATURE_LEN; i++)
		if (page[page_size - SIGNATURE_LEN + i] != (uint8_t)want[i])
			return false;
	return true;
}

/* Each bad page lies in the area; some slot is good. */
static int check_bad_pages(struct swap_header *h)
{
	uint64_t good = h->slots - 1;

	for (uint32_t i = 0; i < h->nr_badpages; i++) {
		uint32_t bad = swap_header_bad(h, i);

		if (!bad || bad > h->last_page)
			return refuse(h, "a bad page lies outside the area");
		/* One that is listed twice counts twice, as in Linux. */
		if (bad < h->slots && good)
			good--;
	}
	return good ? 0 : refuse(h, "every page is bad");
}

int swap_header_parse(struct swap_header *h, const void *page, size_t page_size,
		      uint64_t device_pages, uint64_t max_slots)
{
	*h = (struct swap_header){.page = page};
	if (!has_signature(page, page_size))
		return refuse(h, "no swap signature");
	if (swab(word_at(h, AT_VERSION)) == 1)
		h->swapped = true;
	if (word_at(h, AT_VERSION) != 1)
		return refuse(h, "unknown version");
	h->last_page = word_at(h, AT_LAST_PAGE);
	h->nr_badpages = word_at(h, AT_NR_BAD);
	if (!h->last_page)
		return refuse(h, "the area is empty");
	h->slots = (uint64_t)h->last_page + 1;
	if (h->slots > max_slots)
		h->slots = max_slots;
	if (h->slots > device_pages)
		return refuse(h, "the device is shorter than the header says");
	if (h->nr_badpages > (page_size - SIGNATURE_LEN - AT_BAD) / 4)
		return refuse(h, "more bad pages than the header has room for");
	return check_bad_pages(h);
}
