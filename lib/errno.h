/* SPDX-License-Identifier: MIT */
#ifndef LIB_ERRNO_H
#define LIB_ERRNO_H

#include <quire/abi.h>

#endif
