# SPDX-License-Identifier: MIT
"""Runs Quire's own kernels in QEMU: starts them, drains the trace ring out of guest memory while
they run, compares their page tables with what QEMU's monitor says, and knows how they ended.

Guest memory is a shared file. The kernel says where in it the ring lies, on its log:
`quire: trace ring phys=0x… size=0x…`. From then on this side reads records up to `head` and moves
`tail`; the guest waits when the ring is full, so nothing is lost.
"""
import json
import mmap
import os
import re
import shutil
import socket
import struct
import subprocess
import time
from dataclasses import dataclass, field

import cpio
import disks
from arches import ARCHES
from common import CannotRun, Progress, TimedOut, bound_to_us, build_folder, say, scratch
from trace import FILE_MAGIC, RECORD, RING_MAGIC, TABLE_END, TABLE_LEAF, TraceWriter

STDIO_LINE = re.compile(rb'^quire: stdio phys=(0x[0-9a-f]+) size=(0x[0-9a-f]+)$', re.M)
RING_LINE = re.compile(rb'trace ring phys=(0x[0-9a-f]+) size=(0x[0-9a-f]+)')
PANIC = re.compile(r'^.*\b(panic|oops)\b.*$', re.M | re.I)
ARGUMENTS = '/.quire-arguments'
# Of the kernel's own lines those that tell why a program ended, or what it was refused.
NOTICE = re.compile(r': killed by signal |: Killed process |: not run: |cannot run |cannot be loaded|is not built'
                    r'|no memory for |no killable|PANIC: |OOPS: |HANG: |WARN|were not given back|^quire: initramfs: '
                    r'|cannot swap')
# Words of struct quire_trace_ring, in 8-byte steps (include/quire/trace.h).
W_MAGIC, W_VERSION, W_CAPACITY, W_HEAD, W_TAIL, W_ENABLED, W_READER, W_STALLED, W_DUMP = range(9)
PAGE = 4096


@dataclass
class Config:
    """One run. files as for cpio.build; seconds: the guest is taken for hung after them."""
    machine: str
    init: str
    args: list = field(default_factory=list)
    files: dict = field(default_factory=dict)
    words: list = field(default_factory=list)
    mem: int = 128 << 20
    smp: int = 1
    ring: int = 16 << 20
    seconds: int = 120
    trace_path: str = ''
    disks: list = field(default_factory=list)   # disks.Disk
    swap: int = 0           # bytes of a temporary disk to swap to, behind the others
    links: dict = field(default_factory=dict)
    argv: list = None       # exec: arguments and environment in a file of the guest's, instead of args
    environment: list = field(default_factory=list)
    kept_log: str = ''      # where the kernel's log is kept; '': nowhere
    streams: object = None  # hostio.Streams: the program's standard input and output
    quiet: bool = False     # the kernel's lines are not told


@dataclass
class Outcome:
    """status: what the guest's kernel exited with; tables: (dumps compared, list of differences)."""
    status: int
    log: str
    records: int = 0
    dumps: int = 0
    table_differences: list = field(default_factory=list)
    seconds: float = 0.0


def kernel_image(machine):
    return os.path.join(build_folder(machine), 'kernel', 'quire.elf')


class Monitor:
    """QEMU's own view of the guest, over QMP."""

    cpu = 0  # whose view it is

    def __init__(self, path, seconds=10):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.sock.connect(path)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise CannotRun('QEMU\'s monitor does not answer') from None
                time.sleep(0.02)
        self.file = self.sock.makefile('rw')
        self.file.readline()
        self.command('qmp_capabilities')

    def command(self, name, **arguments):
        self.file.write(json.dumps({'execute': name, 'arguments': arguments}) + '\n')
        self.file.flush()
        while True:
            line = self.file.readline()
            if not line:
                raise CannotRun('QEMU\'s monitor hung up')
            answer = json.loads(line)
            if 'return' in answer:
                return answer['return']
            if 'error' in answer:
                raise CannotRun(f'QEMU\'s monitor: {answer["error"]["desc"]}')

    def human(self, line):
        return self.command('human-monitor-command', **{'command-line': line, 'cpu-index': self.cpu})


# ---- page tables, as QEMU sees them ----------------------------------------------------------

