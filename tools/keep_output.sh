#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs a test for meson and keeps what it writes to standard output, for meson drops it when the
# test runs out of time. usage: keep_output.sh FOLDER COMMAND ARG...; the file is FOLDER/PID, it
# opens with the command, a word a line, and an empty line; it goes when the test has passed.
file=$1/$$
shift
printf '%s\n' "$@" '' >"$file"
header=$(($(wc -c <"$file") + 1))
"$@" >>"$file"
status=$?
tail -c +$header "$file"
[ $status -ne 0 ] || rm -f "$file"
# A program that a signal ended: so do we.
[ $status -le 128 ] || kill -$((status - 128)) $$
exit $status
