# SPDX-License-Identifier: MIT
"""Compiles a recording into the replayer's table (user/replay.h) and into one ELF per exec.

The table makes the same calls in the same order; addresses that the kernel chose are asked for
with MAP_FIXED, descriptors are renumbered, and each recorded fault becomes one access of one
byte. A small model of every process's areas tells what a page is when it is touched. What cannot
be replayed is left out under a named rule, and each rule counts what it left out.
"""
import struct
from dataclasses import dataclass, field, replace

from common import CannotRun
from recording import U64

PAGE = 4096
HOLE = (0x10000, 0x400000)
TABLE_ADDR = 0x80000
FD_FIRST, FD_LAST, MAX_SLOTS, MAX_PROCS = 16, 191, 24, 4096
USER_END = 0x7ffffffff000
DIGEST_EVERY = 500

OP_FAULT, OP_CALL, OP_FORK, OP_EXEC, OP_EXIT, OP_WAIT, OP_VERIFY, OP_DIGEST = range(1, 9)
F_READ, F_WRITE, F_FETCH, F_KERNEL, F_MARK, F_PLANT, F_REFUSED = 0, 1, 2, 4, 8, 16, 32
CALLS = {name: i for i, name in enumerate(
    ['mmap', 'munmap', 'mprotect', 'mremap', 'brk', 'madvise', 'mlock', 'mlock2', 'munlock',
     'mlockall', 'munlockall', 'msync', 'open', 'memfd', 'dup', 'close', 'ftruncate',
     'fallocate'], 1)}
AT_EXEC, AT_FORK, AT_EXIT, AT_COUNT = 1, 2, 3, 4

PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
MAP_SHARED, MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS, MAP_32BIT = 1, 2, 0x10, 0x20, 0x40
MAP_GROWSDOWN, MAP_POPULATE, MAP_STACK, MAP_HUGETLB, MAP_NOREPLACE = (
    0x100, 0x8000, 0x20000, 0x40000, 0x100000)
MREMAP_MAYMOVE, MREMAP_FIXED, MREMAP_DONTUNMAP = 1, 2, 4
MADV_DONTNEED, MADV_REMOVE, MADV_FREE, MADV_HUGEPAGE = 4, 9, 8, 14
CLONE_VM, CLONE_VFORK = 0x100, 0x4000
O_RDWR = 2
ERRNO_MIN = U64 - 4095

RULES = {
    'vdso': 'accesses to vdso, vvar and vsyscall, which the replay has not',
    'outside': 'accesses to an address where the recorded program had nothing mapped',
    'hugepage-advice': 'madvise(MADV_HUGEPAGE): the replay runs without huge pages',
    'later-madvise': 'madvise with advice that 5.10 does not know',
    'fetch-anonymous': 'fetches from anonymous memory, replayed as reads',
    'calls-without-replay': 'calls that leave no trace in memory (mincore, remap_file_pages)',
}


@dataclass
class Area:
    start: int
    end: int
    prot: int
    shared: bool = False
    file: int = 0
    special: bool = False
    offset: int = 0
    stack: bool = False

    def part(self, start, end):
        offset = self.offset + start - self.start if self.file else 0
        return replace(self, start=start, end=end, offset=offset)


class Space:
    """The areas of one address space, as the recording's calls made them."""

    def __init__(self, areas=(), marked=()):
        self.areas = list(areas)
        self.marked = set(marked)       # pages that carry their pattern

    def copy(self):
        return Space([replace(a) for a in self.areas], self.marked)

    def find(self, addr):
        return next((a for a in self.areas if a.start <= addr < a.end), None)

    def remove(self, start, end):
        out = []
        for a in self.areas:
            if a.end <= start or a.start >= end:
                out.append(a)
                continue
            if a.start < start:
                out.append(a.part(a.start, start))
            if a.end > end:
                out.append(a.part(end, a.end))
        self.areas = out

    def add(self, area):
        self.remove(area.start, area.end)
        self.areas.append(area)

    def protect(self, start, end, prot):
        for a in [a for a in self.areas if a.start < end and a.end > start]:
            s, e = max(a.start, start), min(a.end, end)
            self.add(replace(a.part(s, e), prot=prot))

    def take_marked(self, start, end, readable_only=True):
        """Runs of marked pages in a range, which then count as gone."""
        first, last = start // PAGE, (end + PAGE - 1) // PAGE
        if last - first < len(self.marked):
            pages = [p for p in range(first, last) if p in self.marked]
        else:
            pages = sorted(p for p in self.marked if first <= p < last)
        self.marked.difference_update(pages)
        runs = []
        for p in pages:
            a = self.find(p * PAGE)
            if readable_only and not (a and a.prot & PROT_READ):
                continue
            if runs and runs[-1][0] + runs[-1][1] == p:
                runs[-1][1] += 1
            else:
                runs.append([p, 1])
        return runs


