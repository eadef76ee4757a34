# SPDX-License-Identifier: MIT
"""Scenarios' expectations, recorded: a real kernel runs the files, and what it answered is written
behind each action. So a scenario's expectations are never made up, and can be made anew.
"""
import re

import machines
from common import CannotRun, DIFFERENT, OK

SEEN = re.compile(r'^ *(\d+)  (.*) = (.*)$')
ACTION = re.compile(r'^(?P<action>\s*(?:\w+:\s*)?(?:\w+\s*=\s*)?\w+\([^#]*?\))'
                    r'(?P<want>\s*=[^#]*?)?(?P<comment>\s*#.*)?$')


def answers(result):
    """Line number -> what was seen there."""
    out = {}
    for line in result.output.splitlines():
        m = SEEN.match(line)
        if m:
            out[int(m.group(1))] = m.group(3)
    return out


def _worth(seen, want):
    """What to write: an address that a kernel chose stays open, a number of faults stays unless it
    was never asked for."""
    if re.match(r'addr\b', seen):
        return 'any'
    if want and 'faults=' not in want:
        return re.sub(r' faults=\d+$', '', seen)
    return seen


def mismatches(result):
    """The lines whose expectations were not met."""
    return {int(n) for n in re.findall(r':(\d+): expected ', result.output)}


def fill(text, seen, wrong):
    """The file's text with what was seen behind each action that expects nothing, or the wrong
    thing; what holds stays as it was written, names and sums included."""
    out = []
    for number, line in enumerate(text.splitlines(), 1):
        m = ACTION.match(line) if number in seen else None
        if not m or m.group('want') and number not in wrong:
            out.append(line)
            continue
        value = _worth(seen[number], m.group('want'))
        out.append(f'{m.group("action").rstrip():<55} = {value}{m.group("comment") or ""}')
    return '\n'.join(out) + '\n'


def record(paths, machine='linux-5.10', check=False):
    """Fills in the files; check: only tells which would change. Exit code."""
    subjects = [machines.Subject(p) for p in paths]
    machines.prepare([machine], subjects)
    code = OK
    for s, r in machines.execute(subjects, machine, machines.Options()):
        if isinstance(r, CannotRun):
            raise r
        with open(s.path) as f:
            text = f.read()
        new = fill(text, answers(r), mismatches(r))
        if not check and new != text:
            with open(s.path, 'w') as f:
                f.write(new)
        if check and r.status:
            print(f'{s.path}: {machine} answers otherwise')
            code = DIFFERENT
    return code
