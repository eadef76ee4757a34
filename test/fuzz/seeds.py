#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the seeds that are made, not kept: an archive and a compiled recording.

usage: seeds.py cpio OUT | seeds.py acpi OUT | seeds.py pci OUT | seeds.py swap OUT | seeds.py replay RECORDING OUT
"""
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '../../tools'))

import compile_replay
import cpio
import recording


def acpi():
    """A root pointer at 16, an XSDT and an RSDT with MCFG and a table without a meaning."""
    def table(signature, body):
        t = bytearray(signature + struct.pack('<IBB26x', 36 + len(body), 1, 0) + body)
        t[9] = -sum(t) & 255
        return bytes(t)
    mcfg = table(b'MCFG', struct.pack('<QQHBB4x', 0, 0xb0000000, 0, 0, 255))
    other = table(b'FACP', bytes(20))
    xsdt = table(b'XSDT', struct.pack('<QQ', 256, 128))
    rsdt = table(b'RSDT', struct.pack('<II', 256, 128))
    root = bytearray(b'RSD PTR ' + struct.pack('<B6xBIIQ4x', 0, 2, 448, 36, 320))
    root[8] = -sum(root[:20]) & 255
    root[32] = -sum(root) & 255
    data = bytearray(640)
    for at, what in (16, root), (128, mcfg), (256, other), (320, xsdt), (448, rsdt):
        data[at:at + len(what)] = what
    return bytes(data)


def pci():
    """The first 256 bytes of a virtio disk's configuration space."""
    data = bytearray(struct.pack('<HHHH', 0x1af4, 0x1042, 0, 0x10) + bytes(248))
    struct.pack_into('<IIIIII', data, 0x10, 0, 0xfebf1000, 0, 0, 0xfe00000c, 0)
    data[0x34] = 0x40
    caps = [struct.pack('<BBBBB3xII', 9, 0x50, 16, 1, 4, 0, 0x1000),
            struct.pack('<BBBBB3xII', 9, 0x60, 16, 4, 4, 0x2000, 0x1000),
            struct.pack('<BBBBB3xIII', 9, 0x80, 20, 2, 4, 0x3000, 0x1000, 4)]
    for at, cap in zip((0x40, 0x50, 0x60), caps):
        data[at:at + len(cap)] = cap
    data[0x80:0x8c] = struct.pack('<BBHII', 0x11, 0, 1, 1, 0x801)
    return bytes(data)


def main(kind, *args):
    if kind == 'cpio':
        data = cpio.build({'init': (b'\177ELF' + bytes(60), 0o755), 'etc/motd': (b'quire\n', 0o644)},
                          {'bin/sh': '../init'})
    elif kind == 'acpi':
        data = acpi()
    elif kind == 'pci':
        data = pci()
    elif kind == 'swap':  # a device of 1,000 pages, with two bad ones
        data = struct.pack('<I1024xIII500xII2542x10s', 1000, 1, 999, 2, 5, 998, b'SWAPSPACE2')
    else:
        data = compile_replay.compile_recording(recording.read(args[0])).data
    with open(args[-1], 'wb') as f:
        f.write(data)


main(*sys.argv[1:])