@dataclass
class Table:
    """The compiled form. heaps: where each image's break starts; expected: recorded faults that
    are replayed, as (process, kind, address, code); rules: name -> count left out."""
    data: bytes = b''
    heaps: list = field(default_factory=list)
    expected: list = field(default_factory=list)
    rules: dict = field(default_factory=dict)
    final: list = field(default_factory=list)
    faults: int = 0


def settle_vforks(events):
    """The events with each exec or exit of a vfork child before what its parent did after it.

    Linux wakes such a parent when the child lets go of the space, and reports the exec a moment
    later; with several processors the parent's next events may stand between the two. From the
    child only the kernel's own faults can (it writes the new stack).
    """
    units, proc = [], 1
    for e in events:
        if e[0] == 'p':
            proc = e[1]
        elif e[0] == 'm' and units:
            units[-1][1].append(e)      # belongs to the exec or exit before it
        else:
            units.append((proc, [e]))
    at = 0
    while at < len(units):
        parent, (e, *_) = units[at]
        at += 1
        if e[0] != 'f' or not e[2] & CLONE_VFORK:
            continue
        after, end = at, at
        while end < len(units) and not (units[end][0] == e[1] and units[end][1][0][0] in 'xe'):
            if units[end][0] == e[1] and units[end][1][0][0] != 'k':
                after = end + 1
            end += 1
        woken = next((i for i in range(after, min(end, len(units))) if units[i][0] == parent), end)
        if woken < end < len(units):
            moved = [u for u in units[woken:end] if u[0] == e[1]]
            others = [u for u in units[woken:end] if u[0] != e[1]]
            units[woken:end + 1] = [units[end], *moved, *others]
    out, proc = [], 1
    for number, group in units:
        if number != proc:
            out.append(('p', number))
            proc = number
        out += group
    return out


