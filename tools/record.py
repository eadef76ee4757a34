# SPDX-License-Identifier: MIT
"""`./quire record`: runs a program under Linux and stores what it asked of memory, in order.

perf's tracepoints give one time-ordered stream of system calls, user and kernel faults, forks and
execs; tools/watch.c adds, by ptrace stops, the maps that each exec made and each exit left. The
page cache is read back afterwards: what was cached before is what is cached now without the pages
that the tracer saw coming.
"""
import ctypes
import mmap as mmap_module
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys

from common import CannotRun, Progress, TOP, have, run, say, scratch
from recording import Area, File, Recording, U64, write

TRACEFS = '/sys/kernel/tracing'
MEMORY_CALLS = ['mmap', 'munmap', 'mprotect', 'pkey_mprotect', 'mremap', 'brk', 'madvise', 'mlock',
                'mlock2', 'munlock', 'mlockall', 'munlockall', 'msync', 'mincore',
                'remap_file_pages']
FILE_CALLS = ['open', 'openat', 'creat', 'close', 'dup', 'dup2', 'dup3', 'fcntl', 'memfd_create',
              'ftruncate', 'fallocate', 'close_range']
OTHER_EVENTS = ['exceptions:page_fault_user', 'exceptions:page_fault_kernel',
                'sched:sched_process_exec', 'sched:sched_process_exit', 'task:task_newtask',
                'filemap:mm_filemap_add_to_page_cache',
                'filemap:mm_filemap_delete_from_page_cache']
CLONE_VM, CLONE_FILES, CLONE_THREAD = 0x100, 0x400, 0x10000
O_CLOEXEC, MFD_CLOEXEC = 0o2000000, 1
F_DUPFD, F_DUPFD_CLOEXEC, F_SETFD = 0, 1030, 2
MAP_ANONYMOUS = 0x20
PAGE = 4096


# ---- running the program ---------------------------------------------------------------------

def _prepare():
    """perf, the tracer's file system and the right to use both."""
    if platform.machine() != 'x86_64':
        raise CannotRun('record: only x86-64 Linux has the page fault events')
    if os.geteuid() != 0:
        raise CannotRun('record: the kernel\'s tracepoints are root\'s: try sudo ./quire record …')
    if not have('perf'):
        raise CannotRun('record: perf is missing (./quire setup installs it)')
    if not os.path.isdir(TRACEFS + '/events'):
        subprocess.run(['mount', '-t', 'tracefs', 'tracefs', TRACEFS], stderr=subprocess.DEVNULL)
    if not os.path.isdir(TRACEFS + '/events/exceptions'):
        raise CannotRun(f'record: this kernel shows no page fault events under {TRACEFS}')


def _events():
    names = [e for e in OTHER_EVENTS if os.path.isdir(f'{TRACEFS}/events/{e.replace(":", "/")}')]
    for call in MEMORY_CALLS + FILE_CALLS:
        if os.path.isdir(f'{TRACEFS}/events/syscalls/sys_enter_{call}'):
            names += [f'syscalls:sys_enter_{call}', f'syscalls:sys_exit_{call}']
    return ','.join(names)


def _run_traced(command, folder):
    """Returns the command's exit status; leaves `data` and `watch` in folder."""
    watch = os.path.join(folder, 'quire-watch')
    run(['gcc', '-O2', '-o', watch, os.path.join(TOP, 'tools', 'watch.c')], 'building quire-watch')
    data, log = os.path.join(folder, 'data'), os.path.join(folder, 'watch')
    r = subprocess.run(['perf', 'record', '-q', '-m', '16M', '-d', '-e', _events(), '-o', data,
                        '--', watch, log, *command], stderr=None)
    if not os.path.exists(log) or not os.path.exists(data):
        raise CannotRun(f'record: perf failed with status {r.returncode}')
    return r.returncode


# ---- the watcher's log -----------------------------------------------------------------------

class Block:
    """A process's map after an exec or before an exit."""

    def __init__(self):
        self.areas, self.files, self.stat, self.status = [], {}, '', 0

    def layout(self):
        """(start of the heap, start of the stack) as /proc/PID/stat tells them."""
        words = self.stat.rpartition(')')[2].split()
        return (int(words[44]), int(words[25])) if len(words) > 44 else (0, 0)


