#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Takes each lock of mm/ away in turn and asks whether an assertion names it.

The tree is copied, and in the copy every place of mm/ that takes a lock (spinning, sleeping, a page's, a
table's, or the interrupts of a CPU) is numbered and can be turned off at run time, with the release
that belongs to it (lockoff.h). One build serves for all. Each unit test over the machine in software
is run once as it is, to learn which places it reaches; then each place is turned off alone, and the
quickest tests that reach it run until an assertion says that this very lock is not held.

usage: locks.py [--work DIR] [--results FILE] [--least PERCENT] [--list] [PLACE|FIRST-LAST ...]
Results are kept in FILE, and what is there is not tried again. exit 0: at least PERCENT (90) of the
places were told by name, 1: fewer, 2: unusable
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)
import run  # noqa: E402

TAKE = ('spin_lock_irqsave', 'spin_lock_nested', 'spin_lock', 'spin_trylock', 'down_read_trylock',
        'down_write_trylock', 'down_read', 'down_write_nested', 'down_write', 'mutex_lock', 'mutex_trylock', 'lock_page',
        'trylock_page', 'ptl_lock_two', 'ptl_lock', 'fault_lock', 'anon_vma_lock_write',
        'anon_vma_lock_read', 'hal_irq_save')
DROP = ('spin_unlock_irqrestore', 'spin_unlock', 'downgrade_write', 'up_read', 'up_write', 'mutex_unlock', 'unlock_page',
        'ptl_unlock_two', 'ptl_unlock', 'fault_unlock', 'anon_vma_unlock_write',
        'anon_vma_unlock_read', 'hal_irq_restore')
# Comments and strings are passed over; a name behind a type is a declaration.
TOKEN = re.compile(r'/\*.*?\*/|"(?:\\.|[^"\\])*"|(?:\b(?:void|bool) )?\b(?:' +
                   '|'.join(TAKE + DROP) + r')\(|\bpage_set\((\w+), PG_locked\)', re.S)
LIMIT = 100    # seconds for one test program
SKIP = {'mm_model_campaign'}


class Places:
    """Numbers the places of a copy and rewrites it."""

    def __init__(self, top):
        self.top, self.at = top, []

    def rewrite(self, path):
        text = open(path, encoding='utf-8').read()
        out, last = [], 0
        for m in TOKEN.finditer(text):
            word = m[0]
            if word[0] in '/"' or word.startswith(('void ', 'bool ')):
                continue
            out.append(text[last:m.start()])
            last = m.end()
            name = word[:-1]
            if name in DROP:
                out.append(f'off_{name}(')
                continue
            line = text.count('\n', 0, m.start()) + 1
            what = text[m.start():text.index('\n', m.start())].strip()
            if m[1]:
                out.append(f'off_page_set_locked({len(self.at)}, {m[1]})')
            else:
                out.append(f'off_{name}({len(self.at)}, ')
            self.at.append(f'{os.path.relpath(path, self.top)}:{line}: {what}')
        out.append(text[last:])
        open(path, 'w', encoding='utf-8').write(''.join(out))

    def rewrite_all(self):
        for folder, _, names in sorted(os.walk(os.path.join(self.top, 'mm'))):
            for name in sorted(names):
                if name.endswith(('.c', '.h')):
                    self.rewrite(os.path.join(folder, name))


def prepare(work):
    """The copy, rewritten; its places. Only what differs is written, so that builds are quick."""
    fresh = work + '.fresh'
    shutil.rmtree(fresh, ignore_errors=True)
    run.copy_tree(fresh)
    places = Places(fresh)
    places.rewrite_all()
    lockdep = os.path.join(fresh, 'lib', 'lockdep.c')
    text = open(lockdep, encoding='utf-8').read().replace('\tos_panic(buf);',
                                                          '\tlockoff_said(buf);\n\tos_panic(buf);')
    text += '\n' + open(os.path.join(HERE, 'lockoff.c'), encoding='utf-8').read()
    open(lockdep, 'w', encoding='utf-8').write(text)
    for folder, _, names in os.walk(fresh):
        for name in names:
            src = os.path.join(folder, name)
            dst = os.path.join(work, os.path.relpath(src, fresh))
            new = open(src, 'rb').read()
            if not os.path.exists(dst) or open(dst, 'rb').read() != new:
                os.makedirs(os.path.dirname(dst), exist_ok=True)
                shutil.copy(src, dst)
    shutil.rmtree(fresh)
    return places.at


