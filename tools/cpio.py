# SPDX-License-Identifier: MIT
"""Writes an initramfs: a newc cpio archive, the same bytes for the same input."""
import os
import stat


def _entry(out, ino, name, mode, data=b'', rdev=(0, 0)):
    encoded = os.fsencode(name) + b'\0'
    fields = [ino, mode, 0, 0, 1, 0, len(data), 0, 0, rdev[0], rdev[1], len(encoded), 0]
    out += b'070701' + b''.join(b'%08x' % f for f in fields) + encoded
    out += b'\0' * (-len(out) % 4)
    out += data
    out += b'\0' * (-len(out) % 4)


def build(files, links=None, nodes=None):
    """The archive's bytes.

    files: guest path -> host path, bytes, or (either, mode); None: a folder. links: guest path -> target.
    nodes: guest path -> (mode with type, major, minor). Folders are made as needed.
    """
    out = bytearray()
    entries = {}
    for path, what in files.items():
        mode = 0o755
        if what is None:
            entries[path.strip('/')] = (stat.S_IFDIR | 0o755, b'', (0, 0))
            continue
        if isinstance(what, tuple):
            what, mode = what
        if isinstance(what, str):
            with open(what, 'rb') as f:
                what = f.read()
        entries[path.strip('/')] = (stat.S_IFREG | mode, bytes(what), (0, 0))
    for path, target in (links or {}).items():
        entries[path.strip('/')] = (stat.S_IFLNK | 0o777, os.fsencode(target), (0, 0))
    for path, (mode, major, minor) in (nodes or {}).items():
        entries[path.strip('/')] = (mode, b'', (major, minor))
    entries.pop('', None)       # the root is there
    for path in list(entries):
        parent = os.path.dirname(path)
        while parent and parent not in entries:
            entries[parent] = (stat.S_IFDIR | 0o755, b'', (0, 0))
            parent = os.path.dirname(parent)
    for i, path in enumerate(sorted(entries)):
        mode, data, rdev = entries[path]
        _entry(out, i + 1, path, mode, data, rdev)
    _entry(out, 0, 'TRAILER!!!', 0)
    out += b'\0' * (-len(out) % 512)
    return bytes(out)
