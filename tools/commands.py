# SPDX-License-Identifier: MIT
"""The command line: what each command of ./quire does, in terms of the other tools.

Exit codes: 0 as expected, 1 a difference or a failed expectation, 2 could not run, 124 out of time
(exec, boot).
"""
import argparse
import os
import re
import signal
import sys
import time

import bench
import bench_q
import boot
import build
import compare
import compile_replay
import conformance
import demo
import disks
import explain
import kmem
import lz4
import machines
import oracle
import packages
import program
import programs
import record
import repl
import story
import trace
import webpage
from arches import NAMES
from common import (CANNOT, CannotRun, DIFFERENT, OK, Stopped, TIMED_OUT, TimedOut, parse_size, say,
                    stop_on_signals)

EPILOG = """exit codes: 0 as expected, 1 a difference or a failed expectation,
            2 could not run, 124 out of time (exec, boot)
machines:   host (the checking machine in software),
            x86_64, riscv64 (Quire in QEMU),
            linux (this kernel), linux-5.10 (a real 5.10 in QEMU)"""


# What --help shows of each command; test/tools/test_afternoon.py runs them.
EXAMPLES = {
    'run': ['./quire run test/scenario/fork-shared.scn',
            './quire run --explain --on x86_64 test/scenario/write-after-fork.scn',
            './quire run --html page.html --on host,riscv64 test/scenario/tour-tables.scn',
            "./quire run --look '5:tree %' --look '6:buddy' test/scenario/merge.scn",
            './quire run --swap 32M test/recording/gcc-O2.rec.xz'],
    'repl': ["echo 'load(@3)' | ./quire repl", './quire repl --on riscv64 < test/scenario/zero-page.scn'],
    'diff': ['./quire diff test/scenario/msync.scn test/scenario/mlock.scn',
             './quire diff --on x86_64,linux-5.10 test/scenario/brk.scn'],
    'ask': ['./quire ask --check test/scenario/brk.scn'],
    'fuzz': ['./quire fuzz --seeds 0:100 --on host,x86_64', './quire fuzz --show --seeds 7 --on host'],
    'record': ['./quire record -o ls.rec -- ls -l /'],
    'exec': ['./quire exec riscv64 ./hello', 'echo hello | ./quire exec --env NAME=x --mem 64M riscv64 ./hello'],
    'boot': ["printf 'help\\nexit\\n' | ./quire boot host", "printf 'buddy\\nexit\\n' | ./quire boot x86_64 -- trace=4M"],
    'bench': ['./quire bench --quick H7', './quire bench --no-peer --on x86_64 Q0'],
    'simulate': ['./quire simulate --list', './quire simulate --policy 5.10,belady --frames 200 test/recording/gcc-O2.rec.xz'],
    'trace': ['./quire run --trace traces test/scenario/brk.scn', './quire trace traces/brk.host.trace'],
    'compile': ['./quire compile -o gcc.table test/recording/gcc-O2.rec.xz'],
}


# ---- run, diff -------------------------------------------------------------------------------

def _subjects(paths):
    return [machines.Subject(p) for p in paths]


def _disks(args):
    """(disks, bytes of swap) of the options, or CannotRun."""
    found = [disks.parse(text) for text in args.disk or []]
    swap = parse_size(args.swap) if args.swap else 0
    if args.swap:
        disks.check_swap(swap)
    disks.check_count(found, swap)
    return found, swap


def _words(args, machine=''):
    """Words of the kernel's command line, for compressed swap; CannotRun: not on this machine."""
    words = []
    if args.zswap:
        if not args.swap:
            raise CannotRun('--zswap: wants --swap SIZE, in front of which it stands (without a disk: --zram)')
        words.append('zswap.enabled=1')
    if args.zram:
        if args.swap:
            raise CannotRun('--zram and --swap: one or the other')
        if machine.startswith('linux'):
            raise CannotRun(f'--zram: {machine} has none built in')
        words += [f'zram={parse_size(args.zram)}', 'swap=/dev/zram0']
    if words and not machine.startswith('linux') and not lz4.where():
        raise CannotRun('compressed swap: this build has no LZ4 (./quire setup fetches it)')
    return words


