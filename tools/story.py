# SPDX-License-Identifier: MIT
"""A scenario's run, action by action: what each gave, which faults it took, and every process's areas and
page tables behind it. run --explain tells it as text (explain.py), run --html as a page (webpage.py).

It is read out of the run itself: the records of the trace between the markers of two lines, and what
the kernel's monitor said after each action (--look, docs/scenario.md).
"""
import re
from dataclasses import dataclass, field, replace

import machines
import trace
from common import CannotRun

PAGE = 4096
LEVELS = ['pgd', 'p4d', 'pud', 'pmd', 'pte']
SHIFTS = {'pgd': 39, 'pud': 30, 'pmd': 21, 'pte': 12}
LOOKS = ['*:maps %*', '*:tables %*']            # what explain needs
WHOLE = [*LOOKS, '*:buddy', '*:fault', '*:meminfo']
FIRST = 'first'                                 # the name of the task that the scenario does not name


@dataclass
class Area:
    start: int
    end: int
    perms: str
    name: str       # '' for anonymous memory

    def text(self):
        return f'{place(self.start)}-{place(self.end)} {self.perms} {self.name or "anonymous"}'


@dataclass
class Entry:
    """An entry of a table of the lowest level; kind: leaf, swap, protnone, migration."""
    kind: str
    pfn: int
    flags: str = ''

    def text(self):
        if self.kind == 'leaf':
            return f'frame 0x{self.pfn:x} {self.flags}'
        if self.kind == 'protnone':
            return f'frame 0x{self.pfn:x}, no access'
        return f'{self.kind} 0x{self.pfn:x}'


@dataclass
class Space:
    """One process's memory at one moment. tables: (level, first address, frame)."""
    pid: int
    areas: list = field(default_factory=list)
    root: int = 0
    tables: list = field(default_factory=list)
    entries: dict = field(default_factory=dict)     # address -> Entry


@dataclass
class Fault:
    task: str
    user: bool
    address: int
    code: int               # as on x86-64: 1 present, 2 write, 4 user, 16 fetch
    raw: object = None      # the machine's own record of it
    row: str = ''
    major: bool = False
    area: tuple = None      # (start, end, flags)

    @property
    def access(self):
        return 'fetch' if self.code & 16 else 'write' if self.code & 2 else 'read'


@dataclass
class Step:
    """An action; line 0: before the first."""
    line: int
    text: str = ''
    result: str = ''
    task: str = FIRST
    mismatch: str = ''
    faults: list = field(default_factory=list)
    spaces: dict = field(default_factory=dict)      # task -> Space
    looks: list = field(default_factory=list)       # (command, lines) that somebody asked for
    ended: list = field(default_factory=list)       # tasks that are there no more
    buddy: list = field(default_factory=list)       # (zone, free blocks by order)
    rows: dict = field(default_factory=dict)        # how often each way of a fault was taken, since the start
    memory: dict = field(default_factory=dict)      # /proc/meminfo, kB


@dataclass
class Story:
    machine: str
    path: str
    steps: list
    status: int
    result: object


def place(address):
    """An address as a scenario has it: @page of the arena, else the number."""
    if not trace.ARENA[0] <= address < trace.ARENA[1]:
        return f'0x{address:x}'
    page, rest = divmod(address - trace.ARENA[0], PAGE)
    return f'@{page}' + (f'+{rest}' if rest else '')


# ---- what the monitor said -------------------------------------------------------------------

def _areas(lines):
    out = []
    for s in lines:
        m = re.match(r'([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \S+ *(.*)$', s)
        if m:
            out.append(Area(int(m[1], 16), int(m[2], 16), m[3], m[4].strip()))
    return out


def _fill_tables(space, lines):
    for s in lines:
        root = re.match(r'tables, root pfn 0x([0-9a-f]+)', s)
        m = re.match(r' *(\w+) (0x[0-9a-f]+|0) = \S+ (\w+)(?: pfn 0x([0-9a-f]+))?(?: (.*))?$', s)
        if root:
            space.root = int(root[1], 16)
        elif m and m[3] == 'table':
            space.tables.append((m[1], int(m[2], 16), int(m[4], 16)))
        elif m:
            flags = (m[5] or '').replace(' soft-dirty', '').replace(' special', '')
            space.entries[int(m[2], 16)] = Entry(m[3], int(m[4] or '0', 16), flags)


def _take_look(step, command, lines, names, mine):
    """One look of ours goes to where it belongs; any other is kept as it is. mine: what ours begin with."""
    words = command.split()
    if words[0] not in mine:
        step.looks.append((command, lines))
    elif words[0] in ('maps', 'tables') and len(words) == 2:
        space = step.spaces.setdefault(names.get(int(words[1]), f'process {words[1]}'), Space(int(words[1])))
        if words[0] == 'maps':
            space.areas = _areas(lines)
        else:
            _fill_tables(space, lines)
    elif command == 'buddy':
        for s in lines:
            m = re.match(r'Node \d+, zone +(\w+) +(.*)$', s)
            if m:
                step.buddy.append((m[1], [int(n) for n in m[2].split()]))
    elif command == 'fault':
        step.rows = {m[1]: int(m[2]) for m in (re.match(r'(\w+) +(\d+)$', s) for s in lines) if m}
    elif command == 'meminfo':
        step.memory = {m[1]: int(m[2]) for m in (re.match(r'([\w()]+): +(\d+)', s) for s in lines) if m}