def _parse_watch(path):
    """pid of the command, and for each (event, pid) the blocks in order."""
    first, blocks, cur = 0, {}, None
    with open(path, errors='surrogateescape') as f:
        for line in f:
            word, _, rest = line.rstrip('\n').partition(' ')
            if word == 'start':
                first = int(rest)
            elif word in ('exec', 'exit'):
                pid, status = rest.split()
                cur = Block()
                cur.status = int(status)
                blocks.setdefault((word, int(pid)), []).append(cur)
            elif word == 'stat':
                cur.stat = rest
            elif word == 'file':
                dev, ino, size, name = rest.split(' ', 3)
                major, minor = (int(x, 16) for x in dev.split(':'))
                cur.files[(major, minor, int(ino))] = (int(size), name)
            elif word == 'map':
                cur.areas.append(_parse_map(rest))
            elif word == 'rss':
                cur.areas[-1][0].rss = int(rest)
    return first, blocks


def _parse_map(text):
    words = text.split(None, 5)
    start, end = (int(x, 16) for x in words[0].split('-'))
    major, minor = (int(x, 16) for x in words[3].split(':'))
    name = words[5].strip() if len(words) > 5 else ''
    area = Area(start, end, words[1], int(words[2], 16))
    return (area, (major, minor, int(words[4])), name)


# ---- perf's stream ---------------------------------------------------------------------------

LINE = re.compile(r'\s*(-?\d+)/(-?\d+)\s+(\d+)\.(\d+): +(\S+?):? +(.*)')
MMAP2 = re.compile(r'(?:-?\d+)/(?:-?\d+): \[0x([0-9a-f]+)\((0x[0-9a-f]+|0)\) @ (?:0x)?[0-9a-f]+ '
                   r'([0-9a-f]+):([0-9a-f]+) (\d+) \d+\]: (\S+) (.*)')
ARGUMENT = re.compile(r'[a-z_0-9]+: (0x[0-9a-f]+|\d+)')


def _stream(data):
    """perf script's lines as (pid, tid, event, text); says so if events were lost."""
    p = subprocess.Popen(['perf', 'script', '--show-mmap-events', '--show-task-events',
                          '--show-lost-events', '-F', 'pid,tid,time,event,trace', '-i', data],
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                         errors='surrogateescape')
    with p.stdout:
        for line in p.stdout:
            m = LINE.match(line)
            if not m:
                continue
            if 'PERF_RECORD_LOST' in line:
                raise CannotRun('record: perf lost events; try again with less else running')
            event, text = m.group(5), m.group(6)
            if event.startswith('PERF_RECORD_COMM') and text.startswith('exec'):
                event = 'exec-begins'
            yield int(m.group(1)), int(m.group(2)), event, text
    if p.wait():
        raise CannotRun(f'record: perf script failed with status {p.returncode}')


class Process:
    """What the recorder follows of a process: its number and its open files."""

    def __init__(self, number, fds):
        self.number, self.fds, self.cloexec = number, fds, set()


