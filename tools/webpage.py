# SPDX-License-Identifier: MIT
"""`./quire run --html FILE`: a run as one page that needs nothing but a browser: no network, no other file.

A scenario is shown line by line: what each action gave on each machine, every process's areas, tables and
frames behind it, free blocks, fault counters, and where two machines differ. A recording is shown as
density over time: how many faults of which kind, and where in its address space.

The page is a template with the data beside it: tools/page/ has the template, its style and its scripts.
"""
import html
import json
import os

import compare
import explain
import machines
import story
import trace
from common import CannotRun, TOP

FOLDER = os.path.join(TOP, 'tools', 'page')
COLUMNS = 240       # of a recording: as many pieces of its time
BANDS = 48          # and of its addresses
SAMPLES = 8         # events of a piece that are shown
SMALL_GAP = 64 << 20  # pages further apart stand in another cluster of addresses


def _file(name):
    with open(os.path.join(FOLDER, name), encoding='utf-8') as f:
        return f.read()


def page(title, kind, data):
    """The whole page as text. kind: 'scenario' or 'recording', the script that shows the data."""
    text = json.dumps(data, separators=(',', ':'), ensure_ascii=False).replace('</', '<\\/')
    parts = {'TITLE': html.escape(title), 'STYLE': _file('page.css'), 'DATA': text,
             'SCRIPT': _file('common.js') + _file(kind + '.js')}
    out = _file('page.html')
    for name, value in parts.items():
        before, _, after = out.partition('{{' + name + '}}')
        out = before + value + after
    return out


# ---- scenarios -------------------------------------------------------------------------------

def _space(space):
    return {'pid': space.pid, 'root': space.root,
            'areas': [[a.start, a.end, a.perms, a.name] for a in space.areas],
            'tables': [list(t) for t in space.tables],
            'entries': [[a, e.kind, e.pfn, e.flags] for a, e in sorted(space.entries.items())]}


def _step(last, step):
    return {'line': step.line, 'text': step.text, 'result': step.result, 'task': step.task,
            'wrong': step.mismatch, 'story': list(explain.lines(last, step)) if last else [],
            'faults': [[f.task, f.address, f.row, f.access] for f in step.faults],
            'spaces': {t: _space(s) for t, s in step.spaces.items()},
            'buddy': [[zone, blocks] for zone, blocks in step.buddy],
            'rows': step.rows, 'memory': {k: v for k, v in step.memory.items()
                                          if k in ('MemFree', 'AnonPages', 'Mapped', 'PageTables', 'Shmem',
                                                   'Slab', 'SwapFree', 'Committed_AS')}}


def _neutral(step):
    """Of a step what every machine must agree on, by name."""
    def rights(e):
        return e.kind, e.flags.split(' ')[0]
    return {'result': step.result,
            'faults': [(f.task, f.address, f.code) for f in step.faults],
            'areas': {t: [(a.start, a.end, a.perms) for a in s.areas] for t, s in step.spaces.items()},
            'entries': {t: {story.place(a): rights(e) for a, e in s.entries.items()}
                        for t, s in step.spaces.items()}}


def differences(tales):
    """[(number of the step, machine, what differs from the first machine)]"""
    out = []
    for tale in tales[1:]:
        theirs = {s.line: s for s in tale.steps}
        for n, step in enumerate(tales[0].steps):
            other = theirs.get(step.line)
            if not other:
                out.append((n, tale.machine, 'this line was not run'))
                continue
            a, b = _neutral(step), _neutral(other)
            for what in a:
                if a[what] != b[what]:
                    out.append((n, tale.machine, _difference_text(what, a[what], b[what])))
    return out


def _difference_text(what, ours, theirs):
    if what == 'result':
        return f'result: {ours} there, {theirs} here'
    if what == 'faults':
        return f'faults: {len(ours)} there, {len(theirs)} here, or elsewhere'
    for task in sorted(set(ours) | set(theirs)):
        a, b = ours.get(task), theirs.get(task)
        if a is None or b is None:
            return f'{what}: {task} is on one machine only'
        if a == b:
            continue
        if what == 'entries':
            at = next(k for k in sorted(set(a) | set(b)) if a.get(k) != b.get(k))
            return f'entries: {task} at {at}: {" ".join(a.get(at, ["none"]))} there, {" ".join(b.get(at, ["none"]))} here'
        return f'{what} of {task} are others'
    return what


def scenario(subject, tales):
    """The page of one scenario on one or more machines."""
    with open(subject.path, errors='replace') as f:
        source = f.read().splitlines()
    data = {'path': subject.path, 'source': source, 'arena': list(trace.ARENA),
            'machines': [{'name': t.machine, 'status': t.status,
                          'steps': [_step(a, b) for a, b in zip([None, *t.steps], t.steps)]} for t in tales],
            'differences': [list(d) for d in differences(tales)]}
    return page(f'{subject.name} – Quire', 'scenario', data)


