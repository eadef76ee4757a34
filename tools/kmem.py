# SPDX-License-Identifier: MIT
"""Recordings of a real kernel's page and slab events: made, and replayed on Quire's machines.

The format, `quire-kmem 1`, and what a replay checks, are told in docs/kmem.md. A recording is made
by a real Linux 5.10 under QEMU: tools/kmem-recorder.c runs a command there with the kernel's own
tracer on. The text of the tracer is turned into events with small numbers instead of addresses.
"""
import lzma
import os
import re
import shutil
import subprocess

import oracle
from arches import ARCHES, NAMES
from common import CannotRun, Malformed, bound_to_us, build_folder, run, say, scratch

HEAD = 'quire-kmem 1'
EVENT = re.compile(r'^.{16,}?\[\d+\] \S{4,5} +[\d.]+: (\w+): (.*)$')
FIELD = re.compile(r'(\w+)=(\S+)')
PAGE_SHIFT = 12
LARGEST_CLASS = 8192
COUNTED = {'mm_page_alloc_extfrag': 'x', 'mm_page_pcpu_drain': 'd'}


def is_kmem(path):
    """Whether the file is such a recording, compressed or not."""
    try:
        with open_any(path) as f:
            return f.read(len(HEAD)) == HEAD.encode()
    except (OSError, lzma.LZMAError, EOFError):
        return False


def open_any(path):
    with open(path, 'rb') as f:
        packed = f.read(6) == b'\xfd7zXZ\0'
    return lzma.open(path) if packed else open(path, 'rb')


def read(path):
    """The text of a recording, as the replayer takes it."""
    try:
        with open_any(path) as f:
            return f.read()
    except OSError as e:
        raise CannotRun(f'{path}: {e.strerror}') from None
    except (lzma.LZMAError, EOFError) as e:
        raise Malformed(f'{path}: not a whole xz file: {e}') from None


# ---- from the tracer's text ------------------------------------------------------------------------

class Numbers:
    """Small numbers for things that come and go: a number is given again once it is free."""

    def __init__(self):
        self.live, self.free, self.top = {}, [], 0

    def take(self, what):
        n = self.free.pop() if self.free else self.top
        self.top = max(self.top, n + 1)
        self.live[what] = n
        return n

    def give(self, what):
        n = self.live.pop(what, None)
        if n is not None:
            self.free.append(n)
        return n


class Converter:
    def __init__(self):
        self.pages, self.objects, self.gfps = Numbers(), Numbers(), {}
        self.lines, self.skipped, self.slab_pages = [], 0, 0
        self.own = set()        # pages that the slab allocator took for itself
        self.last_page = None   # (index of its line, frame, order), while nothing came between

    def gfp(self, text):
        return self.gfps.setdefault(text, len(self.gfps))

    def page_alloc(self, f):
        frame, order = int(f['pfn']), int(f['order'])
        flags = f['gfp_flags'].split('|')
        if frame == 0:
            self.lines.append(f'f {order} {f["migratetype"]} {self.gfp(f["gfp_flags"])}')
        elif '__GFP_NOWARN' in flags and '__GFP_NORETRY' in flags and (
                order == 0 or '__GFP_COMP' in flags):
            # the mark of a new slab in 5.10: ours takes its own pages for its objects
            self.own.add(frame)
            self.slab_pages += 1 << order
        else:
            self.page_free({'pfn': frame}, lost=True)
            self.lines.append(f'p {self.pages.take(frame)} {order} {f["migratetype"]} '
                              f'{self.gfp(f["gfp_flags"])}')
            self.last_page = (len(self.lines) - 1, frame, order)

    def page_free(self, f, lost=False):
        frame = int(f['pfn'])
        if frame in self.own:
            self.own.discard(frame)
            return
        n = self.pages.give(frame)
        if n is not None:
            self.lines.append(f'P {n}')
        elif not lost:
            self.skipped += 1

    def alloc(self, f, kind):
        if f['ptr'].strip('0') == '':
            self.lines.append(f'g {f["bytes_req"]} {f["bytes_alloc"]} {self.gfp(f["gfp_flags"])}')
            return
        size = int(f['bytes_alloc'])
        if kind == 'k' and size > LARGEST_CLASS and self.last_page and \
                size == 1 << PAGE_SHIFT + self.last_page[2]:
            # a large kmalloc is its page: one event, not two
            self.lines.pop(self.last_page[0])
            self.pages.give(self.last_page[1])
            self.own.add(self.last_page[1])
        self.free(f, lost=True)
        self.lines.append(f'{kind} {self.objects.take(f["ptr"])} {f["bytes_req"]} {size} '
                          f'{self.gfp(f["gfp_flags"])}')

    def free(self, f, lost=False):
        if f['ptr'].strip('0') == '':
            return  # kfree(NULL)
        n = self.objects.give(f['ptr'])
        if n is not None:
            self.lines.append(f'K {n}')
        elif not lost:
            self.skipped += 1

    def event(self, name, f):
        before = self.last_page
        if name == 'mm_page_alloc':
            self.page_alloc(f)
        elif name == 'mm_page_free':
            self.page_free(f)
        elif name in ('kmalloc', 'kmalloc_node'):
            self.alloc(f, 'k')
        elif name in ('kmem_cache_alloc', 'kmem_cache_alloc_node'):
            self.alloc(f, 'c')
        elif name in ('kfree', 'kmem_cache_free'):
            self.free(f)
        elif name in COUNTED:
            self.lines.append(COUNTED[name])
        if self.last_page == before:
            self.last_page = None


