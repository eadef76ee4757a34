# SPDX-License-Identifier: MIT
"""Disks of the machines in QEMU: images, how a board gets them, and mkswap's header.

On Quire's boards they are virtio-blk devices, /dev/vda and on. On linux-5.10, whose kernel has only
NVMe built in, they are NVMe devices, and its init gives them the same names.
"""
import os
import stat
import struct
from dataclasses import dataclass

from common import CannotRun

SECTOR = 512
MOST = 8            # as many as fit the small board beside what else is plugged in
SWAP_PAGE = 4096
SWAP_LEAST = 10 * SWAP_PAGE     # what mkswap makes at least


@dataclass
class Disk:
    path: str
    read_only: bool = False
    bad_sectors: str = ''       # a file for QEMU's blkdebug; '': none
    iops: int = 0               # requests a second at most; 0: as many as it can


def parse(text):
    """--disk FILE[,ro]"""
    path, comma, word = text.rpartition(',')
    if not comma or word not in ('ro', 'rw'):
        path, word = text, ''
    try:
        st = os.stat(path)
    except OSError as e:
        raise CannotRun(f'--disk {text}: {path}: {e.strerror.lower()}') from None
    if not stat.S_ISREG(st.st_mode):
        raise CannotRun(f'--disk {text}: {path} is no regular file')
    if not st.st_size or st.st_size % SECTOR:
        raise CannotRun(f'--disk {text}: {path} is {st.st_size} bytes long, which is no whole number '
                        f'of sectors of {SECTOR}')
    if not os.access(path, os.R_OK if word == 'ro' else os.R_OK | os.W_OK):
        raise CannotRun(f'--disk {text}: {path} cannot be {"read" if word == "ro" else "written"}'
                        f'{"" if word == "ro" else " (FILE,ro only reads it)"}')
    return Disk(path, word == 'ro')


def check_count(disks, swap):
    if len(disks) + bool(swap) > MOST:
        raise CannotRun(f'{len(disks)} disks{" and swap" if swap else ""}: at most {MOST} in all')


def with_swap(disks, swap, folder):
    """(all disks, the kernel's words): the temporary image comes last."""
    if not swap:
        return list(disks), []
    return [*disks, swap_image(folder, swap)], [f'swap={name(len(disks))}']


def name(n):
    """What the guest calls the n-th."""
    return f'/dev/vd{chr(ord("a") + n)}'


def swap_header(size):
    """The first page of a swap area of so many bytes, as mkswap writes it: version 1, no bad pages."""
    head = bytearray(SWAP_PAGE)
    struct.pack_into('<III', head, 1024, 1, size // SWAP_PAGE - 1, 0)
    head[1036:1052] = os.urandom(16)        # uuid
    head[1052:1057] = b'quire'              # label
    head[-10:] = b'SWAPSPACE2'
    return bytes(head)


def check_swap(size):
    if size < SWAP_LEAST or size % SWAP_PAGE:
        raise CannotRun(f'--swap: {size} bytes: wants whole pages of {SWAP_PAGE}, and at least '
                        f'{SWAP_LEAST}')


def swap_image(folder, size):
    """A sparse image to swap to; it goes with the folder."""
    path = os.path.join(folder, 'swap')
    with open(path, 'wb') as f:
        f.write(swap_header(size))
        f.truncate(size)
    return Disk(path)


def _quoted(path):
    return path.replace(',', ',,')


def drive(disk, n):
    """QEMU's drive `disk<n>`."""
    file = _quoted(disk.path)
    if disk.bad_sectors:
        file = f'blkdebug:{_quoted(disk.bad_sectors)}:{file}'
    return ['-drive', f'if=none,id=disk{n},format=raw,file={file}'
            + (',readonly=on' if disk.read_only else '')
            + (f',throttling.iops-total={disk.iops}' if disk.iops else '')]


def options(arch, disks):
    """QEMU's options for them on a board of Quire's (arches.Arch)."""
    out = list(arch.disk_options) if disks else []
    for n, d in enumerate(disks):
        out += [*drive(d, n), '-device', f'{arch.disk_device},drive=disk{n}'.format(n=n)]
    return out


def nvme_options(disks):
    """The same for linux-5.10: behind the channel's own, in this order."""
    out = []
    for n, d in enumerate(disks):
        out += [*drive(d, n), '-device', f'nvme,serial=disk{n},drive=disk{n}']
    return out


def bad_sectors(folder, sectors, kind):
    """A file for QEMU's blkdebug: reads (or writes) of these sectors fail."""
    path = os.path.join(folder, 'bad-' + kind)
    with open(path, 'w') as f:
        for s in sectors:
            f.write(f'[inject-error]\nevent = "none"\niotype = "{kind}"\nerrno = "5"\n'
                    f'sector = "{s}"\nonce = "off"\n')
    return path