def _read_output(output, path, pids, looks):
    """The steps of the runner's words. pids: process -> task, from the trace."""
    steps, pending = [Step(0)], []
    mine = {look.split(':', 1)[1].split()[0] for look in looks}

    def close():
        if pending:
            _take_look(steps[-1], *pending.pop(), pids, mine)

    for s in output.splitlines():
        action = re.match(r' *(\d+)  (.*) = (.*)$', s)
        look = re.match(r'     look: (.*)$', s)
        wrong = s.startswith(f'{path}:') and re.match(r'(\d+): (expected .*)$', s[len(path) + 1:])
        if look:
            close()
            pending.append((look[1], []))
        elif action:
            close()
            steps.append(Step(int(action[1]), action[2], action[3]))
        elif wrong:
            close()
            steps[-1].mismatch = wrong[2]
        elif pending:
            pending[-1][1].append(s)
    close()
    return steps


def steps_of(output, path):
    """The steps of a run that had no looks: what each action gave."""
    return _read_output(output, path, {}, ())


# ---- what the trace says ---------------------------------------------------------------------

def _tasks_of(records, source):
    """process -> task: the first marker is the first task's, a fork within a line names its child."""
    out, line = {}, 0
    for r in records:
        if r.type == trace.MARKER:
            m = re.match(r'quire: (?:line|only) (\d+)', r.text)
            line = int(m[1]) if m else line
            if r.text.startswith(trace.BEGIN):
                out[r.pid] = FIRST
        elif r.type == trace.FORK and r.pid in out and line:
            m = re.search(r'fork\(\s*(\w+)', source[line - 1])
            if m:
                out[r.w[0]] = m[1]
    return out


def _faults_by_line(records, tasks):
    """line -> its faults, each with the row that follows it and what its machine said."""
    out, line, raw, last = {}, None, None, None
    for r in records:
        if r.type == trace.MARKER:
            m = re.match(r'quire: (?:line|only) (\d+)', r.text)
            line = int(m[1]) if m else None if r.text.startswith(trace.END) else line
            last = raw = None
        elif line is None:
            continue
        elif r.type in trace.RAW_FAULT:
            raw = r
        elif r.type in (trace.PF_USER, trace.PF_KERNEL):
            last = Fault(tasks.get(r.pid, f'process {r.pid}'), r.type == trace.PF_USER, r.w[0], r.w[2],
                         raw if raw and raw.w[0] == r.w[0] else None)
            out.setdefault(line, []).append(last)
            raw = None
        elif r.type == trace.MM_FAULT and last and last.address // PAGE == r.w[0] // PAGE:
            row = r.w[1] & 0xff
            last.row = trace.ROWS[row] if row < len(trace.ROWS) else str(row)
            last.major = bool(r.w[1] >> 16 & 0xff)
            last.area = (r.w[2], r.w[3], r.w[4]) if r.w[3] else None
            last = None
    return out


def _is_own(fault, step, before):
    """Whether a fault is the scenario's: not in what the runner had before the first action, and not the
    signal at address 0 by which it makes its own pages ready after a fork (u_warm)."""
    if fault.address < PAGE and re.search(r'\bfork\(', step.text):
        return False
    return not any(a.start <= fault.address < a.end for a in before)


# ---- a run -----------------------------------------------------------------------------------

def options(opt, looks):
    """Options of a run that a story can be read from."""
    return replace(opt, looks=[*opt.looks, *looks])


def read(subject, result, looks=LOOKS):
    """The Story of a run that had these looks, or CannotRun where there is none."""
    if result.machine not in machines.QUIRES:
        raise CannotRun(f'{result.machine}: only Quire\'s own machines explain what they do')
    with open(subject.path, errors='replace') as f:
        source = f.read().splitlines()
    records = list(trace.read_records(result.trace_path))
    tasks = _tasks_of(records, source)
    steps = _read_output(result.output, subject.path, tasks, looks)
    faults = _faults_by_line(records, tasks)
    before = [a for s in steps[0].spaces.values() for a in s.areas]
    for last, step in zip([None, *steps], steps):
        m = re.match(r'(?:\[\w+\]\s*)?(\w+):\s', step.text)
        step.task = m[1] if m else FIRST
        step.faults = [f for f in faults.get(step.line, []) if _is_own(f, step, before)]
        step.ended = [t for t in last.spaces if t not in step.spaces] if last else []
        for space in step.spaces.values():
            space.entries = {a: e for a, e in space.entries.items()
                             if not any(x.start <= a < x.end for x in before)}
            space.areas = [x for x in space.areas if not _was_there(x, before)]
    return Story(result.machine, subject.path, steps, result.status, result)


def _was_there(area, before):
    return any(b.start <= area.start and area.end <= b.end for b in before)


def changes(last, step):
    """[(task, address, Entry before or None, Entry after or None)] between two steps. What a new task
    begins with is a change, what one takes along with its end is none."""
    out = []
    for task, space in step.spaces.items():
        old = last.spaces[task].entries if task in last.spaces else {}
        for a in sorted(set(old) | set(space.entries)):
            if old.get(a) != space.entries.get(a):
                out.append((task, a, old.get(a), space.entries.get(a)))
    return out


def new_tables(last, step, task):
    """Frames of tables that this step added to a task's."""
    now = step.spaces.get(task)
    if not now or task not in last.spaces:
        return []
    old = {t[2] for t in last.spaces[task].tables}
    return [t for t in now.tables if t[2] not in old]


def output_without_looks(output, own):
    """What the runner said, without what these looks showed."""
    mine = {look.split(':', 1)[1].split()[0] for look in own}
    out, skip = [], False
    for s in output.splitlines():
        look = re.match(r'     look: (\w+)', s)
        if look:
            skip = look[1] in mine
        elif re.match(r' *\d+  .* = ', s) or re.match(r'\S+:\d+: expected ', s):
            skip = False
        if not skip:
            out.append(s)
    return '\n'.join(out) + '\n'
