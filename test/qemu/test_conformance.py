# SPDX-License-Identifier: MIT
"""./quire conformance on one machine and a real 5.10, with three small programs (conformance/*.c).
usage: test_conformance.py MACHINE; TAP on standard output."""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, 'tools'))
sys.dont_write_bytecode = True

import oracle  # noqa: E402
from arches import ARCHES  # noqa: E402
from common import CannotRun, have  # noqa: E402

LIST = """# three programs, as a table of one's own
words
words file={given}:/data/given -- one "two words" ''
ends -- 0
ends -- 7
ends -- signal
ends seconds=2 -- never
ends -- 0               # what comes behind one that ran out of time
ends alone -- 3
ends mem=64M seconds=60 -- megabytes 300
ends mem=512M seconds=60 -- megabytes 300
differs
"""
WRONG = [('nosuch', 'there is no program nosuch in the folder'),
         ('ends seconds=x', 'wants a number'), ('ends seconds=0', 'wants at least 1'),
         ('ends quickly', 'wants seconds=N, mem=SIZE'), ('ends "', 'No closing quotation'),
         ('ends file=/no/such:/x', 'there is no file /no/such'), ('# nothing', 'no test program')]
count = failed = 0


def report(good, name, *why):
    global count, failed
    count += 1
    failed += not good
    print(f'{"" if good else "not "}ok {count} - {name}')
    for line in '\n'.join(map(str, why)).splitlines() if not good else ():
        print('# ' + line[:200])
    sys.stdout.flush()


def build(folder, machine):
    os.makedirs(os.path.join(folder, machine))
    compiler = next(c for c in ARCHES[machine].compilers if have(c))
    for name in ('words', 'ends', 'differs'):
        subprocess.run([compiler, '-O1', '-static', '-o', os.path.join(folder, machine, name),
                        os.path.join(HERE, 'conformance', name + '.c')], check=True)


def command(*words):
    r = subprocess.run([os.path.join(TOP, 'quire'), 'conformance', *words], stdin=subprocess.DEVNULL,
                       capture_output=True, text=True, timeout=900)
    return r.returncode, r.stdout.splitlines(), r.stderr


def main(machine):
    try:
        oracle.kernel_image('linux-5.10')
    except CannotRun as e:
        print(f'1..0 # SKIP {e}')
        return 0
    with tempfile.TemporaryDirectory() as folder:
        for m in {machine, 'x86_64'}:
            build(folder, m)
        given, table, tsv = (os.path.join(folder, n) for n in ('given', 'list', 'tsv'))
        with open(given, 'w') as f:
            f.write('from here\n')
        for text, said in WRONG:
            with open(table, 'w') as f:
                f.write(text + '\n')
            status, _, err = command('--on', machine, '--list', table, folder)
            report(status == 2 and said in err and 'Traceback' not in err, f'refused: {text}', status, err)
        for words, said in ([(['--on', 'vax', folder], 'wants x86_64, riscv64'), (['/no/such'], 'there is no folder'),
                             (['--list', '/no/such', folder], 'cannot be read')]):
            status, _, err = command(*words)
            report(status == 2 and said in err and 'Traceback' not in err, f'refused: {said}', status, err)
        with open(table, 'w') as f:
            f.write(LIST.format(given=given))
        status, lines, err = command('--on', machine, '--list', table, '--all', '--tsv', tsv, folder)
        rows = [line.split('\t') for line in open(tsv).read().splitlines()] if os.path.exists(tsv) else []
        found = [tuple(r[1:3]) for r in rows[1:]]
        wanted = [('0', '0'), ('0', '0'), ('0', '0'), ('7', '7'), ('SIGABRT', 'SIGABRT'), ('time-out', 'time-out'),
                  ('0', '0'), ('3', '3'), ('0', '5'), ('0', '0'), ('0', '4')]
        report(status == 1 and len(found) == len(wanted), 'the table', status, err, *lines)
        for n, (want, row) in enumerate(zip(wanted, rows[1:])):
            # A machine of 64 MiB has not that much; the real kernel's has more, to come up at all.
            report(tuple(row[1:3]) == want, row[0], row)
            if want[0] == want[1]:
                report(not row[3], row[0] + ': the same', row)
        report("ended with 4, not 0; line 2: 'a real one' there, 'ours' here" in lines[-2], 'the first difference', *lines)
        report(lines[-1] == '11 tests, 11 compared, 9 the same on all machines', 'the sum', *lines)
    print(f'1..{count}')
    return failed != 0


sys.exit(main(*sys.argv[1:]))
