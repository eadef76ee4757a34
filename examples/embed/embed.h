/* SPDX-License-Identifier: MIT */
/* How the example touches memory that is not there yet: a plain access on a bare machine, the
 * soft MMU's on the host. */
#ifndef EMBED_H
#define EMBED_H

#include <stdint.h>

void embed_store(uintptr_t addr, uint64_t value);
uint64_t embed_load(uintptr_t addr);

#endif