class Recorder:
    """Turns the stream into events, for the command's own processes only."""

    def __init__(self, first, blocks):
        self.blocks, self.first = blocks, first
        self.processes, self.threads = {}, {}
        self.events, self.current = [], 0
        self.enter, self.mapped = {}, {}
        self.files = {}                 # (major, minor, ino) -> [path, size seen]
        self.cache_events = []
        self.structs = {}               # struct file number -> [references, flags, file key]
        self.count = 0

    def run(self, stream):
        progress = Progress('reading the recording')
        for i, (pid, tid, event, text) in enumerate(stream):
            progress.update(f'{i} events')
            if event.startswith('filemap:'):
                self.page_cache(event, text)
            elif tid in self.threads or pid == self.first:
                self.event(pid, tid, event, text)
        progress.done()

    # -- helpers
    def put(self, process, *event):
        if process.number != self.current:
            self.current = process.number
            self.events.append(('p', process.number))
        self.events.append(event)

    def file(self, key, path):
        if key not in self.files:
            self.files[key] = [path, 0]
        return key

    # -- one event
    def event(self, pid, tid, event, text):
        if tid not in self.threads:     # the command before its first exec
            if event == 'exec-begins':
                self.count = 1
                self.processes[pid] = Process(1, {})
                self.threads[tid] = self.processes[pid]
            else:
                return
        process = self.threads[tid]
        if event.startswith('exceptions:page_fault'):
            self.fault(process, event, text)
        elif event.startswith('syscalls:sys_enter_'):
            name = event[len('syscalls:sys_enter_'):]
            self.enter[tid] = (name, [int(a, 0) for a in ARGUMENT.findall(text)])
            self.mapped[tid] = None
        elif event.startswith('syscalls:sys_exit_'):
            self.syscall(process, tid, event[len('syscalls:sys_exit_'):], text)
        elif event == 'PERF_RECORD_MMAP2':
            self.mmap_seen(tid, text)
        elif event == 'exec-begins':
            self.exec(process, pid)
        elif event == 'task:task_newtask':
            self.newtask(process, text)
        elif event == 'sched:sched_process_exit':
            if tid == pid:
                self.exit(process, pid)
            self.threads.pop(tid, None)

    def fault(self, process, event, text):
        m = re.search(r'address=(0x)?([0-9a-f]+) .*error_code=0x([0-9a-f]+)', text)
        if m:
            kind = 'u' if event.endswith('user') else 'k'
            address = int(m.group(2), 16)
            if kind == 'u' or address < 1 << 47:
                self.put(process, kind, address, int(m.group(3), 16))

    def mmap_seen(self, tid, text):
        """A new area that perf tells of: during an mmap it says which file was mapped."""
        m = MMAP2.match(text)
        if m and m.group(7).startswith('/') and not m.group(7).startswith('//anon'):
            key = (int(m.group(3), 16), int(m.group(4), 16), int(m.group(5)))
            if key[2]:
                self.file(key, m.group(7))
                self.mapped[tid] = key

    def syscall(self, process, tid, name, text):
        entered, args = self.enter.pop(tid, (None, []))
        m = re.match(r'(0x[0-9a-f]+|\d+)', text.strip())
        if entered != name or not m:
            return
        result = int(m.group(1), 0) % U64
        if name in MEMORY_CALLS:
            self.memory_call(process, tid, name, args, result)
        else:
            self.file_call(process, name, args, result)

    def memory_call(self, process, tid, name, args, result):
        struct = 0
        if name == 'mmap' and not args[3] & MAP_ANONYMOUS:
            struct = process.fds.get(args[4] & 0xffffffff, 0)
            key = self.mapped.pop(tid, None)
            if struct and key:
                self.structs[struct][2] = key
            elif key:                   # a descriptor from before the recording
                struct = self.open(process, args[4] & 0xffffffff, os.O_RDWR)
                self.structs[struct][2] = key
        self.put(process, 'c', name, args, result, struct)

    # -- descriptors: struct files are numbered, so that one stays one through dup and fork
    def open(self, process, fd, flags, cloexec=False):
        number = len(self.structs) + 1
        self.structs[number] = [0, flags, None]
        self.put(process, 'o', number, 0, flags & 0o3)
        self.set_fd(process, fd, number, cloexec)
        return number

    def set_fd(self, process, fd, number, cloexec=False):
        old = process.fds.pop(fd, 0)
        process.cloexec.discard(fd)
        if cloexec:
            process.cloexec.add(fd)
        if number:
            process.fds[fd] = number
            self.structs[number][0] += 1
        if old:
            self.structs[old][0] -= 1
            if not self.structs[old][0]:
                self.put(process, 'z', old)

    def file_call(self, process, name, args, result):
        if result > U64 - 4096:
            return
        fd = args[0] & 0xffffffff if args else 0
        if name in ('open', 'openat', 'creat', 'memfd_create'):
            flags = {'open': lambda: args[1], 'openat': lambda: args[2],
                     'creat': lambda: os.O_WRONLY, 'memfd_create': lambda: os.O_RDWR}[name]()
            cloexec = args[1] & MFD_CLOEXEC if name == 'memfd_create' else flags & O_CLOEXEC
            self.open(process, result, flags, bool(cloexec))
        elif name == 'close':
            self.set_fd(process, fd, 0)
        elif name == 'close_range':
            for n in [n for n in process.fds if fd <= n <= args[1] & 0xffffffff]:
                self.set_fd(process, n, 0)
        elif name in ('dup', 'dup2', 'dup3'):
            if result != fd:
                cloexec = name == 'dup3' and args[2] & O_CLOEXEC
                self.set_fd(process, result, process.fds.get(fd, 0), bool(cloexec))
        elif name == 'fcntl' and args[1] == F_SETFD:
            (process.cloexec.add if args[2] & 1 else process.cloexec.discard)(fd)
        elif name == 'fcntl' and args[1] in (F_DUPFD, F_DUPFD_CLOEXEC):
            self.set_fd(process, result, process.fds.get(fd, 0), args[1] == F_DUPFD_CLOEXEC)
        elif name in ('ftruncate', 'fallocate') and process.fds.get(fd):
            self.put(process, 'c', name, args, result, process.fds[fd])

    # -- processes
    def newtask(self, process, text):
        m = re.search(r'pid=(\d+) .*clone_flags=([0-9a-f]+)', text)
        pid, flags = int(m.group(1)), int(m.group(2), 16)
        if flags & CLONE_THREAD:
            self.threads[pid] = process
            return
        self.count += 1
        fds = process.fds if flags & CLONE_FILES else dict(process.fds)
        if not flags & CLONE_FILES:
            for number in fds.values():
                self.structs[number][0] += 1
        self.processes[pid] = self.threads[pid] = Process(self.count, fds)
        self.processes[pid].cloexec = set(process.cloexec)
        self.put(process, 'f', self.count, flags)

    def take(self, event, pid):
        blocks = self.blocks.get((event, pid))
        return blocks.pop(0) if blocks else None

    def put_areas(self, process, block):
        for area, key, name in block.areas:
            size, path = block.files.get(key, (0, name))
            if key[2] and name.startswith('/'):
                self.file(key, path)
                self.files[key][1] = max(self.files[key][1], size)
                area.file = key         # numbered when all are known
            else:
                area.name = name.replace(' ', '_')
            self.put(process, 'm', area)

    def exec(self, process, pid):
        block = self.take('exec', pid)
        for fd in sorted(process.cloexec & set(process.fds)):
            self.set_fd(process, fd, 0)
        if not block:
            raise CannotRun(f'record: an exec of process {pid} was not watched')
        brk, stack = block.layout()
        exe = next((a[2] for a in block.areas if a[2].startswith('/')), '?')
        self.put(process, 'x', len(block.areas), brk, stack, exe)
        self.put_areas(process, block)

    def exit(self, process, pid):
        block = self.take('exit', pid)
        self.put(process, 'e', block.status if block else 0)
        if block:
            self.put_areas(process, block)
        for fd in list(process.fds):
            self.set_fd(process, fd, 0)

    def page_cache(self, event, text):
        m = re.match(r'dev (\d+):(\d+) ino ([0-9a-f]+) .*ofs=(\d+)(?: order=(\d+))?', text)
        if not m:
            return
        key = (int(m.group(1)), int(m.group(2)), int(m.group(3), 16))
        first = int(m.group(4)) // PAGE
        pages = 1 << int(m.group(5) or 0)
        added = event.endswith('add_to_page_cache')
        self.cache_events.append((added, key, first, first + pages - 1))
        if added and self.current:
            self.events.append(('a', key, first, first + pages - 1))


