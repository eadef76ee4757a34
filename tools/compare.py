# SPDX-License-Identifier: MIT
"""What two machines, or a replay and its recording, have to agree on, and where they do not."""
import re
from dataclasses import dataclass, field

import trace
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
    return trace.compare(left, right), left, right


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