def _options(args):
    if args.smp < 1:
        raise CannotRun(f'{args.name}: --smp {args.smp}: wants at least 1')
    if args.seconds < 0:
        raise CannotRun(f'{args.name}: --seconds {args.seconds}: wants 0 (no limit) or more')
    found, swap = _disks(args)
    return machines.Options(disks=found, swap=swap, mem=parse_size(args.mem) if args.mem else 0,
                            smp=args.smp, seconds=args.seconds,
                            words=_words(args), trace_dir=args.trace or '', looks=getattr(args, 'look', None) or [])


def _show_problems(subject, result):
    """What a finished run still says against itself; True if anything."""
    for line in result.table_differences[:10]:
        print(f'{subject.path}: {result.machine}: page tables: {line}')
    for line in result.mismatches[:10]:
        print(f'{subject.path}: {result.machine}: {line}')
    return bool(result.table_differences or result.mismatches)


def _in_ranges(line, ranges):
    """Whether a line of a trace is a marker, a process event, or a fault at an address that is
    compared."""
    if re.search(r': (table_\w+|sys_\w+|mmap|mm_page_\w+): ', line):
        return False
    m = re.search(r'fault\w*: (?:address|cr2|stval)=(?:0x)?([0-9a-f]+)', line)
    return not m or any(a <= int(m.group(1), 16) < b for a, b in ranges)


def _print_trace(subject, result, everything):
    """The trace as text: markers and what lies between them; of faults, unless everything is
    wanted, only those that are compared, not the runner's own."""
    if not result.trace_path:
        return
    if result.trace_path.endswith('.txt'):
        with open(result.trace_path) as f:
            lines = [s.rstrip('\n') for s in f if not s.startswith('#')]
    else:
        lines = trace.text_lines(result.trace_path)
    on = False
    for line in lines:
        on = on or 'tracing_mark_write: ' + trace.BEGIN in line
        if on and (everything or _in_ranges(line, subject.ranges)):
            print(subject.shown(line.strip()))
        if 'tracing_mark_write: ' + trace.END in line:
            on = False


def _run_kmem(files, names):
    """Recordings of page and slab events have a replayer of their own."""
    for name in names:
        if name not in kmem.REPLAYERS:
            raise CannotRun(f'{files[0]}: page and slab events are replayed on '
                            f'{", ".join(kmem.REPLAYERS)}, not on {name}')
    build.build_for(names)
    for name in names:
        build.build(name, kmem.targets(name))
    return OK if kmem.run_all(files, names) else DIFFERENT


def cmd_run(args):
    names = machines.check(args.on)
    if '-' in args.file:
        if len(args.file) > 1 or args.html or args.trace or args.look:
            raise CannotRun('run -: takes actions from standard input, and no other file, --html, --trace or --look')
        return cmd_repl(args)
    events = [f for f in args.file if kmem.is_kmem(f)]
    worst = _run_kmem(events, names) if events else OK
    args.file = [f for f in args.file if f not in events]
    return max(worst, _run_subjects(args, names)) if args.file else worst


def cmd_repl(args):
    """A scenario that is typed, one action at a time."""
    names = machines.check(args.on)
    if len(names) > 1:
        raise CannotRun(f'{args.name}: one action at a time is for one machine')
    return repl.run(names[0], _options(args))


def _check_looks(looks, subjects):
    for look in looks or []:
        if not re.match(r'(\d+|\*):.', look):
            raise CannotRun(f'run: --look {look}: wants LINE:COMMAND, as in 3:buddy')
    if looks and any(s.is_recording for s in subjects):
        raise CannotRun('run: --look names a line of a scenario; a recording has none')
    if sum(len(look) + 1 for look in looks or []) >= 2048:
        raise CannotRun('run: --look: too many for one run')