R, W, X, U, A, D = 1, 2, 4, 8, 16, 32


def parse_info_tlb_x86(text):
    """`info tlb`: a line a leaf, 'va: pa XGPDACTUWR'. Returns va -> (pa, flags), user half only."""
    leaves = {}
    for m in re.finditer(r'^([0-9a-f]{16}): ([0-9a-f]{16}) (\S{9,10})', text, re.M):
        va, pa, s = int(m.group(1), 16), int(m.group(2), 16), m.group(3)
        if va >> 63 or 'U' not in s:
            continue
        flags = R | U | (W if 'W' in s else 0) | (0 if s[0] == 'X' else X)
        flags |= (A if 'A' in s else 0) | (D if 'D' in s else 0)
        size = 0x200000 if 'P' in s else PAGE
        for off in range(0, size, PAGE):
            leaves[va + off] = (pa + off, flags)
    return leaves


def parse_info_mem_x86(text):
    """`info mem`: ranges 'start-end size urw'. Returns user pages -> writable."""
    pages = {}
    for m in re.finditer(r'^([0-9a-f]{16})-([0-9a-f]{16}) [0-9a-f]{16} u(.)(.)', text, re.M):
        start, end = int(m.group(1), 16), int(m.group(2), 16)
        if start >> 63:
            continue
        for va in range(start, end, PAGE):
            pages[va] = m.group(4) == 'w'
    return pages


def parse_info_mem_riscv(text):
    """`info mem`: 'vaddr paddr size rwxugad'. Returns va -> (pa, flags), user pages only."""
    leaves = {}
    for m in re.finditer(r'^([0-9a-f]{16}) ([0-9a-f]{16}) ([0-9a-f]{16}) (\S{7})', text, re.M):
        va, pa, size = (int(m.group(i), 16) for i in (1, 2, 3))
        s = m.group(4)
        if s[3] != 'u':
            continue
        flags = sum(bit for c, bit in zip(s, (R, W, X, U, 0, A, D)) if c != '-')
        for off in range(0, size, PAGE):
            leaves[va + off] = (pa + off, flags)
    return leaves


# How the monitor shows the tables: its leaves, and user pages -> writable if it tells those apart.
MONITOR = {
    'x86_64': (lambda m: parse_info_tlb_x86(m.human('info tlb')),
               lambda m: parse_info_mem_x86(m.human('info mem'))),
    'riscv64': (lambda m: parse_info_mem_riscv(m.human('info mem')), None),
}


def flags_text(flags):
    return ''.join(c if flags & b else '-' for c, b in zip('rwxuad', (R, W, X, U, A, D)))


def compare_tables(dump, seen):
    """Differences between the kernel's dump and the monitor's leaves, as lines."""
    out = []
    for va in sorted(set(dump) | set(seen)):
        a, b = dump.get(va), seen.get(va)
        if a != b:
            def text(x):
                return f'{x[0]:#x} {flags_text(x[1])}' if x else 'not mapped'
            out.append(f'{va:#x}: the dump says {text(a)}, QEMU says {text(b)}')
    return out


# ---- code addresses --------------------------------------------------------------------------

KERNEL_ADDRESS = re.compile(r'\b0x(f{8}[0-9a-f]{8})\b')


def with_names(machine, text):
    """The text with `function, file:line` behind each address of kernel code, as far as known."""
    found = sorted(set(KERNEL_ADDRESS.findall(text)))
    if not found or not shutil.which('addr2line'):
        return text
    r = subprocess.run(['addr2line', '-f', '-s', '-e', kernel_image(machine), *found],
                       capture_output=True, text=True)
    lines = r.stdout.splitlines()
    if r.returncode or len(lines) < 2 * len(found):
        return text
    names = {a: f'{f}, {at.split(" ")[0]}' for a, f, at in zip(found, lines[::2], lines[1::2])
             if f != '??'}
    return KERNEL_ADDRESS.sub(lambda m: m[0] + (f' ({names[m[1]]})' if m[1] in names else ''), text)


# ---- one run ---------------------------------------------------------------------------------

