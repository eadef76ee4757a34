# SPDX-License-Identifier: MIT
"""`./quire demo`: one recorded program on every machine, and everything compared."""
import os
import re
import time

import compare
import machines
import trace
from common import CANNOT, CannotRun, DIFFERENT, OK, TOP, parse_size, say

DEFAULT = os.path.join(TOP, 'test', 'recording', 'python3-json.rec.xz')


class Table:
    """Lines of 'what: value', the verdict collected beside."""

    def __init__(self):
        self.code = OK

    def line(self, what, value, good=True):
        mark = '' if good else '   <-- not as it should be'
        print(f'  {what + ":":48}{value}{mark}', flush=True)
        if not good:
            self.code = max(self.code, DIFFERENT)


def _run_all(subject, opt):
    results, absent = {}, {}
    for name in (*machines.QUIRES, 'linux-5.10'):
        start = time.monotonic()
        say(f'quire: replaying {subject.name} on {name}')
        for _, r in machines.execute([subject], name, opt):
            if isinstance(r, CannotRun):
                absent[name] = r
                say(f'quire: {name}: {r}')
            else:
                results[name] = r
                say(f'quire: {name}: {len(r.events)} events in {time.monotonic() - start:.1f} s')
    return results, absent


def _free_pages(log):
    """(before, after, named) from a kernel's last words: named is what of the difference it can
    tell, such as its own page tables, which stay."""
    m = re.search(r'free pages before=(\d+) after=(\d+), more than before: (-?\d+) slab, '
                  r'(-?\d+) tables, (-?\d+) cache', log)
    if not m:
        return None
    before, after, slab, tables, cache = (int(x) for x in m.groups())
    names = [f'{n} {what}' for n, what in ((slab, 'of slab'), (tables, 'of kernel page tables'),
                                           (cache, 'of page cache')) if n]
    return before, after, slab + tables + cache, ', '.join(names)


def _events(table, results):
    for name, r in results.items():
        user = len(compare.events_of(r, False))
        table.line(f'events on {name}', f'{user} user, {len(r.events) - user} kernel')
        if r.status:
            table.line(f'replay on {name}', 'failed', False)
            for line in r.output.splitlines()[-5:]:
                print('      ' + line)


def _differences(table, results):
    first = results.get('host') or next(iter(results.values()))
    for name, r in results.items():
        if r is first:
            continue
        d, left, right = compare.machines(first, r, machines.QUIRES)
        table.line(f'differences {first.machine} / {name}', d.count if d else 0, not d)
        if d:
            print(trace.difference_text(d, first.machine, name, left, right))
        lines = compare.replay_differences(first, r)
        table.line(f'maps and present pages {first.machine} / {name}',
                   f'{len(compare.digests(r))} looks, ' + ('different' if lines else 'equal'),
                   not lines)
        for line in lines:
            print('    ' + line)


def _recorded(table, subject, result):
    a = compare.against_recording(subject, result)
    explained = sum(a.rules.values())
    share = 100 * explained / max(1, a.recorded)
    table.line('recorded user faults taken', f'{a.taken} of {a.recorded}')
    for name, count in sorted(a.rules.items()):
        print(f'      rule {name}: {count} ({compare.rule_text(name)})')
    table.line('explained by named rules', f'{share:.2f} % of the recorded faults',
               share <= 1 or explained <= 10)     # the vdso of a small program is a big share
    table.line('unexplained', len(a.unexplained), not a.unexplained)


def _ends(table, subject, result):
    f = compare.final(subject, result)
    table.line('final maps against the recorded', f'{f.processes} processes, '
               f'{len(f.differences)} differences', f.processes > 0 and not f.differences)
    for line in f.differences[:5]:
        print('    ' + line)
    if f.merged:
        print(f'      rule merging: {f.merged} (areas that later kernels than 5.10 merge)')
    off = abs(f.resident_recorded - f.resident_replayed)
    table.line('resident pages at the end, recorded / replayed',
               f'{f.resident_recorded} / {f.resident_replayed}', off * 100 <= f.resident_recorded)


def _checks(table, results):
    for name in machines.QUIRES:
        r = results.get(name)
        if not r:
            continue
        table.line(f'derived against raw codes on {name}', f'{len(r.mismatches)} disagreements',
                   not r.mismatches)
        if name != 'host':
            table.line(f'table dumps against QEMU on {name}',
                       f'{r.dumps} dumps, {len(r.table_differences)} differences',
                       r.dumps > 0 and not r.table_differences)
        free = _free_pages(r.log)
        if free:
            before, after, named, names = free
            table.line(f'free pages before and after on {name}', f'{before} = {after}'
                       if before == after else f'{before}, {after} (more held: {names})',
                       before == after + named)


def run(args):
    subject = machines.Subject(args.file or DEFAULT)
    if not subject.is_recording:
        raise CannotRun(f'{subject.path}: the demo wants a recording')
    machines.prepare([*machines.QUIRES, 'linux-5.10'])
    mem = parse_size(args.mem) if args.mem else 0
    results, absent = _run_all(subject, machines.Options(mem=mem, seconds=240, full=True))
    if not results:
        raise CannotRun('no machine ran')
    print(f'{subject.rec.header.get("command", subject.name)} '
          f'(recorded on Linux {subject.rec.header.get("release", "?")})')
    table = Table()
    _events(table, results)
    _differences(table, results)
    _recorded(table, subject, next(iter(results.values())))
    _ends(table, subject, next(iter(results.values())))
    _checks(table, results)
    for name, why in absent.items():
        table.line(f'not run on {name}', str(why).splitlines()[0], name == 'linux-5.10')
        if name != 'linux-5.10':
            table.code = CANNOT
    print('traces:')
    for r in results.values():
        print(f'  {os.path.relpath(r.trace_path)}')
    return table.code