def _sections(text):
    found = {}
    for part in re.split(r'^== ', text, flags=re.M)[1:]:
        title, _, body = part.partition('\n')
        found[title] = body
    return found


def _buddyinfo(body):
    for m in re.finditer(r'^Node \d+, zone +(\w+) +([\d ]+)$', body, re.M):
        yield m[1], m[2].split()


def convert(text, command, mib):
    """The recorder's output as a recording."""
    s = _sections(text)
    for title in ('kernel', 'buddyinfo before', 'buddyinfo after', 'stats', 'trace'):
        if title not in s:
            raise CannotRun(f'the recorder said nothing of "{title}": {text[-300:]}')
    lost = re.search(r'^(overrun|dropped events): [1-9]', s['stats'], re.M)
    if lost:
        raise CannotRun(f'the tracer lost events ({lost[0]}): give it a larger buffer')
    c = Converter()
    for line in s['trace'].splitlines():
        m = EVENT.match(line)
        if m:
            c.event(m[1], dict(FIELD.findall(m[2])))
    out = [HEAD, 'kernel ' + s['kernel'].split()[0], f'command {command}', f'memory {mib}']
    for when in ('before', 'after'):
        for zone, counts in _buddyinfo(s['buddyinfo ' + when]):
            out.append(f'{when} {zone} ' + ' '.join(counts))
    out += [f'gfp {n} {t}' for t, n in c.gfps.items()]
    out += [f'slab-pages {c.slab_pages}', f'skipped {c.skipped}',
            f'ids {c.pages.top} {c.objects.top}', f'events {len(c.lines)}']
    return '\n'.join(out + c.lines) + '\n'


# ---- recording -------------------------------------------------------------------------------------

def _with_libraries(files, path):
    """A program of this machine and the libraries that it needs, at their own paths."""
    files[path] = os.path.realpath(path)
    listed = subprocess.run(['ldd', path], capture_output=True, text=True).stdout
    for library in re.findall(r'(/\S+) \(0x', listed):
        files[library] = os.path.realpath(library)


def workload():
    """A compiler and a shell as a guest's files."""
    cc1 = run(['gcc', '-print-prog-name=cc1'], 'gcc').decode().strip()
    files = {}
    for path in ('/bin/sh', '/bin/cat', '/usr/bin/gcc', '/usr/bin/as', cc1):
        _with_libraries(files, path)
    files['/usr/include/stdc-predef.h'] = '/usr/include/stdc-predef.h'
    body = ('int f%d(int *p, int k) { int s = %d; for (int i = 0; i < k; i++) '
            'if (p[i] > s) s += p[i] * %d; else s ^= p[i]; return s; }\n')
    files['/w.c'] = (''.join(body % (i, i, i) for i in range(150)).encode(), 0o644)
    files['/s.c'] = (b'int main(void) { return 3; }\n', 0o644)
    return files