def base_command(machine, mem, smp, ram_file=None, log=None, cpu=None):
    """QEMU without kernel and devices of a run."""
    memory, backend = [], ''
    if ram_file:
        memory = ['-object', f'memory-backend-file,id=ram,size={mem},mem-path={ram_file},share=on']
        backend = ',memory-backend=ram'
    return [*ARCHES[machine].command(mem >> 20, log, cpu, backend), '-smp', str(smp), *memory]


def quoted(word):
    """An argument as the kernel's command line takes it (docs/kernel.md)."""
    if re.search(r'[\t\r\n]', word):
        raise CannotRun(f'{word!r}: no tabs or line ends go on a kernel command line')
    if word and not re.search(r'[ "\\]', word):
        return word
    return '"' + re.sub(r'(["\\])', r'\\\1', word) + '"'


class Run:
    """One guest from start to end. Use run() below."""

    def __init__(self, cfg):
        self.cfg = cfg
        self.folder = scratch('qemu')
        self.path = lambda name: os.path.join(self.folder, name)
        # Guest memory has no name in any file system: nothing can be left of it.
        self.memory = os.memfd_create('quire-ram')
        self.ram = self.words = self.block = None
        self.ring_at = self.capacity = self.tail = 0
        self.log_told = 0
        self.monitor = None
        self.dump, self.dump_over = {}, False
        self.outcome = Outcome(0, '')
        self.writer = TraceWriter(cfg.trace_path) if cfg.trace_path else None

    # -- start and end
    def command(self):
        cfg = self.cfg
        found, words = disks.with_swap(cfg.disks, cfg.swap, self.folder)
        words += [*cfg.words, 'init=' + cfg.init if cfg.argv is None else 'args=' + ARGUMENTS]
        if cfg.streams:
            words.append('stdio=' + ('tty' if cfg.streams.terminal else 'pipe'))
        if self.writer:
            ring = max(1 << 20, min(cfg.ring, cfg.mem >> 4))    # little of a small machine
            words.append(f'trace={ring >> 20}M')
        if cfg.args:
            words += ['--', *map(quoted, cfg.args)]
        return [*base_command(cfg.machine, cfg.mem, cfg.smp, f'/proc/self/fd/{self.memory}',
                              self.path('log')),
                *disks.options(ARCHES[cfg.machine], found),
                '-qmp', f'unix:{self.path("qmp")},server=on,wait=off',
                '-kernel', kernel_image(cfg.machine), '-initrd', self.path('initrd'),
                '-append', ' '.join(words)]

    def start(self):
        if not os.path.exists(kernel_image(self.cfg.machine)):
            raise CannotRun(f'{self.cfg.machine}: no kernel at {kernel_image(self.cfg.machine)}')
        with open(self.path('initrd'), 'wb') as f:
            f.write(cpio.build({**self.cfg.files, **self.arguments()}, self.cfg.links))
        command = self.command()
        try:
            return subprocess.Popen(command, preexec_fn=bound_to_us(),
                                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                    stderr=subprocess.PIPE, pass_fds=[self.memory],
                                    start_new_session=True)
        except FileNotFoundError:
            raise CannotRun(f'{self.cfg.machine}: {command[0]} is missing '
                            '(./quire setup installs it)') from None

    def arguments(self):
        """What kernel/process.c reads: path, number of arguments, those, the environment."""
        if self.cfg.argv is None:
            return {}
        words = [self.cfg.init, str(len(self.cfg.argv)), *self.cfg.argv, *self.cfg.environment]
        return {ARGUMENTS: (b''.join(os.fsencode(w) + b'\0' for w in words), 0o600)}

    def run(self):
        progress = Progress(self.cfg.machine)
        begin = time.monotonic()
        process = self.start()
        try:
            while process.poll() is None:
                if not self.step():
                    self.wait()
                spent = time.monotonic() - begin
                if self.cfg.streams:
                    self.tell()
                else:
                    progress.update(f'{spent:.1f} s, {self.outcome.records} events')
                if 0 < self.cfg.seconds < spent:
                    self.hung()
            self.outcome.seconds = time.monotonic() - begin
            self.step()
            if self.cfg.streams:
                self.cfg.streams.drain()
                self.tell()
        finally:
            progress.done()
            if process.poll() is None:
                process.kill()
                process.wait()
        return self.finish(process)

    def wait(self):
        if self.cfg.streams:
            self.cfg.streams.wait(0.002)
        else:
            time.sleep(0.002)

    def hung(self):
        if self.cfg.streams:
            raise TimedOut(f'{self.cfg.machine}: the program did not end in {self.cfg.seconds} s')
        raise CannotRun(f'{self.cfg.machine}: hung: no end after {self.cfg.seconds} s'
                        f'{self.where()}; the end of its log:\n{self.tail_of_log()}')

    def finish(self, process):
        self.outcome.log = self.read_log()
        error = process.stderr.read().decode(errors='replace').strip()
        status = ARCHES[self.cfg.machine].ended(process.returncode)
        if process.returncode < 0:
            raise CannotRun(f'{self.cfg.machine}: QEMU was killed by signal '
                            f'{-process.returncode}; the end of its log:\n{self.tail_of_log()}')
        if status is None or error and not self.outcome.log:
            raise CannotRun(f'{self.cfg.machine}: the guest crashed (QEMU status '
                            f'{process.returncode}) {error}\n{self.tail_of_log()}')
        panic = PANIC.search('\n'.join(s for s in self.outcome.log.splitlines()
                                       if s.startswith('quire: ')))
        if panic and self.cfg.streams:
            raise CannotRun(f'{self.cfg.machine}: the kernel\'s end, not the program\'s')
        if panic:
            raise CannotRun(f'{self.cfg.machine}: {panic.group(0)} (status {status}); the end of '
                            f'its log:\n{self.tail_of_log(40)}')
        # In words the status is whole; x86-64's exit device has room for the small ones only.
        said = re.findall(r'^quire: the first program ended with status (\d+)$',
                          self.outcome.log, re.M)
        self.outcome.status = int(said[-1]) if said and status else status
        if self.cfg.streams and self.cfg.streams.status() is not None:
            self.outcome.status = self.cfg.streams.status()
        return self.outcome

    def close(self):
        if self.writer:
            self.writer.close()
        if self.cfg.kept_log:
            with open(self.cfg.kept_log, 'w') as f:
                f.write(self.read_log())
        if self.cfg.streams:
            self.cfg.streams.detach()
        self.words = self.block = None
        if self.memory >= 0:
            os.close(self.memory)
        self.memory = -1
        shutil.rmtree(self.folder, ignore_errors=True)

    def where(self):
        """Where each processor stands, by QEMU's own registers."""
        found = []
        try:
            monitor = Monitor(self.path('qmp'), 2)
            for monitor.cpu in range(self.cfg.smp):
                m = re.search(r'(?:RIP=| pc +)([0-9a-f]{16})', monitor.human('info registers'))
                if m:
                    found.append(f'0x{m[1]}')
        except (CannotRun, OSError, ValueError):
            pass
        return with_names(self.cfg.machine, ', at ' + ', '.join(found)) if found else ''

    # -- the log
    def tell(self):
        """The kernel's lines that are for whoever started the program, each once. Behind what the
        program wrote before them: the rings are emptied first."""
        text = self.read_log()
        end = text.rfind('\n') + 1
        if end <= self.log_told:
            return
        lines, self.log_told = text[self.log_told:end].splitlines(), end
        for line in lines:
            if line.startswith('quire: ') and NOTICE.search(line) and not self.cfg.quiet:
                self.cfg.streams.drain()
                if '(SIGPIPE)' in line and self.cfg.streams.unread():
                    continue            # whoever stopped reading knows
                say(with_names(self.cfg.machine, line))

    def read_log(self):
        try:
            with open(self.path('log'), 'rb') as f:
                return f.read().decode(errors='replace').replace('\r', '')
        except OSError:
            return ''

    def tail_of_log(self, lines=20):
        text = with_names(self.cfg.machine, self.read_log()).splitlines()[-lines:]
        return '\n'.join('    ' + s for s in text) or '    (nothing)'

    # -- memory that the guest shares
    def where_in_log(self, line):
        """(address, size) by a line of the kernel's log; None: it has not said so."""
        try:
            with open(self.path('log'), 'rb') as f:
                m = line.search(f.read(1 << 20))
        except OSError:
            return None
        return m and (int(m.group(1), 16), int(m.group(2), 16))

    def shared(self, line):
        """That piece of guest memory; None: the guest has not named it yet."""
        found = self.where_in_log(line)
        if not found:
            return None
        at = ARCHES[self.cfg.machine].ram_offset(self.cfg.mem, found[0])
        return mmap.mmap(self.memory, found[1], offset=at)

    def find_stdio(self):
        self.block = self.block or self.shared(STDIO_LINE)
        if self.block:
            self.cfg.streams.attach(memoryview(self.block))

    # -- the ring
    def find_ring(self):
        self.ram = self.shared(RING_LINE)
        if not self.ram:
            return
        phys, size = self.where_in_log(RING_LINE)
        self.words = memoryview(self.ram)[:128].cast('Q')
        magic = self.words[W_MAGIC]     # once: the guest may be about to write it
        if magic != RING_MAGIC:
            if magic:
                raise CannotRun(f'{self.cfg.machine}: no trace ring at {phys:#x}')
            self.words.release()
            self.words = None
            return
        self.capacity = self.words[W_CAPACITY]
        if self.capacity * RECORD + PAGE > size or not self.capacity:
            raise CannotRun(f'{self.cfg.machine}: the trace ring says it holds {self.capacity} '
                            f'records in {size} bytes')
        self.tail = self.words[W_TAIL]
        self.words[W_READER] = 1

    def step(self):
        """Takes what is in the rings; True if there was something to do."""
        moved = False
        if self.cfg.streams:
            if not self.cfg.streams.rings:
                self.find_stdio()
            moved = self.cfg.streams.step()
        return self.step_trace() or moved if self.writer else moved

    def step_trace(self):
        if not self.words:
            self.find_ring()
        if not self.words:
            return False
        took = self.drain()
        if self.words[W_DUMP]:
            self.drain()
            self.compare()
            self.words[W_DUMP] = 0
            return True
        return took

    def drain(self):
        head = self.words[W_HEAD]
        count = head - self.tail
        if not count:
            return False
        if count > self.capacity:
            raise CannotRun(f'{self.cfg.machine}: the trace ring is corrupt: head {head}, '
                            f'tail {self.tail}')
        while count:
            slot = self.tail % self.capacity
            n = min(count, self.capacity - slot)
            data = self.ram[PAGE + slot * RECORD:PAGE + (slot + n) * RECORD]
            self.take(data)
            self.tail += n
            count -= n
            self.outcome.records += n
        self.words[W_TAIL] = self.tail
        return True

    def take(self, data):
        """Records go to the file; the leaves of a table dump are kept for the comparison."""
        self.writer.write(data)
        for at in range(0, len(data), RECORD):
            kind = data[at + 8]
            if kind in (TABLE_LEAF, TABLE_END) and self.dump_over:
                self.dump, self.dump_over = {}, False   # of the one before nobody waited
            if kind == TABLE_LEAF:
                va, pa, size, flags = struct.unpack_from('<4Q', data, at + 16)
                for off in range(0, size, PAGE):
                    self.dump[va + off] = (pa + off, flags & 63)
            elif kind == TABLE_END:
                self.expected = struct.unpack_from('<Q', data, at + 16)[0]
                self.dump_over = True

    def compare(self):
        """The guest waits, its space live: the monitor must see the tables as the dump has them."""
        if not self.monitor:
            self.monitor = Monitor(self.path('qmp'))
        self.monitor.cpu = self.words[W_DUMP] - 1
        self.monitor.command('stop')
        read_leaves, read_ranges = MONITOR[self.cfg.machine]
        seen, ranges = read_leaves(self.monitor), read_ranges and read_ranges(self.monitor)
        self.monitor.command('cont')
        self.outcome.dumps += 1
        self.outcome.table_differences += compare_tables(self.dump, seen)
        if ranges is not None:
            dumped = {va: bool(f & W) for va, (_, f) in self.dump.items()}
            for va in sorted(set(dumped) | set(ranges)):
                if dumped.get(va) != ranges.get(va):
                    self.outcome.table_differences.append(
                        f'{va:#x}: dump and info mem disagree about writing')
        self.dump = {}


def run(cfg):
    """Runs a guest to its end. CannotRun: it crashed, hung, panicked or could not start."""
    r = Run(cfg)
    try:
        return r.run()
    finally:
        r.close()
