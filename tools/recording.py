# SPDX-License-Identifier: MIT
"""The recording file, `quire-recording 1`: read, written, checked. docs/recording.md is its text.

In memory a recording is its header (a dictionary), its files, and a list of events, tuples whose
first word is the event's letter in the file.
"""
import lzma
from dataclasses import dataclass, field

from common import Malformed

MAGIC = 'quire-recording 1'
U64 = 1 << 64


@dataclass
class File:
    """A file that was mapped. cached: page ranges [first, last] in the page cache at the start."""
    id: int
    dev: str
    ino: int
    size: int
    path: str
    cached: list = field(default_factory=list)


@dataclass
class Area:
    """One line of a memory map. file: a File's id or 0; rss: KiB resident, at an exit only."""
    start: int
    end: int
    perms: str
    offset: int
    file: int = 0
    name: str = ''
    rss: int = -1


@dataclass
class Recording:
    header: dict = field(default_factory=dict)
    files: dict = field(default_factory=dict)
    events: list = field(default_factory=list)
    path: str = ''

    def faults(self):
        """(user, kernel) faults recorded."""
        user = sum(1 for e in self.events if e[0] == 'u')
        return user, sum(1 for e in self.events if e[0] == 'k')


def ranges_text(ranges):
    return ','.join(f'{a}-{b}' if a != b else str(a) for a, b in ranges) or '-'


def parse_ranges(text):
    out = []
    for part in text.split(',') if text != '-' else []:
        a, _, b = part.partition('-')
        first, last = int(a), int(b or a)
        if last < first:
            raise ValueError('range runs backwards')
        out.append((first, last))
    return out


def _signed(v):
    return v - U64 if v > U64 - 4096 else v


def _result_text(v):
    v = _signed(v)
    return str(v) if v < 0 else f'{v:x}'


def _event_text(e):
    kind = e[0]
    if kind in 'uk':
        return f'{kind} {e[1]:x} {e[2]:x}'
    if kind == 'c':
        _, name, args, result, struct_file = e
        tail = f' @{struct_file}' if struct_file else ''
        return f'c {name} {",".join(f"{a:x}" for a in args) or "-"} {_result_text(result)}{tail}'
    if kind == 'm':
        a = e[1]
        rss = '' if a.rss < 0 else f' {a.rss}'
        where = f'#{a.file}' if a.file else (a.name or '-')
        return f'm {a.start:x}-{a.end:x} {a.perms} {a.offset:x} {where}{rss}'
    if kind == 'f':
        return f'f {e[1]} {e[2]:x}'
    if kind == 'x':
        return f'x {e[1]} {e[2]:x} {e[3]:x} {e[4]}'
    return ' '.join(str(x) for x in e)


def write(rec, path):
    """Writes the file; a name that ends in .xz is compressed."""
    lines = [MAGIC]
    lines += [f'{k} {v}' for k, v in rec.header.items()]
    for f in rec.files.values():
        lines.append(f'file {f.id} {f.dev} {f.ino} {f.size} {f.path}')
        lines.append(f'cached {f.id} {ranges_text(f.cached)}')
    lines.append(f'events {len(rec.events)}')
    lines += [_event_text(e) for e in rec.events]
    data = ('\n'.join(lines) + '\n').encode()
    if path.endswith('.xz'):
        data = lzma.compress(data, preset=9)
    with open(path, 'wb') as f:
        f.write(data)


def _parse_map(words):
    span, perms, offset, where = words[1:5]
    start, end = (int(x, 16) for x in span.split('-'))
    if len(perms) != 4 or start >= end or start % 4096 or end % 4096:
        raise ValueError('not a memory area')
    a = Area(start, end, perms, int(offset, 16))
    if where.startswith('#'):
        a.file = int(where[1:])
    elif where != '-':
        a.name = where
    if len(words) > 5:
        a.rss = int(words[5])
    return ('m', a)


