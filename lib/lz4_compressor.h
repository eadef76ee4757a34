/* SPDX-License-Identifier: MIT */
/* LZ4 as a compressor for compressed swap. Only in builds that found its source (tools/lz4.py). */
#ifndef LIB_LZ4_COMPRESSOR_H
#define LIB_LZ4_COMPRESSOR_H

#include <quire/compress.h>

extern const struct quire_compressor lz4_compressor;

#endif