def record(output, script, mib=512, seconds=900):
    """Runs a shell script over the workload's files in a real 5.10; its kmem events to output."""
    folder = scratch('kmem')
    recorder = os.path.join(folder, 'kmem-recorder')
    run(['gcc', '-O2', '-static', '-Wall', '-o', recorder,
         os.path.join(os.path.dirname(os.path.abspath(__file__)), 'kmem-recorder.c')],
        'building kmem-recorder')
    files = {**workload(), '/kmem-recorder': recorder}
    job = oracle.Job('kmem', ['/kmem-recorder', '65536', '/bin/sh', '-c',
                              'export PATH=/usr/bin:/bin; ' + script], False, seconds)
    try:
        result = oracle.run_jobs([job], files, mem=mib)[0]
    finally:
        run(['rm', '-r', folder])
    if result.status:
        raise CannotRun(f'the recorded command ended with status {result.status}')
    data = convert(result.output.decode(errors='replace'), script, mib).encode()
    opener = lzma.open if output.endswith('.xz') else open
    with opener(output, 'wb') as f:
        f.write(data)
    lines = data.count(b'\n')
    say(f'quire: {output}: {lines} lines')


# ---- replaying -------------------------------------------------------------------------------------

SECONDS = 200
REPLAYERS = {'host': 'test/kmem/kmem-host', **{m: 'test/kmem/kmem.elf' for m in NAMES}}
SAID = re.compile(r'^kmem: (.*)$', re.M)


def targets(machine):
    return [REPLAYERS[machine]]


def _memory(text):
    m = re.search(rb'^memory (\d{1,7})$', text, re.M)
    return int(m[1]) if m else 128


def _command(machine, image, text, mib, folder):
    """The emulator's command line; the recording is the initramfs."""
    initrd, log = os.path.join(folder, 'recording'), os.path.join(folder, 'log')
    with open(initrd, 'wb') as f:
        f.write(text)
    return [*ARCHES[machine].command(mib, log), '-kernel', image, '-initrd', initrd], log


def replay(path, machine):
    """(status, lines) of a replay on one machine. Status 0: as recorded; 1: not; 2: malformed."""
    if machine not in REPLAYERS:
        raise CannotRun(f'{path}: page and slab events are replayed on '
                        f'{", ".join(REPLAYERS)}, not on {machine}')
    text = read(path)
    mib = _memory(text)
    image = os.path.join(build_folder(machine), REPLAYERS[machine])
    folder = scratch('kmem')
    try:
        if machine == 'host':
            plain = os.path.join(folder, 'recording')
            with open(plain, 'wb') as f:
                f.write(text)
            r = subprocess.run([image, plain, str(mib)], stdin=subprocess.DEVNULL,
                               capture_output=True, timeout=SECONDS, preexec_fn=bound_to_us())
            said, code = r.stdout + r.stderr, r.returncode
        else:
            command, log = _command(machine, image, text, mib, folder)
            r = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True,
                               timeout=SECONDS, preexec_fn=bound_to_us())
            with open(log, 'rb') as f:
                said = f.read()
            code = ARCHES[machine].ended(r.returncode)
    except subprocess.TimeoutExpired:
        raise CannotRun(f'{path} on {machine}: no end after {SECONDS} s') from None
    except FileNotFoundError as e:
        raise CannotRun(f'{path} on {machine}: {e.filename} is missing') from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = said.decode(errors='replace')
    lines = SAID.findall(text)
    if code not in (0, 1, 2) or not lines:
        raise CannotRun(f'{path} on {machine}: the replay ended with status {code}\n' +
                        '\n'.join('    ' + s for s in text.splitlines()[-15:]))
    return code, lines


def run_all(paths, machines):
    """Replays each recording on each machine and shows what came out. True: all as recorded."""
    good = True
    for path in paths:
        for machine in machines:
            status, lines = replay(path, machine)
            if status == 2:
                raise Malformed(f'{path}: {lines[-1]}')
            print(f'{path} on {machine}:')
            for line in lines:
                print('  ' + line)
            good &= status == 0
    return good
