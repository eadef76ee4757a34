# SPDX-License-Identifier: MIT
"""Branch coverage of the core by the host's tests, held against docs/coverage.md.

That page has two tables. Thresholds: `file | percent`. Exclusions: `file | line | why`, where the
file may be `*` and the line is a piece of source text in backquotes: branches on lines that hold
it do not count; or `name()`: no line of that function counts. A threshold that is not reached, and an exclusion that excludes nothing, fail.
"""
import json
import os
import re
import subprocess

import build
from common import CannotRun, TOP, build_folder, have, say

PAGE = os.path.join(TOP, 'docs', 'coverage.md')


class Rules:
    """What docs/coverage.md demands and forgives."""

    def __init__(self, text):
        self.thresholds, self.exclusions, self.used = {}, [], set()
        for number, line in enumerate(text.splitlines(), 1):
            cells = [c.strip() for c in re.split(r'(?<!\\)\|', line)[1:-1]]
            name = re.fullmatch(r'`([\w/*.]+)`', cells[0]) if cells else None
            if not name:
                continue
            if len(cells) == 2 and re.fullmatch(r'\d+(\.\d+)?', cells[1]):
                self.thresholds[name[1]] = float(cells[1])
                continue
            piece = re.fullmatch(r'`(.+)`', cells[1]) if len(cells) == 3 else None
            if not piece or not cells[2]:
                raise CannotRun(f'docs/coverage.md:{number}: neither `file` | percent nor '
                                '`file` | `line` | why')
            self.exclusions.append((name[1], piece[1].replace('\\|', '|')))

    def excluded(self, name, function, source):
        found = False
        for i, (file, piece) in enumerate(self.exclusions):
            if file in ('*', name) and (piece == function + '()' or piece in source):
                self.used.add(i)
                found = True
        return found

    def unused(self):
        return [e for i, e in enumerate(self.exclusions) if i not in self.used]


def _counts(folder):
    """Files with counts; their names begin with dots, so glob does not see them."""
    for where, _, names in os.walk(folder):
        yield from (os.path.join(where, n) for n in names if n.endswith('.gcda'))


def _gcov(folder, objects):
    """gcov's own JSON for each note file, one at a time: a build is larger than a command line."""
    for o in objects:
        r = subprocess.run(['gcov', '--branch-probabilities', '--json-format', '--stdout', o],
                           cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for line in r.stdout.splitlines():
            if line.startswith(b'{'):
                yield json.loads(line)


def collect(folder, prefix='mm/'):
    """file -> line -> [taken, …] of its branches, the sum over every object made of the file."""
    files = {}
    # The core over the machine in software; other builds of it are optimised, into other branches.
    notes = [p for p in _counts(folder) if re.search(r'libmm_fake_\w+\.a\.p/.*_mm_\w+\.c\.gcda$', p)]
    for report in _gcov(folder, sorted(notes)):
        for f in report['files']:
            path = os.path.normpath(os.path.join(report['current_working_directory'], f['file']))
            name = os.path.relpath(path, TOP)
            if not name.startswith(prefix) or not name.endswith('.c'):
                continue
            lines = files.setdefault(name, {})
            for entry in f['lines']:
                taken = [b['count'] for b in entry['branches'] if not b.get('throw')]
                # An inline function's copy, or another encoding, may have other branches: kept apart.
                key = (entry['line_number'], len(taken), entry.get('function_name', ''))
                old = lines.get(key, [0] * len(taken))
                lines[key] = [a + b for a, b in zip(old, taken)]
    return files


def measure(files, rules):
    """Rows (file, branches, taken, excluded, missed lines)."""
    rows = []
    for name in sorted(files):
        with open(os.path.join(TOP, name)) as f:
            source = f.read().splitlines()
        total = taken = excluded = 0
        missed = []
        for (line, _, function), counts in sorted(files[name].items()):
            if not counts:
                continue
            if line > len(source):
                raise CannotRun(f'{name} is shorter than when it was counted: run it again')
            if rules.excluded(name, function, source[line - 1]):
                excluded += len(counts)
                continue
            total += len(counts)
            taken += sum(1 for c in counts if c)
            if not all(counts):
                missed.append(line)
        rows.append((name, total, taken, excluded, sorted(set(missed))))
    return rows


def _percent(total, taken):
    return 100.0 * taken / total if total else 100.0


def show(rows, rules, missing):
    """Prints the table; what is wrong, as lines."""
    wrong = []
    print(f'{"file":<22} {"branches":>8} {"taken":>6} {"left out":>8} {"%":>6} {"wanted":>6}')
    for name, total, taken, excluded, missed in rows:
        have_, want = _percent(total, taken), rules.thresholds.get(name)
        print(f'{name:<22} {total:>8} {taken:>6} {excluded:>8} {have_:>6.1f} '
              f'{"" if want is None else f"{want:g}":>6}')
        if want is not None and have_ < want:
            wrong.append(f'{name}: {have_:.1f} % of its branches are taken, {want:g} % are wanted')
        if missing and missed:
            print('    not both ways: ' + ' '.join(str(n) for n in missed))
    total, taken = sum(r[1] for r in rows), sum(r[2] for r in rows)
    print(f'{"all":<22} {total:>8} {taken:>6} {sum(r[3] for r in rows):>8} '
          f'{_percent(total, taken):>6.1f}')
    names = {r[0] for r in rows}
    wrong += [f'{n}: wanted in docs/coverage.md, but nothing was measured'
              for n in rules.thresholds if n not in names]
    wrong += [f'docs/coverage.md: nothing is left out by `{p}` in `{f}`' for f, p in rules.unused()]
    return wrong


def run(missing=False, no_run=False, tests=()):
    """The host suite with counters, and the table. True if all that is wanted is reached. Tests by
    name: only those are run, and add to what was counted before."""
    if not have('gcov'):
        raise CannotRun('gcov is missing (it comes with gcc)')
    folder = build_folder('coverage')
    if not no_run:
        build.build('coverage')
        for old in [] if tests else list(_counts(folder)):
            os.remove(old)
        _, failed = build.meson_test('coverage', ['host'], ['-t', '5', *tests])
        if failed:
            say(f'quire: {failed} tests failed; what they took counts all the same')
    files = collect(folder)
    if not files:
        raise CannotRun(f'{folder} holds no counts: run ./quire coverage without --no-run')
    with open(PAGE) as f:
        rules = Rules(f.read())
    wrong = show(measure(files, rules), rules, missing)
    for line in wrong:
        print(line)
    return not wrong