def _parse_call(words):
    args = [] if words[2] == '-' else [int(a, 16) for a in words[2].split(',')]
    text = words[3]
    result = int(text) % U64 if text.startswith('-') else int(text, 16)
    struct_file = int(words[4][1:]) if len(words) > 4 else 0
    return ('c', words[1], args, result, struct_file)


def _parse_event(line):
    words = line.split(' ')
    kind = words[0]
    if kind in ('u', 'k'):
        return (kind, int(words[1], 16), int(words[2], 16))
    if kind == 'c':
        return _parse_call(words)
    if kind == 'm':
        return _parse_map(words)
    if kind == 'f':
        return ('f', int(words[1]), int(words[2], 16))
    if kind in ('p', 'z'):
        return (kind, int(words[1]))
    if kind == 'o':
        return ('o', int(words[1]), int(words[2]), int(words[3]))
    if kind == 'a':
        return ('a', int(words[1]), int(words[2]), int(words[3]))
    if kind == 'x':
        return ('x', int(words[1]), int(words[2], 16), int(words[3], 16), ' '.join(words[4:]))
    if kind == 'e':
        return ('e', int(words[1]))
    raise ValueError(f'unknown event {kind!r}')


def _parse_header(rec, line):
    word, _, rest = line.partition(' ')
    if word == 'file':
        fid, dev, ino, size, path = rest.split(' ', 4)
        rec.files[int(fid)] = File(int(fid), dev, int(ino), int(size), path)
    elif word == 'cached':
        fid, ranges = rest.split(' ')
        rec.files[int(fid)].cached = parse_ranges(ranges)
    elif word == 'events':
        return int(rest)
    else:
        rec.header[word] = rest
    return None


def read(path):
    """Reads a recording; Malformed says file and line of what is wrong."""
    try:
        with open(path, 'rb') as f:
            data = f.read()
        if data[:6] == b'\xfd7zXZ\0':
            data = lzma.decompress(data)
        lines = data.decode().splitlines()
    except (lzma.LZMAError, EOFError, UnicodeDecodeError) as e:
        raise Malformed(f'{path}: cannot be read: {e}') from None
    except OSError as e:
        raise Malformed(f'{path}: {e.strerror}') from None
    if not lines or not lines[0].startswith('quire-recording '):
        raise Malformed(f'{path}:1: not a recording (it should start with "{MAGIC}")')
    if lines[0] != MAGIC:
        raise Malformed(f'{path}:1: format "{lines[0]}" is unknown here; this version reads "{MAGIC}"')
    rec, count = Recording(path=path), None
    for number, line in enumerate(lines[1:], 2):
        try:
            if count is None:
                count = _parse_header(rec, line)
            else:
                rec.events.append(_parse_event(line))
        except (ValueError, IndexError, KeyError) as e:
            raise Malformed(f'{path}:{number}: malformed line {line[:60]!r}: {e}') from None
    if count is None or count != len(rec.events):
        raise Malformed(f'{path}: cut short: {len(rec.events)} events of {count}')
    _check(rec)
    return rec


def _check(rec):
    """What the reader of a recording may rely on: files named exist, processes were made."""
    known = {1}
    for e in rec.events:
        if e[0] == 'f':
            known.add(e[1])
        elif e[0] == 'p' and e[1] not in known:
            raise Malformed(f'{rec.path}: process {e[1]} runs before it was made')
        elif e[0] == 'm' and e[1].file and e[1].file not in rec.files:
            raise Malformed(f'{rec.path}: a map names file {e[1].file}, which the header lacks')
        elif e[0] in 'oa' and e[2 if e[0] == 'o' else 1] not in rec.files:
            raise Malformed(f'{rec.path}: an event names a file that the header lacks')


def is_recording(path):
    """By its first bytes; a compressed file is taken for one by its magic."""
    try:
        with open(path, 'rb') as f:
            head = f.read(16)
    except OSError as e:
        raise Malformed(f'{path}: {e.strerror}') from None
    return head.startswith(b'quire-recording') or head.startswith(b'\xfd7zXZ\0')