def build(work):
    """Builds the unit tests of one encoding; returns {name: (program, arguments, environment)}."""
    where = os.path.join(work, 'build', 'host')
    if not os.path.exists(os.path.join(where, 'build.ninja')):
        status, out = run.run(['meson', 'setup', where, '-Dencodings=x86_64', '-Dwerror=false',
                               '-Doptimization=1', '-Ddebug=false', '-Dc_args=-include ' +
                               os.path.join(work, 'test/mutants/lockoff.h')], work)
        if status:
            sys.exit(out)
    status, out = run.run(['meson', 'introspect', '--tests', where], work)
    tests = {}
    for t in json.loads(out):
        program = t['cmd'][0]
        if '/test/unit/' in program and 'x86_64' in os.path.basename(program) and \
                'model' not in os.path.basename(program) or t['name'] == 'mm_oracle':
            tests[t['name']] = (program, t['env'])
        elif re.match(r'(page|slab)_model(_late)?_x86_64$', t['name']):
            tests[t['name']] = (program, t['env'], t['cmd'][1:])
    wanted = sorted({os.path.relpath(t[0], where) for t in tests.values()})
    status, out = run.run(['ninja', '-C', where] + wanted, work)
    if status:
        print(out[-4000:])
        sys.exit(2)
    return tests


def try_program(test, work, place):
    """Runs it with this place off (None: all on). Returns (what it was called, what was said,
    bytes of the places reached, seconds)."""
    said, reached = os.path.join(work, 'said'), os.path.join(work, 'reached')
    open(said, 'w').close()
    with open(reached, 'wb') as f:
        f.write(bytes(4096))
    env = dict(os.environ, **test[1], LOCK_OFF_SAID=said, LOCK_OFF_REACHED=reached,
               LOCK_OFF='-1' if place is None else str(place))
    args = test[2] if len(test) > 2 else ['-j1'] + ([] if place is None else ['--fail-fast'])
    begin = time.monotonic()
    try:
        subprocess.run([test[0]] + args, cwd=work, env=env, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        pass
    text = open(said, encoding='utf-8', errors='replace').read()
    names = re.findall(r'^off (.*)$', text, re.M)
    return (names[0] if names else None, re.findall(r'^said (.*)$', text, re.M),
            open(reached, 'rb').read(), time.monotonic() - begin)


def names_lock(name, line, source):
    """Does the assertion's line say that the lock of this name is not held?"""
    also = 'interrupts' if 'irqsave' in source else name
    return any(re.search(rf': {re.escape(n)} (is not held|are not off)', line) for n in (name, also))


def learn(tests, work):
    """For each test the places it reaches and how long it takes."""
    known = {}
    for name, test in sorted(tests.items()):
        _, said, reached, seconds = try_program(test, work, None)
        if said and 'panics' not in name:
            print(f'# {name} with every lock on: {said[0]}', flush=True)
        known[name] = ({i for i, b in enumerate(reached) if b}, seconds)
    return known


def try_place(place, source, tests, known, work):
    """('named', line) or ('survived' | 'unreached', why)."""
    able = sorted((n for n in tests if place in known[n][0]), key=lambda n: known[n][1])
    heard = []
    for n in able:
        name, said, _, _ = try_program(tests[n], work, place)
        for line in said:
            if name and names_lock(name, line, source):
                return 'named', f'{n}: {line}'
        heard += said[:1]
    if not able:
        return 'unreached', ''
    return 'survived', '; '.join([f'{len(able)} tests reach it'] + heard[:2])


def chosen(words, n):
    if not words:
        return range(n)
    places = set()
    for w in words:
        first, _, last = w.partition('-')
        places |= set(range(int(first), int(last or first) + 1))
    return sorted(p for p in places if p < n)


def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('--work', default=os.path.join(run.ROOT, 'build/locks-tree'))
    ap.add_argument('--results')
    ap.add_argument('--least', type=float, default=90)
    ap.add_argument('--list', action='store_true', help='number the places and end')
    ap.add_argument('places', nargs='*')
    args = ap.parse_args()
    work = os.path.abspath(args.work)
    at = prepare(work)
    if args.list:
        print('\n'.join(f'{i} {s}' for i, s in enumerate(at)))
        return 0
    results = args.results or os.path.join(work, 'results.json')
    done = json.load(open(results)) if os.path.exists(results) else {}
    todo = [p for p in chosen(args.places, len(at)) if at[p] not in done]
    if todo:
        tests = build(work)
        known = learn(tests, work)
    for p in todo:
        done[at[p]] = try_place(p, at[p], tests, known, work)
        with open(results, 'w') as f:
            json.dump(done, f, indent=1)
        how, why = done[at[p]]
        print(f'{"ok" if how == "named" else "not ok"} {p} - {how}: {at[p]}\n# {why}', flush=True)
    tried = [done[s] for s in at if s in done]
    named = sum(t[0] == 'named' for t in tried)
    print(f'# {named} of {len(tried)} locks taken away were named by an assertion, '
          f'{100 * named / max(len(tried), 1):.0f} %')
    return 0 if named * 100 >= args.least * len(tried) else 1


if __name__ == '__main__':
    sys.exit(main())