# ---- the page cache --------------------------------------------------------------------------

def _cached_now(path, size):
    """The set of a file's pages that are in the page cache."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int,
                          ctypes.c_int, ctypes.c_long]
    pages = (size + PAGE - 1) // PAGE
    fd = os.open(path, os.O_RDONLY)
    try:
        at = libc.mmap(None, size, mmap_module.PROT_READ, mmap_module.MAP_SHARED, fd, 0)
        if at in (None, ctypes.c_void_p(-1).value):
            return set()
        vector = (ctypes.c_ubyte * pages)()
        libc.mincore(ctypes.c_void_p(at), ctypes.c_size_t(size), vector)
        libc.munmap(ctypes.c_void_p(at), ctypes.c_size_t(size))
        return {i for i in range(pages) if vector[i] & 1}
    finally:
        os.close(fd)


def _as_ranges(pages):
    out = []
    for p in sorted(pages):
        if out and out[-1][1] == p - 1:
            out[-1][1] = p
        else:
            out.append([p, p])
    return [tuple(r) for r in out]


def _describe_files(recorder):
    """Numbers the files; what was cached at the start is now's less what came since."""
    files, numbers = {}, {}
    for key, (path, size) in recorder.files.items():
        number = numbers[key] = len(files) + 1
        f = File(number, f'{key[0]:x}:{key[1]:x}', key[2], size, path)
        try:
            st = os.stat(path)
            same = (os.major(st.st_dev), os.minor(st.st_dev), st.st_ino) == key
        except OSError:
            same = False
        if same:
            f.size = max(size, st.st_size)
            pages = _cached_now(path, st.st_size) if st.st_size else set()
        else:                           # gone by now: its pages were all in memory
            pages = set(range((f.size + PAGE - 1) // PAGE))
        for added, k, first, last in reversed(recorder.cache_events):
            if k == key:
                span = set(range(first, last + 1))
                pages = pages - span if added else pages | span
        end = (f.size + PAGE - 1) // PAGE
        f.cached = _as_ranges(p for p in pages if p < end)
        files[number] = f
    return files, numbers


def _finish(recorder, numbers):
    """Events with file numbers in place of keys, without descriptors that were never mapped."""
    used = {e[4] for e in recorder.events if e[0] == 'c' and e[4] and e[1] == 'mmap'}
    used = {s for s in used if recorder.structs[s][2]}
    out, process = [], 0
    for e in recorder.events:
        if e[0] == 'p':
            process = e[1]
            continue
        if e[0] in 'oz' and e[1] not in used:
            continue
        if e[0] == 'o':
            e = ('o', e[1], numbers[recorder.structs[e[1]][2]], e[3])
        elif e[0] == 'c' and e[4] and e[4] not in used:
            if e[1] != 'mmap':
                continue
            e = ('c', e[1], e[2], e[3], 0)
        elif e[0] == 'm' and isinstance(e[1].file, tuple):
            e[1].file = numbers[e[1].file]
        elif e[0] == 'a':
            if e[1] not in numbers:
                continue
            e = ('a', numbers[e[1]], e[2], e[3])
        if process:
            out.append(('p', process))
            process = 0
        out.append(e)
    return _drop_repeats(out)


def _drop_repeats(events):
    """`p` lines only where the process really changes."""
    out, current = [], 0
    for e in events:
        if e[0] == 'p':
            if e[1] == current:
                continue
            current = e[1]
        out.append(e)
    return out


def _read_setting(path, default):
    try:
        with open(path) as f:
            return f.read().strip()
    except OSError:
        return default


def _fault_around():
    """The window's bytes; debugfs knows, and the kernel's own default is 64 KiB."""
    return _read_setting('/sys/kernel/debug/fault_around_bytes', '65536')


def _header(command):
    thp = _read_setting('/sys/kernel/mm/transparent_hugepage/enabled', 'never')
    m = re.search(r'\[(\w+)\]', thp)
    return {'release': platform.release(), 'machine': platform.machine(),
            'page_size': str(os.sysconf('SC_PAGESIZE')), 'thp': m.group(1) if m else thp,
            'fault_around': _fault_around(), 'command': shlex.join(command)}


def record(command, output):
    """Runs command and writes the recording. Returns the command's exit status."""
    _prepare()
    if not shutil.which(command[0]):
        raise CannotRun(f'record: {command[0]}: no such program')
    folder = scratch('record')
    try:
        sys.stdout.flush()
        status = _run_traced(command, folder)
        first, blocks = _parse_watch(os.path.join(folder, 'watch'))
        recorder = Recorder(first, blocks)
        recorder.run(_stream(os.path.join(folder, 'data')))
        if not recorder.processes:
            raise CannotRun('record: the program was never seen running')
        files, numbers = _describe_files(recorder)
        rec = Recording({**_header(command), 'status': str(status)}, files,
                        _finish(recorder, numbers))
        write(rec, output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    user, kernel = rec.faults()
    calls = sum(1 for e in rec.events if e[0] == 'c')
    say(f'quire: {output}: {recorder.count} processes, {calls} calls, '
        f'{user} user and {kernel} kernel faults, {len(files)} files mapped')
    return status