def _run_subjects(args, names):
    options = _options(args)
    subjects = _subjects(args.file)
    _check_looks(args.look, subjects)
    if args.html:
        _check_html(args, names, subjects)
    machines.prepare(names, subjects)
    worst, shown = OK, []
    for name in names:
        for subject, result in _execute(args, subjects, name, options):
            if isinstance(result, CannotRun):
                say(f'{subject.path}: {name}: {result}')
                worst = CANNOT
                continue
            worst = max(worst, _show_run(args, subject, result))
            shown.append(result)
    if args.html and shown:
        webpage.write(args.html, subjects[0], [r for r in shown if r.status != CANNOT])
        print(f'page: {args.html}')
    return worst


def _check_html(args, names, subjects):
    """Before anything is run: a page is of one run, and has to be written."""
    if len(subjects) > 1:
        raise CannotRun('run: --html makes the page of one file')
    for name in names:
        if name not in machines.QUIRES:
            raise CannotRun(f'run: --html: {name}: only Quire\'s own machines show what is inside')
    with open(args.html, 'a', encoding='utf-8'):
        pass


def _execute(args, subjects, name, options):
    """Pairs of subject and result. A scenario that is to be explained is looked at after every action, in a
    machine of its own."""
    traced = name != 'linux' or os.geteuid() == 0
    looks = _story_looks(args)
    if not looks or name not in machines.QUIRES:
        yield from machines.execute(subjects, name, options, traced=traced)
        return
    for s in subjects:
        opt = options if s.is_recording else story.options(options, looks)
        yield from machines.execute([s], name, opt, traced=traced)


def _story_looks(args):
    return story.WHOLE if args.html else story.LOOKS if args.explain else []


def _show_run(args, subject, result):
    """Prints a run and what it says against itself; the exit code."""
    print(f'== {subject.path} on {result.machine}: {_verdict(result)}')
    explained = args.explain and not subject.is_recording and result.machine in machines.QUIRES
    if explained and result.status != CANNOT:
        explain.show(subject, result, _story_looks(args))
    elif args.html and result.status != CANNOT:
        for line in result.output.splitlines():
            if ': expected ' in line:
                print(line)
    else:
        sys.stdout.write(story.output_without_looks(result.output, _story_looks(args)))
        if args.explain:
            print(f'{result.machine}: ' + ('a recording is not explained (--html shows it)' if subject.is_recording
                                           else 'only Quire\'s own machines explain what they do'))
        elif args.trace:
            print(f'trace: {result.trace_path}')
        else:
            _print_trace(subject, result, args.all)
    code = DIFFERENT if _show_problems(subject, result) else OK
    return max(code, min(result.status, CANNOT))


def _verdict(result):
    return {0: 'as expected', 1: 'NOT as expected'}.get(result.status, 'could not run')


def _diff_one(subject, results):
    """Compares every machine with the first; prints what differs; returns the exit code."""
    first, code = results[0], OK
    for r in results:
        if r.status:
            print(f'{subject.path}: {r.machine}: {_verdict(r)}')
            lines = r.output.rstrip().splitlines()
            notable = [s for s in lines if ': expected ' in s or s.startswith(
                ('call ', 'access ', 'pattern '))] or lines[-5:]
            for line in notable[:10]:
                print('    ' + line)
            code = max(code, min(r.status, CANNOT))
        if _show_problems(subject, r):
            code = max(code, DIFFERENT)
    for r in results[1:]:
        d, left, right = compare.machines(first, r, machines.QUIRES)
        if d:
            print(f'{subject.path}: {first.machine} and {r.machine} differ: ' +
                  trace.difference_text(d, first.machine, r.machine, left, right))
            code = max(code, DIFFERENT)
        if subject.is_recording:
            lines = compare.replay_differences(first, r)
            if lines:
                print(f'{subject.path}: maps or present pages differ:\n' + '\n'.join(lines))
                code = max(code, DIFFERENT)
    return code


