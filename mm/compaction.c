/* SPDX-License-Identifier: MIT */
#include "mm/compaction.h"

bool try_to_compact_pages(gfp_t gfp, unsigned order, unsigned alloc_flags,
			  const struct alloc_context *ac)
{
	return false;
}