class Compiler:
    def __init__(self, rec):
        self.rec = rec
        self.steps = []                 # (op, proc, aux, words)
        self.rules = {name: 0 for name in RULES}
        self.spaces, self.parents, self.slots = {1: Space()}, {1: 1}, {}
        self.alive, self.vfork = {1}, {}    # vfork: suspended parent -> child
        self.same = {}                  # CLONE_VM without VFORK: runs as its maker
        self.heaps, self.images = [], {1: None}
        self.fds, self.fd_free = {}, list(range(FD_LAST, FD_FIRST - 1, -1))
        self.holders = {}               # struct file -> processes that have it open
        self.expected, self.final = [], []
        self.calls = 0
        self.held_exit = None

    # -- steps
    def step(self, op, proc, aux=0, words=()):
        self.steps.append((op, proc - 1, aux, words))

    def call(self, proc, name, args, result=0):
        args = list(args)[:6] + [0] * (6 - len(args))
        self.step(OP_CALL, proc, CALLS[name], [a % U64 for a in args] + [result % U64])

    def verify(self, proc, start, end):
        for first, count in self.spaces[proc].take_marked(start, end):
            self.step(OP_VERIFY, proc, count, [first * PAGE])

    # -- who takes a step: a parent that waits for its vfork child cannot, so the child does
    def actor(self, proc):
        while True:
            proc = self.same.get(proc, proc)
            if proc in self.vfork:
                proc = self.vfork[proc]
            else:
                return proc

    # -- descriptors
    def open_struct(self, proc, number, file_id, mode):
        if not self.fd_free:
            raise CannotRun(f'{self.rec.path}: more than {FD_LAST - FD_FIRST + 1} mapped files '
                            'are open at once')
        fd = self.fd_free.pop()
        self.fds[number] = fd
        self.holders[number] = {proc}
        if self.rec.files[file_id].path.startswith('/memfd:'):
            self.call(proc, 'memfd', [0, 0, fd])
        else:
            # A mapping's rights depend on how the file was opened, all else does not.
            self.call(proc, 'open', [file_id - 1, mode & 3, fd])

    def close_struct(self, proc, number):
        fd = self.fds.pop(number, None)
        if fd is None:
            return
        for p in sorted(self.holders.pop(number) & self.alive):
            if self.actor(p) == p:
                self.call(p, 'close', [fd])
        self.fd_free.append(fd)

    # -- events
    def run(self):
        proc, index, events = 1, 0, settle_vforks(self.rec.events)
        while index < len(events):
            e = events[index]
            index += 1
            if e[0] == 'p':
                proc = e[1]
            elif e[0] in 'uk':
                self.fault(proc, e)
            elif e[0] == 'c':
                self.on_call(self.actor(proc), e)
            elif e[0] == 'o':
                self.open_struct(self.actor(proc), e[1], e[2], e[3])
            elif e[0] == 'z':
                self.close_struct(self.actor(proc), e[1])
            elif e[0] == 'f':
                self.fork(self.actor(proc), e[1], e[2])
            elif e[0] in 'xe':
                areas = []
                while index < len(events) and events[index][0] == 'm':
                    areas.append(events[index][1])
                    index += 1
                if e[0] == 'x':
                    self.exec(self.actor(proc), e, areas, events[index:index + 16])
                else:
                    self.exit(proc, e, areas)
        self.finish()

    def fault(self, proc, e):
        kind, address, code = e
        actor = self.actor(proc)
        space = self.spaces[actor]
        area = space.find(address)
        if area and area.special or address >= USER_END:
            self.rules['vdso'] += 1
            return
        if HOLE[0] <= address < HOLE[1]:
            raise CannotRun(f'{self.rec.path}: the program touches {address:#x}, where the '
                            'replayer lives')
        if not area and kind == 'k':
            self.rules['outside'] += 1
            return
        grown = self.grow_stack(space, address) if not area else None
        area = area or grown
        refused = self.refused(area, address, code)
        flags, private = 0, not refused and not area.shared and area.prot & PROT_WRITE
        if code & 16:
            flags = F_FETCH
            if area and not area.file and not area.shared and not refused:
                self.rules['fetch-anonymous'] += 1
                flags = F_READ
        elif code & 2:
            flags = F_WRITE
            if private:
                flags |= F_MARK
                space.marked.add(address // PAGE)
        if kind == 'k':
            flags |= F_KERNEL
        if refused:
            flags |= F_REFUSED
        self.step(OP_FAULT, actor, flags, [address])
        self.expected.append((actor, kind, address, code))

    def grow_stack(self, space, address):
        """An access below a stack grows it; the model takes every distance for near enough."""
        above = [a for a in space.areas if a.stack and a.start > address]
        if not above:
            return None
        stack = min(above, key=lambda a: a.start)
        if stack.start - address > 8 << 20:
            return None
        stack.start = address // PAGE * PAGE
        return stack

    def refused(self, area, address, code):
        """Whether Linux answers this access with a signal, as far as the model knows."""
        if not area:
            return True
        wanted = PROT_EXEC if code & 16 else PROT_WRITE if code & 2 else PROT_READ | PROT_WRITE | \
            PROT_EXEC
        if not area.prot & wanted:
            return True
        if not area.file:
            return False
        size = self.sizes[area.file]
        return address // PAGE * PAGE - area.start + area.offset >= (size + PAGE - 1) // PAGE * PAGE

    def on_call(self, proc, e):
        _, name, args, result, number = e
        self.calls += 1
        handler = getattr(self, 'do_' + name, None)
        if not handler:
            self.rules['calls-without-replay'] += 1
        elif number and number not in self.fds:
            self.rules['calls-without-replay'] += 1
        else:
            handler(proc, list(args), result, self.fds.get(number, -1), number)
        if self.calls % DIGEST_EVERY == 0:
            self.step(OP_DIGEST, proc, AT_COUNT)

    def check_hole(self, start, end):
        if start < HOLE[1] and end > HOLE[0]:
            raise CannotRun(f'{self.rec.path}: the program maps {start:#x}-{end:#x}, where the '
                            'replayer lives')

    def do_mmap(self, proc, args, result, fd, number):
        addr, length, prot, flags, _, offset = args
        failed = result >= ERRNO_MIN
        if flags & MAP_HUGETLB:
            raise CannotRun(f'{self.rec.path}: the program maps huge pages explicitly')
        path = self.file_path(number)
        if path == '/dev/zero':
            flags, fd, number, offset = flags | MAP_ANONYMOUS, -1, 0, 0
        if failed:
            if not number and flags & MAP_ANONYMOUS:
                self.call(proc, 'mmap', [addr, length, prot, flags, -1, offset], result)
            return
        end = result + (length + PAGE - 1) // PAGE * PAGE
        self.check_hole(result, end)
        self.verify(proc, result, end)
        flags = flags & ~(MAP_32BIT | MAP_NOREPLACE) | MAP_FIXED
        if not number and not flags & MAP_ANONYMOUS:
            raise CannotRun(f'{self.rec.path}: an mmap of a file that was not recorded')
        self.call(proc, 'mmap', [result, length, prot, flags, fd, offset], result)
        shared = flags & 3 in (1, 3)
        self.spaces[proc].add(Area(result, end, prot, shared, number and self.struct_file[number],
                                   offset=offset, stack=bool(flags & MAP_GROWSDOWN)))

    def do_munmap(self, proc, args, result, *_):
        start, length = args[:2]
        if result < ERRNO_MIN:
            end = start + (length + PAGE - 1) // PAGE * PAGE
            self.check_hole(start, end)
            self.verify(proc, start, end)
            self.spaces[proc].remove(start, end)
        self.call(proc, 'munmap', args[:2], result)

    def do_mprotect(self, proc, args, result, *_):
        start, length, prot = args[:3]
        if result < ERRNO_MIN:
            self.spaces[proc].protect(start, start + (length + PAGE - 1) // PAGE * PAGE, prot)
        self.call(proc, 'mprotect', args[:3], result)

    do_pkey_mprotect = do_mprotect

    def do_mremap(self, proc, args, result, *_):
        old, old_len, new_len, flags = args[:4]
        space = self.spaces[proc]
        if result >= ERRNO_MIN:
            self.call(proc, 'mremap', args[:5], result)
            return
        old_end = old + (old_len + PAGE - 1) // PAGE * PAGE
        new_end = result + (new_len + PAGE - 1) // PAGE * PAGE
        self.check_hole(result, new_end)
        area = space.find(old)
        self.verify(proc, old, old_end)
        if result != old:
            flags |= MREMAP_FIXED | MREMAP_MAYMOVE
            self.verify(proc, result, new_end)
        self.call(proc, 'mremap', [old, old_len, new_len, flags, result], result)
        if area:
            if not flags & MREMAP_DONTUNMAP and old_len:
                space.remove(old, old_end)
            space.add(replace(area.part(old, area.end), start=result, end=new_end))

    def do_brk(self, proc, args, result, *_):
        space, heap = self.spaces[proc], self.heaps[self.images[proc]] if self.images[proc] \
            is not None else 0
        area = next((a for a in space.areas if a.start == heap and not a.file), None)
        if result > heap:
            end = (result + PAGE - 1) // PAGE * PAGE
            if area and area.end > end:
                self.verify(proc, end, area.end)
                space.remove(end, area.end)
            elif not area or area.end < end:
                space.add(Area(area.end if area else heap, end, PROT_READ | PROT_WRITE))
                if area:
                    space.remove(heap, end)
                    space.add(Area(heap, end, PROT_READ | PROT_WRITE))
        elif area:
            self.verify(proc, area.start, area.end)
            space.remove(area.start, area.end)
        self.call(proc, 'brk', args[:1], result)

    def do_madvise(self, proc, args, result, *_):
        start, length, advice = args[0], args[1], args[2]
        if advice == MADV_HUGEPAGE:
            self.rules['hugepage-advice'] += 1
            return
        if advice > 21 and advice not in (100, 101):
            self.rules['later-madvise'] += 1
            return
        if advice in (MADV_DONTNEED, MADV_REMOVE, MADV_FREE) and result < ERRNO_MIN:
            self.verify(proc, start, start + (length + PAGE - 1) // PAGE * PAGE)
        self.call(proc, 'madvise', args[:3], result)

    def plain(name, count):
        def handler(self, proc, args, result, *_):
            self.call(proc, name, args[:count], result)
        return handler

    do_mlock, do_mlock2, do_munlock = plain('mlock', 2), plain('mlock2', 3), plain('munlock', 2)
    do_mlockall, do_munlockall = plain('mlockall', 1), plain('munlockall', 0)
    do_msync = plain('msync', 3)

    def do_ftruncate(self, proc, args, result, fd, number):
        if result < ERRNO_MIN:
            self.sizes[self.struct_file[number]] = args[1]
        self.call(proc, 'ftruncate', [fd, args[1]], result)

    def do_fallocate(self, proc, args, result, fd, number):
        if result < ERRNO_MIN and not args[1] & 1:      # FALLOC_FL_KEEP_SIZE
            f = self.struct_file[number]
            self.sizes[f] = max(self.sizes[f], args[2] + args[3])
        self.call(proc, 'fallocate', [fd, *args[1:4]], result)

    # -- processes
    def fork(self, proc, child, flags):
        if flags & CLONE_VM and not flags & CLONE_VFORK:
            self.same[child] = proc
            self.parents[child] = proc
            return
        self.step(OP_DIGEST, proc, AT_FORK)
        self.step(OP_FORK, proc, child - 1, [flags & (CLONE_VM | CLONE_VFORK)])
        self.parents[child] = proc
        self.images[child] = self.images[proc]
        self.alive.add(child)
        for holders in self.holders.values():
            if proc in holders:
                holders.add(child)
        shared = flags & CLONE_VM
        self.spaces[child] = self.spaces[proc] if shared else self.spaces[proc].copy()
        if flags & CLONE_VFORK:
            self.vfork[proc] = child

    def release(self, child):
        for parent in [p for p, c in self.vfork.items() if c == child]:
            del self.vfork[parent]

    def exec(self, proc, e, areas, following):
        _, _, heap, stack, _ = e
        if heap not in self.heaps:      # images differ in nothing else
            self.heaps.append(heap)
        image = self.heaps.index(heap)
        if self.images.get(proc) is not None or proc != 1:
            shared = any(s is self.spaces[proc] for p, s in self.spaces.items() if p != proc)
            if not shared:
                self.verify(proc, 0, USER_END)
            self.step(OP_DIGEST, proc, AT_EXEC)
            self.step(OP_EXEC, proc, image)
        self.release(proc)
        self.images[proc] = image
        self.spaces[proc] = Space()
        self.call(proc, 'munmap', [heap - PAGE, PAGE])
        self.exec_areas(proc, areas, following)

    def exec_areas(self, proc, areas, following):
        opened = {}
        for a in areas:
            prot = sum(bit for c, bit in zip(a.perms, (1, 2, 4)) if c != '-')
            if a.name in ('[vdso]', '[vvar]', '[vvar_vclock]', '[vsyscall]'):
                self.spaces[proc].add(Area(a.start, a.end, prot, special=True))
                continue
            self.check_hole(a.start, a.end)
            if a.name == '[stack]':
                self.stack(proc, a, prot, following)
            elif a.file:
                if a.file not in opened:
                    fd = opened[a.file] = self.fd_free.pop()
                    self.call(proc, 'open', [a.file - 1, 0, fd])
                self.call(proc, 'mmap', [a.start, a.end - a.start, prot, MAP_PRIVATE | MAP_FIXED,
                                         opened[a.file], a.offset], a.start)
            elif a.name != '[heap]':
                self.call(proc, 'mmap', [a.start, a.end - a.start, prot,
                                         MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0], a.start)
            self.spaces[proc].add(Area(a.start, a.end, prot, False, a.file, offset=a.offset,
                                       stack=a.name == '[stack]'))
        for fd in opened.values():
            self.call(proc, 'close', [fd])
            self.fd_free.append(fd)

    def stack(self, proc, a, prot, following):
        """Exec put the arguments into the topmost pages itself: they are there without a fault."""
        faulted = {e[1] // PAGE for e in following if e[0] == 'k' and a.start <= e[1] < a.end}
        filled = max(0, a.rss // 4 - len(faulted)) * PAGE if a.rss > 0 else 0
        middle = max(a.start, a.end - filled)
        flags = MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_GROWSDOWN
        if filled:
            self.call(proc, 'mmap', [middle, a.end - middle, prot, flags | MAP_POPULATE, -1, 0],
                      middle)
        if middle > a.start:
            self.call(proc, 'mmap', [a.start, middle - a.start, prot, flags, -1, 0], a.start)

    def exit(self, proc, e, areas):
        if proc in self.same:
            return
        actor = self.actor(proc)
        if actor != proc:
            return
        shared = any(s is self.spaces[proc] for p, s in self.spaces.items() if p != proc)
        if not shared:
            self.verify(proc, 0, USER_END)
        self.step(OP_DIGEST, proc, AT_EXIT)
        self.final.append((proc, areas))
        status = e[1] >> 8 & 255 if not e[1] & 127 else 128 + (e[1] & 127)
        if proc == 1:                   # the first process ends the replay: it goes last
            self.held_exit = (proc, status)
            return
        self.leave(proc, status)

    def leave(self, proc, status):
        self.step(OP_EXIT, proc, status)
        self.alive.discard(proc)
        self.release(proc)
        self.spaces.pop(proc, None)
        for holders in self.holders.values():
            holders.discard(proc)
        parent = self.parents[proc]
        if parent != proc and parent in self.alive:
            self.step(OP_WAIT, self.actor(parent), proc - 1)

    def finish(self):
        for proc in sorted(self.alive - {1}, reverse=True):
            self.leave(proc, 0)
        if self.held_exit:
            self.step(OP_EXIT, 1, self.held_exit[1])
        else:
            self.step(OP_EXIT, 1, 0)

    def file_path(self, number):
        return self.rec.files[self.struct_file[number]].path if number else ''

    def prepare(self):
        self.struct_file = {e[1]: e[2] for e in self.rec.events if e[0] == 'o'}
        sizes, _ = _file_runs(self.rec)
        self.sizes = {n: 0 if f.path.startswith('/memfd:') else sizes[n - 1][0]
                      for n, f in self.rec.files.items()}


# ---- the table's bytes -----------------------------------------------------------------------

def _slots(steps, nprocs):
    """A slot for each process; no two alive at once share one."""
    slots, free, used = {0: 0}, [], 1
    for op, proc, aux, _ in steps:
        if op == OP_FORK:
            slots[aux] = free.pop() if free else used
            used = max(used, slots[aux] + 1)
        elif op == OP_EXIT and proc:
            free.append(slots[proc])
    if used > MAX_SLOTS:
        raise CannotRun(f'{used} processes are alive at once; the replayer takes {MAX_SLOTS}')
    return [slots.get(p, 0) for p in range(nprocs)], used


def _file_runs(rec):
    """The pages to write beforehand: cached at the start, or read in during the recording."""
    extra, needed = {}, {}
    opened = {e[1]: e[2] for e in rec.events if e[0] == 'o'}
    for e in rec.events:
        if e[0] == 'a':
            extra.setdefault(e[1], set()).update(range(e[2], e[3] + 1))
        elif e[0] == 'c' and e[1] == 'mmap' and e[4] and e[3] < ERRNO_MIN:
            f = opened[e[4]]
            needed[f] = max(needed.get(f, 0), e[2][5] + e[2][1])
    sizes, runs = [], []
    for n in range(1, len(rec.files) + 1):
        f = rec.files[n]
        size = f.size
        if not size and not f.path.startswith('/memfd:'):
            size = needed.get(n, 0)     # a device: as much as was mapped
        pages = set(extra.get(n, ()))
        for first, last in f.cached:
            pages.update(range(first, last + 1))
        end = (size + PAGE - 1) // PAGE
        mine = []
        for p in sorted(p for p in pages if p < end):
            if mine and mine[-1][0] + mine[-1][1] == p:
                mine[-1][1] += 1
            else:
                mine.append([p, 1])
        sizes.append((size, len(runs), len(mine)))
        runs += mine
    return sizes, runs


def _pack(rec, compiler):
    nprocs = max((s[2] for s in compiler.steps if s[0] == OP_FORK), default=0) + 1
    if nprocs > MAX_PROCS:
        raise CannotRun(f'{rec.path}: {nprocs} processes; the replayer takes {MAX_PROCS}')
    slots, nslots = _slots(compiler.steps, nprocs)
    sizes, runs = _file_runs(rec)
    procs = b''.join(struct.pack('<HH', slots[p], compiler.parents.get(p + 1, 1) - 1)
                     for p in range(nprocs))
    parts = [procs, b''.join(struct.pack('<QII', *s) for s in sizes),
             b''.join(struct.pack('<II', *r) for r in runs),
             b''.join(struct.pack('<Q', h) for h in compiler.heaps),
             b''.join(struct.pack(f'<BBHI{len(w)}Q', op, len(w), proc, aux, *w)
                      for op, proc, aux, w in compiler.steps)]
    header_size = 16 + 6 * 4 + 6 * 8
    offsets, at, body = [], header_size, b''
    for part in parts:
        offsets.append(at)
        padded = part + b'\0' * (-len(part) % 8)
        body += padded
        at += len(padded)
    return struct.pack('<16s6I6Q', b'quire-replay 1\n', header_size, nprocs, nslots, len(sizes),
                       len(compiler.heaps), len(runs), *offsets, len(parts[-1])) + body


def compile_recording(rec):
    """A recording's Table. CannotRun says what in it cannot be replayed."""
    compiler = Compiler(rec)
    compiler.prepare()
    compiler.run()
    return Table(_pack(rec, compiler), compiler.heaps, compiler.expected,
                 {k: v for k, v in compiler.rules.items() if v}, compiler.final,
                 len(compiler.expected))


# ---- one ELF per exec ------------------------------------------------------------------------

PT_LOAD, PF_X, PF_W, PF_R = 1, 1, 2, 4


def build_elf(base, table, heap):
    """The replayer's ELF (bytes) with the table at TABLE_ADDR and a contents-free page that ends
    at heap, so that the kernel starts the break there."""
    phoff, = struct.unpack_from('<Q', base, 32)
    phentsize, phnum = struct.unpack_from('<HH', base, 54)
    segments = []
    for i in range(phnum):
        kind, flags, offset, vaddr, _, filesz, memsz, _ = struct.unpack_from(
            '<IIQQQQQQ', base, phoff + i * phentsize)
        if kind == PT_LOAD:
            if vaddr < HOLE[0] or vaddr + memsz > TABLE_ADDR:
                raise CannotRun('the replayer\'s ELF lies outside its hole')
            segments.append((flags, vaddr, base[offset:offset + filesz], memsz))
    if TABLE_ADDR + len(table) > HOLE[1]:
        raise CannotRun(f'the recording is too long to be replayed: {len(table)} bytes of '
                        f'{HOLE[1] - TABLE_ADDR}')
    segments.append((PF_R, TABLE_ADDR, table, len(table)))
    segments.append((PF_R | PF_W, heap - PAGE, b'', PAGE))
    header = bytearray(base[:64])
    struct.pack_into('<Q', header, 32, 64)                    # program headers follow
    struct.pack_into('<Q', header, 40, 0)                     # no sections
    struct.pack_into('<HHHHH', header, 54, 56, len(segments), 64, 0, 0)
    out, at = b'', 64 + 56 * len(segments)
    for flags, vaddr, data, memsz in segments:
        offset = at + (vaddr - at) % PAGE
        header += struct.pack('<IIQQQQQQ', PT_LOAD, flags, offset, vaddr, vaddr, len(data), memsz,
                              PAGE)
        if data:
            out += b'\0' * (offset - at) + data
            at = offset + len(data)
    return bytes(header) + out