def cmd_diff(args):
    names = machines.check(args.on)
    if len(names) < 2:
        raise CannotRun('diff wants at least two machines: --on host,x86_64')
    options = _options(args)
    subjects = _subjects(args.file)
    machines.prepare(names, subjects)
    collected, worst, cannot = {s.path: [] for s in subjects}, OK, {}
    for name in names:
        for subject, result in machines.execute(subjects, name, options):
            if isinstance(result, CannotRun):
                say(f'{subject.path}: {name}: {result}')
                cannot[subject.path] = name
                worst = CANNOT
            else:
                collected[subject.path].append(result)
    equal = 0
    for s in subjects:
        results = collected[s.path]
        code = _diff_one(s, results) if len(results) > 1 else OK
        if code == OK and s.path not in cannot:
            equal += 1
            counts = ', '.join(f'{r.machine} {len(r.events)}' for r in results)
            print(f'{s.path}: equal ({counts} events)')
        worst = max(worst, code)
    dumps = sum(r.dumps for rs in collected.values() for r in rs)
    print(f'{equal} of {len(subjects)} equal on {",".join(names)}; {dumps} dumps of live tables '
          'compared with QEMU\'s')
    return worst


# ---- record, exec, boot ----------------------------------------------------------------------

def cmd_record(args):
    command = args.command[1:] if args.command[:1] == ['--'] else args.command
    if not command:
        raise CannotRun('record: no command given: ./quire record -o FILE -- CMD ARG…')
    if args.kernel_memory:
        packages.ensure('build')
        kmem.record(args.output, ' '.join(command))
        return OK
    packages.ensure('record')
    status = record.record(command, args.output)
    if status:
        say(f'quire: the command ended with status {status}')
    return OK


def cmd_exec(args):
    return program.execute(args, *_disks(args), _words(args, args.machine))


def cmd_conformance(args):
    return conformance.execute(args)


def cmd_programs(args):
    return programs.execute(args)


def cmd_boot(args):
    return boot.execute(args, [*_words(args, args.machine), *args.words], *_disks(args))


# ---- setup, test, trace ----------------------------------------------------------------------

def cmd_setup(args):
    packages.ensure('all')
    try:
        lz4.fetch()
    except CannotRun as e:
        say(f'quire: {e}\nquire: compressed swap will be off')
    for name in ('host', *NAMES):
        build.build(name)
    say('quire: everything is there')
    return OK


SUITES = {
    'host': [('host', ['host'])],
    'asan': [('asan', ['host'])],
    'tsan': [('host', ['tsan'])],
    **{f'qemu-{m}': [(m, [f'qemu-{m}'])] for m in NAMES},
    'release': [(f'release-{m}', ['release']) for m in NAMES],
    'oracle': [('host', ['oracle'])],
    'mutants': [('host', ['mutants'])],
    'sweep': [('host', ['sweep'])],
    'campaign': [(b, ['campaign']) for b in ('host', *NAMES)],
    'latency': [],
}
CAMPAIGNS = ['sweep', 'campaign', 'latency']  # long: only when they are named


def cmd_test(args):
    names = args.suite or [n for n in SUITES if n not in CAMPAIGNS]
    for n in names:
        if n not in SUITES:
            raise CannotRun(f'{n}: no such suite (there are {", ".join(SUITES)})')
    builds = {'host'} | {b for n in names for b, _ in SUITES[n]} | (set(NAMES) if {'latency', 'mutants'} & set(names) else set())
    packages.ensure('test', [*(m for m in NAMES if any(b.endswith(m) for b in builds)),
                             *(['linux-5.10'] if 'oracle' in names else [])])
    total = [0, 0]
    for b in builds:
        build.build(b)
    for n in names:
        if n == 'latency':
            import latency
            passed, failed = latency.run()
            print(f'latency: {passed} passed, {failed} failed', flush=True)
            total = [total[0] + passed, total[1] + failed]
        for b, suites in SUITES[n]:
            start = time.monotonic()
            passed, failed = build.meson_test(b, suites)
            print(f'{n}: {passed} passed, {failed} failed ({time.monotonic() - start:.0f} s)',
                  flush=True)
            total[0] += passed
            total[1] += failed
    print(f'{total[0]} passed, {total[1]} failed')
    return DIFFERENT if total[1] or not total[0] else OK


def cmd_coverage(args):
    """Branch coverage of mm/ by the host tests, held against docs/coverage.md."""
    import coverage
    packages.ensure('test', ['host'])
    return OK if coverage.run(args.missing, args.no_run, args.test) else DIFFERENT


