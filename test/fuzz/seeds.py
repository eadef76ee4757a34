#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the seeds that are made, not kept: an archive and a compiled recording.

usage: seeds.py cpio OUT | seeds.py replay RECORDING OUT
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../../tools'))

import compile_replay
import cpio
import recording


def main(kind, *args):
    if kind == 'cpio':
        data = cpio.build({'init': (b'\177ELF' + bytes(60), 0o755), 'etc/motd': (b'quire\n', 0o644)},
                          {'bin/sh': '../init'})
    else:
        data = compile_replay.compile_recording(recording.read(args[0])).data
    with open(args[-1], 'wb') as f:
        f.write(data)


main(*sys.argv[1:])