# ---- recordings ------------------------------------------------------------------------------

class _Events:
    """What a recording's page shows, in order: faults with their rows, and the lives of processes."""

    def __init__(self, subject, result):
        self.faults, self.lives = [], []    # (time, process, address, row, access, major); (time, what, …)
        self.names = {}
        on, last = False, None
        for r in trace.read_records(result.trace_path):
            if r.type == trace.MARKER:
                on = on and not r.text.startswith(trace.END) or r.text.startswith(trace.BEGIN)
            elif r.type == trace.FORK and on:
                self.lives.append((r.time, 'fork', self._name(r.pid), self._name(r.w[0])))
            elif r.type in (trace.EXIT, trace.EXEC) and on:
                what = 'exec' if r.type == trace.EXEC else 'exit'
                self.lives.append((r.time, what, self._name(r.pid), 0))
            elif r.type in (trace.PF_USER, trace.PF_KERNEL):
                last = r if on and any(a <= r.w[0] < b for a, b in subject.ranges) else None
            elif r.type == trace.MM_FAULT and last and last.w[0] // story.PAGE == r.w[0] // story.PAGE:
                row = r.w[1] & 0xff
                self.faults.append((last.time, self._name(r.pid), r.w[0],
                                    trace.ROWS[row] if row < len(trace.ROWS) else str(row),
                                    trace.ACCESSES[r.w[1] >> 8 & 3], bool(r.w[1] >> 16 & 0xff)))
                last = None

    def _name(self, pid):
        return self.names.setdefault(pid, len(self.names))


def _clusters(pages):
    """[(first, end)] of addresses that lie near each other, in order."""
    out = []
    for p in sorted(pages):
        if out and p - out[-1][1] < SMALL_GAP:
            out[-1][1] = p + story.PAGE
        else:
            out.append([p, p + story.PAGE])
    return out


def _bands(clusters):
    """[(first, end)]: each cluster cut into bands, about BANDS in all, by what is in them."""
    total = sum(b - a for a, b in clusters) or 1
    out = []
    for a, b in clusters:
        n = max(1, round(BANDS * (b - a) / total))
        size = -(-(b - a) // n // story.PAGE) * story.PAGE or story.PAGE
        at = a
        while at < b:
            out.append((at, min(b, at + size)))
            at += size
    return out


def _machine(subject, result):
    events = _Events(subject, result)
    times = [f[0] for f in events.faults] or [0]
    start, length = times[0], times[-1] - times[0] + 1
    bands = _bands(_clusters({f[2] & ~(story.PAGE - 1) for f in events.faults}))
    heat = [[0] * len(bands) for _ in range(COLUMNS)]
    rows = [{} for _ in range(COLUMNS)]
    samples = [[] for _ in range(COLUMNS)]

    def column(time):
        return min(COLUMNS - 1, max(0, (time - start) * COLUMNS // length))
    for i, (time, task, address, row, access, major) in enumerate(events.faults):
        c = column(time)
        rows[c][row] = rows[c].get(row, 0) + 1
        heat[c][next(n for n, (a, b) in enumerate(bands) if a <= address < b)] += 1
        if len(samples[c]) < SAMPLES:
            samples[c].append([i, task, f'0x{address:x}', row, access, major])
    return {'name': result.machine, 'status': result.status, 'faults': len(events.faults),
            'columns': COLUMNS, 'milliseconds': length / 1e6,
            'bands': [[f'0x{a:x}', f'0x{b:x}'] for a, b in bands], 'heat': heat, 'rows': rows,
            'samples': samples, 'processes': len(events.names),
            'lives': [[column(at), what, who, child] for at, what, who, child in events.lives]}


def recording(subject, results):
    """The page of one recording on one or more machines."""
    found, first = [], results[0]
    for r in results[1:]:
        d, left, right = compare.machines(first, r, machines.QUIRES)
        if d:
            found.append([d.index, r.machine, trace.difference_text(d, first.machine, r.machine, left, right)])
        found += [[0, r.machine, s] for s in compare.replay_differences(first, r)[:5]]
    data = {'path': subject.path, 'machines': [_machine(subject, r) for r in results], 'differences': found}
    return page(f'{subject.name} – Quire', 'recording', data)


# ---- the command -----------------------------------------------------------------------------

def write(path, subject, results):
    """Makes the page of one subject's runs. CannotRun: none of them can be shown."""
    ours = [r for r in results if r.machine in machines.QUIRES]
    if not ours:
        raise CannotRun('run --html: only Quire\'s own machines show what is inside')
    if subject.is_recording:
        text = recording(subject, ours)
    else:
        text = scenario(subject, [story.read(subject, r, story.WHOLE) for r in ours])
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)
