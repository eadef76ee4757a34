# SPDX-License-Identifier: MIT
"""`./quire conformance`: other people's test programs on Quire's machines beside a real Linux (docs/conformance.md)."""
import os
import re
import shlex

import batch
from arches import ARCHES, elf_machine, slowness
from common import CannotRun, DIFFERENT, OK, Progress, is_elf, parse_size, say

REFERENCE = 'linux-5.10'
SECONDS, MEMORY = 30, 256 << 20


class Test:
    def __init__(self, name):
        self.name, self.programs = name, {}     # machine of the ELF file -> its path
        self.args, self.files, self.seconds, self.mem, self.alone = [], {}, SECONDS, MEMORY, False


def _programs(top):
    """name -> {machine: path}: every ELF program of the folder. A folder of it that is named after a machine
    holds the programs of that machine, whose name is the rest."""
    found = {}
    if not os.path.isdir(top):
        raise CannotRun(f'conformance: there is no folder {top}')
    for where, folders, names in os.walk(top):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(where, name)
            if not os.access(path, os.X_OK) or not os.path.isfile(path) or not is_elf(path):
                continue
            machine = elf_machine(path)
            first, _, rest = os.path.relpath(path, top).partition('/')
            key = rest if first == machine and rest else os.path.relpath(path, top)
            if machine in ARCHES:
                found.setdefault(key, {})[machine] = path
    return found


def _word(test, word, where):
    key, equals, value = word.partition('=')
    try:
        if word == 'alone':
            test.alone = True
        elif key == 'seconds' and equals:
            test.seconds = int(value)
        elif key == 'mem' and equals:
            test.mem = parse_size(value)
        elif key == 'file' and equals and ':/' in value:
            host, guest = value.rsplit(':/', 1)
            if not os.path.isfile(host):
                raise CannotRun(f'{where}: there is no file {host}')
            test.files['/' + guest] = (host, os.stat(host).st_mode & 0o777)
        else:
            raise CannotRun(f'{where}: {word}: wants seconds=N, mem=SIZE, alone, file=HOST:/GUEST or -- ARG…')
    except ValueError:
        raise CannotRun(f'{where}: {word}: wants a number') from None


def _from_list(path, programs):
    tests = []
    try:
        with open(path) as f:
            lines = f.read().splitlines()
    except OSError as e:
        raise CannotRun(f'{path}: cannot be read: {e.strerror.lower()}') from None
    for n, line in enumerate(lines, 1):
        where = f'{path}:{n}'
        try:
            words = shlex.split(line, comments=True)
        except ValueError as e:
            raise CannotRun(f'{where}: {e}') from None
        if not words:
            continue
        options, dashes, args = words[1:], False, []
        if '--' in options:
            at = options.index('--')
            options, args, dashes = options[:at], options[at + 1:], True
        if words[0] not in programs:
            raise CannotRun(f'{where}: there is no program {words[0]} in the folder')
        test = Test(' '.join([words[0], *args]) if dashes else words[0])
        test.programs, test.args = programs[words[0]], args
        for word in options:
            _word(test, word, where)
        if test.seconds < 1:
            raise CannotRun(f'{where}: seconds={test.seconds}: wants at least 1')
        tests.append(test)
    return tests


def _tests(args):
    programs = _programs(args.folder)
    if args.list:
        tests = _from_list(args.list, programs)
    else:
        tests = []
        for name, found in sorted(programs.items()):
            tests.append(Test(name))
            tests[-1].programs = found
    if not tests:
        raise CannotRun(f'conformance: {args.list or args.folder}: no test program' +
                        ('' if args.list else ' (an executable static ELF file for ' + ' or '.join(ARCHES) + ')'))
    return tests


def _arch(machine):
    return machine if machine in ARCHES else 'x86_64'


def _job(test, machine):
    path = test.programs[_arch(machine)]
    guest = '/bin/' + re.sub('/', '-', os.path.relpath(path, os.path.dirname(os.path.dirname(path))))
    return batch.Job(test.name, guest, [guest, *test.args], test.seconds * slowness(), test.mem, test.alone,
                     files={guest: (path, 0o755), **test.files})


def _on(machine, tests):
    """test -> Result, of those that there are for this machine."""
    mine = [t for t in tests if _arch(machine) in t.programs]
    progress = Progress(machine)
    try:
        results = batch.run(machine, [_job(t, machine) for t in mine],
                            lambda n, of: progress.update(f'{n} of {of}')) if mine else []
    finally:
        progress.done()
    return dict(zip(mine, results))


def _difference(reference, r):
    """What differs, in a line; '': nothing."""
    if r.ended == batch.DIED:
        return f'the machine died: {r.why}'
    line = batch.first_difference(reference.output, r.output)
    said = f'line {line[0]}: {line[1]!r} there, {line[2]!r} here' if line else ''
    if r.ended != reference.ended:
        return f'ended with {r.ended}, not {reference.ended}' + (f'; {said}' if said else '')
    return said


def execute(args):
    """The command; its exit status."""
    machines = [m for m in args.on.split(',') if m]
    for m in machines:
        if m not in ARCHES:
            raise CannotRun(f'conformance: --on {m}: wants {", ".join(ARCHES)}')
    tests = _tests(args)
    columns = [REFERENCE, *machines]
    results = {m: _on(m, tests) for m in columns}
    width = max(len('test'), *(len(t.name) for t in tests))
    print('  '.join([f'{"test":{width}}', *(f'{m:10}' for m in columns), 'first difference']).rstrip())
    same, ran, rows = 0, 0, []
    for t in tests:
        reference = results[REFERENCE].get(t)
        here = {m: results[m].get(t) for m in machines}
        differs = []
        for m, r in here.items():
            if r and reference:
                d = _difference(reference, r)
                differs += [f'{m}: {d}' if len(machines) > 1 else d] if d else []
        ends = [(results[m].get(t).ended if results[m].get(t) else '-') for m in columns]
        compared = bool(reference) and any(here.values())
        ran += compared
        same += compared and not differs
        rows.append([t.name, *ends, '; '.join(differs)])
        if differs or args.all or not compared:
            print('  '.join([f'{t.name:{width}}', *(f'{e:10}' for e in ends), '; '.join(differs)]).rstrip())
    print(f'{len(tests)} tests, {ran} compared, {same} the same on all machines')
    if args.tsv:
        try:
            with open(args.tsv, 'w') as f:
                f.writelines('\t'.join(re.sub(r'[\t\n]', ' ', c) for c in row) + '\n'
                             for row in [['test', *columns, 'first difference'], *rows])
        except OSError as e:
            raise CannotRun(f'{args.tsv}: cannot be written: {e.strerror.lower()}') from None
        say(f'table: {args.tsv}')
    return OK if ran and same == ran else DIFFERENT