def cmd_trace(args):
    """A binary trace as ftrace text or as CTF."""
    if args.ctf:
        import ctf
        count = ctf.convert(args.file, args.ctf)
        print(f'{args.ctf}: {count} events')
        return OK
    for line in trace.text_lines(args.file):
        print(line)
    return OK


def cmd_compile(args):
    """A recording's replay table, for use without this command."""
    import recording
    table = compile_replay.compile_recording(recording.read(args.file))
    with open(args.output, 'wb') as f:
        f.write(table.data)
    print(f'{args.output}: {len(table.heaps)} programs, {table.faults} faults')
    for name, count in table.rules.items():
        print(f'  left out: {count} {compare.rule_text(name)}')
    return OK


def cmd_ask(args):
    """Expectations of scenarios from a real kernel."""
    import ask
    for path in args.file:
        if machines.Subject(path).is_recording:
            raise CannotRun(f'{path}: is a recording, not a scenario')
    return ask.record(args.file, args.on, args.check)


def cmd_fuzz(args):
    import fuzz
    return fuzz.command(args)


def cmd_simulate(args):
    import simulate
    packages.ensure('build', ['host'])
    return simulate.command(args)


def cmd_demo(args):
    packages.ensure('build')
    return demo.run(args)


# ---- bench -----------------------------------------------------------------------------------

def cmd_bench(args):
    """Rows are named as in docs/bench.md (H) and docs/performance.md (Q)."""
    on = args.on.split(',')
    for name in on:
        if name not in bench_q.MACHINES:
            raise CannotRun(f'bench: {name}: wants {" or ".join(bench_q.MACHINES)}')
    libs = tuple(bench.check_peer_lib(word) for word in args.peer_lib or ())
    packages.ensure('build', on if args.profile or 'Q' in bench.split(args.row) else ['host'])
    if args.profile:
        return bench_q.profile(args.profile, on, args.others)
    return bench.main(args.row, bench.Options(args.json, args.rounds, args.quick, libs, on,
                                              args.peer, args.no_peer))


# ---- the parser ------------------------------------------------------------------------------

def _machine_options(p, on):
    p.add_argument('--on', metavar='M,M…', default=on, help=f'machines (default: {on})')
    p.add_argument('--trace', metavar='DIR', help='keep the traces in this folder')
    _kernel_option(p)
    _guest_options(p, None, 'as much as is needed, at least 128M')


def _kernel_option(p):
    p.add_argument('--kernel', action='append', metavar='NAME=FILE',
                   help='a kernel image to take for linux-5.10, instead of fetching it; NAME may be another '
                        'kernel of `bench`')


def _guest_options(p, mem='128M', text='128M'):
    p.add_argument('--mem', default=mem, help=f'memory of the machine (default: {text})')
    p.add_argument('--disk', action='append', metavar='FILE[,ro]',
                   help='a disk with this image, /dev/vda and on; may be given several times; ro: it '
                        'cannot be written')
    p.add_argument('--swap', metavar='SIZE', help='a temporary disk behind those, to which the machine '
                   'swaps from the start, as in --swap 256M (default: none)')
    p.add_argument('--zswap', action='store_true', help='what goes to that disk is compressed and stays in '
                   'memory first, as much as a fifth of memory holds')
    p.add_argument('--zram', metavar='SIZE', help='so much may be swapped, with no disk: compressed, it stays '
                   'in memory, as much as half of it holds (not on linux-5.10)')
    p.add_argument('--smp', type=int, default=1, help='processors (default: 1)')
    p.add_argument('--seconds', type=int, default=180,
                   help='time after which a run counts as hung (default: 180, and none for boot and exec --tty; '
                        '0: none)')


def _guest_file_options(p):
    p.add_argument('--file', action='append', metavar='HOST:GUEST', help='put a file into the guest')
    p.add_argument('--dir', action='append', metavar='HOST:GUEST',
                   help='put a folder with all that is in it into the guest')


