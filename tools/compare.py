# SPDX-License-Identifier: MIT
"""What two machines, or a replay and its recording, have to agree on, and where they do not."""
import re
from dataclasses import dataclass, field, replace

import trace
from arches import ARCHES
from compile_replay import RULES

SPECIAL = ('[vdso]', '[vvar]', '[vvar_vclock]', '[vsyscall]')


def events_of(result, kernel):
    return result.events if kernel else [e for e in result.events if e.kind == 'user']


def machines(a, b, quires):
    """The trace.Difference of two results' events, or None. Kernel faults count only between
    Quire's own machines: which of its own copies fault is each kernel's affair."""
    kernel = a.machine in quires and b.machine in quires
    left, right = events_of(a, kernel), events_of(b, kernel)
    if not kernel:                      # tasks are numbered by their first event, kernel's too
        left, right = _renumbered(left), _renumbered(right)
    if any(m in ARCHES and ARCHES[m].even_code for m in (a.machine, b.machine)):
        left, right = _even_fetches(left), _even_fetches(right)
    return trace.compare(left, right), left, right


def _even_fetches(events):
    """Where instructions lie at even addresses only, a replay clears bit 0 of fetches."""
    return [replace(e, address=e.address & ~1) if e.code & 16 else e for e in events]


def _renumbered(events):
    tasks = {}
    return [trace.Neutral(e.kind, e.address, e.code, tasks.setdefault(e.task, len(tasks)))
            for e in events]


def digests(result, maps=True):
    """The replayer's digest lines. maps: with the hash of the maps, not only of the pages."""
    lines = [s for s in result.output.splitlines() if s.startswith('digest ')]
    return lines if maps else [re.sub(r' (vmas|maps)=\S+', '', s) for s in lines]


def replay_differences(a, b):
    """Where two replays tell of other maps or present pages: lines for people. Kernels later than
    5.10 merge areas that it keeps apart, so against this machine's own only the pages count."""
    maps = 'linux' not in (a.machine, b.machine)
    left, right = digests(a, maps), digests(b, maps)
    for x, y in zip(left, right):
        if x != y:
            return [f'  {a.machine}: {x}', f'  {b.machine}: {y}']
    if len(left) != len(right):
        return [f'  {a.machine}: {len(left)} digests, {b.machine}: {len(right)}']
    return []


@dataclass
class Against:
    """A replay against its recording. rules: what each named rule explained."""
    recorded: int = 0
    taken: int = 0
    rules: dict = field(default_factory=dict)
    unexplained: list = field(default_factory=list)


LATER_RULES = {
    'present-earlier': 'the page was there already: mapped by fault-around or with a neighbour',
    'other-code': 'the same access with another present bit',
    'replayer-only': 'a fault in the replay that the recorded kernel did not take',
}


def against_recording(subject, result):
    """Aligns the replay's user faults with the recorded ones, which come in the same order."""
    out = Against(rules=dict(subject.table.rules))
    recorded = [(a, c) for _, kind, a, c in subject.table.expected if kind == 'u']
    out.recorded = subject.rec.faults()[0]
    seen = [(e.address, e.code) for e in result.events if e.kind == 'user']
    i, last = 0, None

    def count(rule):
        out.rules[rule] = out.rules.get(rule, 0) + 1
    for address, code in recorded:
        while i < len(seen) and seen[i][0] == last != address:
            count('replayer-only')      # a second fault for one access
            i += 1
        if i < len(seen) and seen[i] == (address, code):
            out.taken += 1
            i += 1
        elif i < len(seen) and seen[i][0] == address:
            count('other-code')
            i += 1
        else:
            count('present-earlier')
        last = address
    if i < len(seen):
        out.unexplained = seen[i:]
    return out


def rule_text(name):
    return RULES.get(name) or LATER_RULES.get(name, name)


# ---- final maps and resident sets ------------------------------------------------------------

MAP = re.compile(r'map (?:0x)?([0-9a-f]+)-(?:0x)?([0-9a-f]+) (\S{4}) (?:0x)?([0-9a-f]+) ?(.*)')
PAGES = re.compile(r'pages (?:0x)?([0-9a-f]+) (\d+)')


def _exits_of_replay(output):
    """(process, areas, {start: pages present}) of each exit, from a replay's full digests."""
    areas, present = [], 0
    for line in output.splitlines():
        m = MAP.match(line)
        if m:
            name = m.group(5)
            what = name if re.fullmatch(r'f\d+', name) else 'other' if name else ''
            offset = int(m.group(4), 16) if what else 0
            areas.append([int(m.group(1), 16), int(m.group(2), 16), m.group(3), offset, what])
            continue
        m = PAGES.match(line)
        if m:
            present += int(m.group(2))
            continue
        m = re.match(r'digest \d+ p(\d+) (\w+)', line)
        if m:
            if m.group(2) == 'exit':
                yield int(m.group(1)) + 1, areas, present
            areas, present = [], 0


def _recorded_areas(subject, areas):
    out, resident = [], 0
    for a in areas:
        if a.name in SPECIAL:
            continue
        what = ''
        if a.file:
            path = subject.rec.files[a.file].path
            what = 'other' if path.startswith(('/dev/zero', '/memfd:', '/SYSV')) else f'f{a.file - 1}'
        out.append([a.start, a.end, a.perms, a.offset if what else 0, what])
        resident += max(0, a.rss) // 4
    return out, resident


def _merged(areas):
    """Neighbours that differ in nothing taken together: later kernels merge more than 5.10."""
    out = []
    for start, end, perms, offset, what in areas:
        if out and out[-1][1] == start and out[-1][2] == perms and out[-1][4] == what and (
                not what or out[-1][3] + start - out[-1][0] == offset):
            out[-1][1] = end
        else:
            out.append([start, end, perms, offset, what])
    return out


def _zero_pages(subject, process):
    """Pages that were only ever read where nothing was: the zero page, which no RSS counts."""
    pages = {}
    for proc, _, address, code in subject.table.expected:
        if proc == process and not code & 16:
            page = address >> 12
            pages[page] = pages.get(page, False) or bool(code & 2)
    return {p << 12 for p, written in pages.items() if not written}


@dataclass
class Final:
    """The ends of all processes. merged: areas that only a later kernel's merging explains."""
    processes: int = 0
    differences: list = field(default_factory=list)
    merged: int = 0
    resident_recorded: int = 0
    resident_replayed: int = 0


def final(subject, result):
    """Compares the recorded maps at each exit with the replay's; wants full digests."""
    out, seen = Final(), {}
    for process, areas, present in _exits_of_replay(result.output):
        seen[process] = (areas, present)
    for process, recorded in subject.table.final:
        if process not in seen or not recorded:
            continue
        wanted, resident = _recorded_areas(subject, recorded)
        got, present = seen[process]
        anonymous = [a for a in got if not a[4]]
        zero = sum(1 for p in _zero_pages(subject, process)
                   if any(a[0] <= p < a[1] for a in anonymous))
        out.processes += 1
        out.resident_recorded += resident
        out.resident_replayed += present - zero
        if wanted != got and _merged(wanted) == _merged(got):
            out.merged += abs(len(wanted) - len(got)) or 1
        elif wanted != got:
            a, b = _merged(wanted), _merged(got)
            first = next((x for x in a if x not in b), None) or next(x for x in b if x not in a)
            out.differences.append(f'process {process}: {first[0]:x}-{first[1]:x} {first[2]} '
                                   f'{first[4]} is on one side only')
    return out
