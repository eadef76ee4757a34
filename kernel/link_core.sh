#!/bin/sh
# SPDX-License-Identifier: MIT
# Links the core's archive into one relocatable object whose only global symbols are quire_*.
# Usage: link_core.sh LD OBJCOPY ARCHIVE OUTPUT
set -e
"$1" -r --whole-archive "$3" -o "$4.tmp"
"$2" --wildcard --keep-global-symbol='quire_*' "$4.tmp" "$4"
rm -f "$4.tmp"