def parser():
    ap = argparse.ArgumentParser(
        prog='quire', description='Quire: a virtual memory manager that lifts out of its kernel.',
        epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = ap.add_subparsers(dest='name', metavar='COMMAND', required=True)

    def add(name, function, text):
        shown = ''.join(f'  {e}\n' for e in EXAMPLES.get(name, ()))
        p = sub.add_parser(name, help=text, description=text[0].upper() + text[1:] + '.',
                           epilog=(f'examples:\n{shown}\n' if shown else '') + EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
        p.set_defaults(function=function)
        return p

    add('setup', cmd_setup, 'install what is missing (Debian packages) and build everything')
    p = add('demo', cmd_demo, 'replay a recorded program on every machine and compare the traces')
    _kernel_option(p)
    p.add_argument('--mem', help='memory of the machines (default: as much as is needed)')
    p.add_argument('file', nargs='?', help='a recording (default: the python3 one)')
    p = add('test', cmd_test, 'run the tests')
    p.add_argument('suite', nargs='*', help=f'of {", ".join(SUITES)}; default: all but {", ".join(CAMPAIGNS)}')
    p = add('coverage', cmd_coverage, 'run the host tests and show which branches of mm/ they take')
    p.add_argument('--missing', action='store_true', help='name the lines that went one way only')
    p.add_argument('--no-run', action='store_true', help='judge the last run again')
    p.add_argument('test', nargs='*', help='run these only; they add to what was counted before')
    p = add('run', cmd_run, 'run scenarios or recordings and show their traces')
    _machine_options(p, 'host')
    p.add_argument('--explain', action='store_true',
                   help='tell the scenario line by line: each fault with its way (trap, area, table levels, row), '
                        'each page-table entry before and after')
    p.add_argument('--html', metavar='FILE',
                   help='one page that needs nothing but a browser: a scenario line by line with areas, tables, '
                        'frames, free blocks and counters, a recording as density over time; several machines: '
                        'where they differ')
    p.add_argument('--all', action='store_true', help='show the program\'s own faults too')
    p.add_argument('--look', action='append', metavar='LINE:COMMAND',
                   help='after the action of this line of a scenario (0: before the first, *: after each), what '
                        'the monitor says to COMMAND: buddy, slab, "tree %%", "vma %%child @0" …; may be given '
                        'several times (%%TASK: a process, %% the first one, %%* each; @N: page N of the arena)')
    p.add_argument('file', nargs='+', help='scenarios and recordings; -: actions from standard input, one at a time')
    p = add('repl', cmd_repl, 'do the actions of a scenario as they are typed, one at a time')
    _machine_options(p, 'host')
    p = add('diff', cmd_diff, 'run scenarios or recordings on several machines and compare')
    _machine_options(p, ','.join(machines.QUIRES))
    p.add_argument('file', nargs='+')
    p = add('ask', cmd_ask, 'fill in what scenarios expect with what a real kernel answers')
    _kernel_option(p)
    p.add_argument('--on', metavar='M', default='linux-5.10',
                   help='the machine that is asked (default: linux-5.10)')
    p.add_argument('--check', action='store_true', help='only tell which files would change')
    p.add_argument('file', nargs='+')
    p = add('fuzz', cmd_fuzz, 'compare machines over random scenarios, in bulk')
    _kernel_option(p)
    p.add_argument('--seeds', metavar='FIRST:END', default='0:300', help='default: 0:300')
    p.add_argument('--on', metavar='M,M…', default='host,linux-5.10',
                   help='machines (default: host,linux-5.10)')
    p.add_argument('--hog', action='store_true',
                   help='compare each machine with itself: memory enough, and another process that holds '
                        'free memory at the low mark; of what is seen, faults, residency and frames are '
                        'left out')
    p.add_argument('--ops', type=int, default=40, help='operations a scenario (default: 40)')
    p.add_argument('--shards', type=int, default=2, help='slices at a time (default: 2)')
    p.add_argument('--slice', type=int, default=500, help='seeds a boot (default: 500)')
    p.add_argument('--progress', metavar='FILE', help='what is done, and where to go on')
    p.add_argument('--minutes', type=float, default=0, help='begin no slice after this long')
    p.add_argument('--examine', type=int, default=5,
                   help='shrink so many of the seeds that differ (default: 5)')
    p.add_argument('--found', metavar='DIR', help='write the shrunk scenarios there')
    p.add_argument('--show', action='store_true', help='print everything that is seen')
    p.add_argument('--record', metavar='FILE', help='write the digests of linux-5.10 to FILE')
    p = add('record', cmd_record, 'record what a program asks of memory (root)')
    p.add_argument('-o', '--output', required=True, metavar='FILE',
                   help='the recording; a name ending in .xz is compressed')
    p.add_argument('--kernel-memory', action='store_true',
                   help='instead: the page and slab events of a real 5.10 kernel while it runs the '
                        'shell command CMD (gcc, cat, a shell and /w.c, /s.c are there)')
    p.add_argument('command', nargs=argparse.REMAINDER, metavar='-- CMD ARG…')
    p = add('exec', cmd_exec, 'run a static Linux ELF as the first program on a machine')
    _kernel_option(p)
    _guest_options(p, None, '128M; 1500M on linux-5.10, which wants at least 64M')
    p.set_defaults(seconds=None)
    _guest_file_options(p)
    p.add_argument('--env', action='append', metavar='NAME[=VALUE]',
                   help='a variable of the program\'s environment; without a value, the one it has here')
    p.add_argument('--tty', action='store_true',
                   help='give the program a terminal instead of pipes (Ctrl-C goes to what runs in its '
                        'foreground)')
    p.add_argument('--kernel-log', metavar='FILE', help='all that the kernel says, into FILE')
    p.add_argument('--trace', metavar='DIR', help='keep the trace in this folder')
    p.add_argument('machine', help=', '.join(NAMES) + ' or linux-5.10')
    p.add_argument('program')
    p.add_argument('args', nargs=argparse.REMAINDER)
    p = add('conformance', cmd_conformance, 'run a folder of static test programs here and on a real 5.10')
    _kernel_option(p)
    p.add_argument('--on', metavar='M,M…', default=','.join(NAMES), help='machines (default: %(default)s)')
    p.add_argument('--list', metavar='FILE', help='which tests, a line each: NAME [seconds=N] [mem=SIZE] [alone] '
                   '[file=HOST:/GUEST]… [-- ARG…]; without it all that there are, with no arguments')
    p.add_argument('--all', action='store_true', help='tell of those that are the same everywhere, too')
    p.add_argument('--tsv', metavar='FILE', help='write the whole table there, with tabs')
    p.add_argument('folder', help='programs, or folders of them, one named after each machine')
    p = add('programs', cmd_programs, "run programs of Debian's packages here and on a real 5.10")
    _kernel_option(p)
    p.add_argument('--show', action='store_true', help='print what each said here')
    p.add_argument('--write', metavar='FILE', help='write the page of docs/programs.md there')
    p.add_argument('names', nargs='*', help='of the list: which (default: all)')
    p = add('boot', cmd_boot, 'boot a machine with the monitor on its console')
    _guest_options(p)
    p.add_argument('--gdb', action='store_true', help='wait for a gdb on port 1234')
    _guest_file_options(p)
    p.set_defaults(seconds=0)
    p.add_argument('machine', choices=[*NAMES, 'host'])
    p.usage = p.format_usage().rstrip()[len('usage: '):] + ' [-- WORDS of the kernel command line]'
    p = add('bench', cmd_bench, 'measure beside other memory managers: real Linux, allocators')
    _kernel_option(p)
    p.add_argument('--json', action='store_true', help='a line of JSON a figure instead of tables')
    p.add_argument('--on', metavar='M,M…', default=','.join(NAMES),
                   help='Q: machines (default: %(default)s)')
    p.add_argument('--peer', action='append', metavar='NAME[=FILE]',
                   help='Q: a Linux to stand beside us, may be given several times: a known name, or any '
                        'kernel image (default: linux-5.10 and linux-6.12-riscv64)')
    p.add_argument('--no-peer', action='store_true', help='Q: our own figures only')
    p.add_argument('--profile', metavar='ROW', help='Q: where the instructions of a row go, by function')
    p.add_argument('--others', type=int, default=0,
                   help='Q: other areas in the process while profiling (default: 0)')
    p.add_argument('--rounds', type=int, default=0,
                   help='H: rounds of each workload; Q12: runs of each row (default: 2)')
    p.add_argument('--quick', action='store_true',
                   help='H: only that everything runs; the figures mean nothing')
    p.add_argument('--peer-lib', action='append', metavar='NAME=FILE.so',
                   help='H: a page allocator to stand beside us, may be given several times: a shared '
                        'object with the functions of bench/peer.h (docs/bench.md)')
    p.epilog = ('rows:\n  H (on the host, docs/bench.md): ' + ' '.join(bench.ROWS) + '\n' +
                ''.join(f'  {r.name:5} {r.workload}\n' for r in bench_q.ROWS) +
                '  Q12   processes that do not fit into memory\n\n' + p.epilog)
    p.add_argument('row', nargs='*', help='rows, or a letter for all of its rows: H7 Q0 … H Q (default: all but '
                        'Q12); Q12, or Q12:NAME (rows, uneven, zipf, cost …), is hours of memory that is '
                        'too small: what was measured is kept in build/bench-q12')
    p = add('simulate', cmd_simulate, 'run page-replacement policies over patterns or recordings')
    p.add_argument('--policy', metavar='P,P…', help='default: all; --list shows them')
    p.add_argument('--frames', type=int, default=0,
                   help='page frames (default: 16333; half of the pages of a recording)')
    p.add_argument('--seed', type=int, default=1, help='of patterns and policies (default: 1)')
    p.add_argument('--batch', type=int, default=1,
                   help='pages reclaimed at a time, where the policy does not say (default: 1)')
    p.add_argument('--quantum', type=int, default=500,
                   help='accesses until the next process runs (default: 500)')
    p.add_argument('--fill', type=int, default=0, metavar='N',
                   help='the same while a process fills its memory (default: as then)')
    p.add_argument('--tlb', type=int, default=0, metavar='N',
                   help='entries of a TLB: a translated page\'s accessed bit is not set again '
                        '(default: none)')
    p.add_argument('--processes', action='store_true', help='show each process of several patterns, too')
    p.add_argument('--check', action='store_true', help='test the policies\' invariants on the way')
    p.add_argument('--json', action='store_true', help='a line of JSON for each policy and pattern')
    p.add_argument('--list', action='store_true', help='show policies and patterns, and end')
    p.add_argument('what', nargs='*', help='patterns or groups of them by name, patterns in the '
                   'words of docs/policy.md, recordings (default: rows)')
    p = add('trace', cmd_trace, 'print a binary trace as ftrace text, or convert it to CTF')
    p.add_argument('--ctf', metavar='DIR', help='write CTF 1.8 there instead')
    p.add_argument('file')
    p = add('compile', cmd_compile, 'compile a recording into a replay table')
    p.add_argument('-o', '--output', required=True, metavar='FILE')
    p.add_argument('file')
    return ap


def main(argv):
    words = []
    if argv[:1] == ['boot'] and '--' in argv:   # the rest is the kernel's
        at = argv.index('--')
        argv, words = argv[:at], argv[at + 1:]
    args = parser().parse_args(argv)
    args.words = words
    stop_on_signals()
    try:
        oracle.name_kernels(getattr(args, 'kernel', None))
        status = args.function(args)
        sys.stdout.flush()
        return status
    except TimedOut as e:
        say(f'quire: {e}')
        return TIMED_OUT
    except CannotRun as e:
        say(f'quire: {e}')
        return CANNOT
    except KeyboardInterrupt:
        say('quire: stopped')
        return 128 + signal.SIGINT
    except Stopped as e:
        say(f'quire: ended by {signal.Signals(e.number).name}')
        return 128 + e.number
    except BrokenPipeError:
        _no_more_output()
        return OK
    except OSError as e:
        say(f'quire: {e.filename + ": " if e.filename else ""}{(e.strerror or str(e)).lower()}')
        if not e.filename:
            _no_more_output()
        return CANNOT


def _no_more_output():
    """What is still in a buffer goes nowhere: nobody takes it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
