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


def digests(result):
    """The replayer's digest lines, without what belongs to one run (the byte offset stays: it is
    the table's)."""
    return [s for s in result.output.splitlines() if s.startswith('digest ')]


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
    i = 0
    for address, code in recorded:
        if i < len(seen) and seen[i][0] == address:
            if seen[i][1] == code:
                out.taken += 1
            else:
                out.rules['other-code'] = out.rules.get('other-code', 0) + 1
            i += 1
            while i < len(seen) and seen[i][0] == address and (address, code) != seen[i]:
                out.rules['replayer-only'] = out.rules.get('replayer-only', 0) + 1
                i += 1
        else:
            out.rules['present-earlier'] = out.rules.get('present-earlier', 0) + 1
    if i < len(seen):
        out.unexplained = seen[i:]
    return out


def rule_text(name):
    return RULES.get(name) or LATER_RULES.get(name, name)
