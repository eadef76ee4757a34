# SPDX-License-Identifier: MIT
"""The command line: what each command of ./quire does, in terms of the other tools.

Exit codes: 0 as expected, 1 a difference or a failed expectation, 2 could not run.
"""
import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import bench
import bench_q
import build
import compare
import compile_replay
import cpio
import demo
import explain
import kmem
import machines
import oracle
import packages
import qemu
import record
import trace
from arches import ARCHES, NAMES, elf_machine
from common import (CANNOT, CannotRun, DIFFERENT, OK, build_folder, is_elf,
                    parse_size, say, scratch)

EPILOG = """exit codes: 0 as expected, 1 a difference or a failed expectation, 2 could not run
machines:   host (the checking machine in software), x86_64, riscv64 (Quire in QEMU),
            linux (this kernel), linux-5.10 (a real 5.10 in QEMU)"""


# ---- run, diff -------------------------------------------------------------------------------

def _subjects(paths):
    return [machines.Subject(p) for p in paths]


def _options(args):
    return machines.Options(mem=parse_size(args.mem) if args.mem else 0, smp=args.smp, seconds=args.seconds,
                            trace_dir=args.trace or '', looks=getattr(args, 'look', None) or [])


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
    events = [f for f in args.file if kmem.is_kmem(f)]
    worst = _run_kmem(events, names) if events else OK
    args.file = [f for f in args.file if f not in events]
    return max(worst, _run_subjects(args, names)) if args.file else worst


def _check_looks(looks, subjects):
    for look in looks or []:
        if not re.match(r'\d+:.', look):
            raise CannotRun(f'run: --look {look}: wants LINE:COMMAND, as in 3:buddy')
    if looks and any(s.is_recording for s in subjects):
        raise CannotRun('run: --look names a line of a scenario; a recording has none')
    if sum(len(look) + 1 for look in looks or []) >= 2048:
        raise CannotRun('run: --look: too many for one run')


def _run_subjects(args, names):
    subjects = _subjects(args.file)
    _check_looks(args.look, subjects)
    machines.prepare(names, subjects)
    worst = OK
    for name in names:
        for subject, result in machines.execute(subjects, name, _options(args),
                                                traced=name != 'linux' or os.geteuid() == 0):
            if isinstance(result, CannotRun):
                say(f'{subject.path}: {name}: {result}')
                worst = CANNOT
                continue
            print(f'== {subject.path} on {name}: {_verdict(result)}')
            sys.stdout.write(result.output)
            if args.explain and result.trace_path:
                explain.show(result)
            elif args.trace:
                print(f'trace: {result.trace_path}')
            else:
                _print_trace(subject, result, args.all)
            if _show_problems(subject, result):
                worst = max(worst, DIFFERENT)
            worst = max(worst, min(result.status, CANNOT))
    return worst


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
    subjects = _subjects(args.file)
    machines.prepare(names, subjects)
    collected, worst, cannot = {s.path: [] for s in subjects}, OK, {}
    for name in names:
        for subject, result in machines.execute(subjects, name, _options(args)):
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


def _guest_files(pairs):
    files = {}
    for pair in pairs or []:
        host, sep, guest = pair.partition(':')
        if not sep or not guest.startswith('/'):
            raise CannotRun(f'--file {pair}: wants HOST:/GUEST')
        if not os.path.isfile(host):
            raise CannotRun(f'--file {pair}: there is no file {host}')
        files[guest] = (host, os.stat(host).st_mode & 0o777)
    return files


def _check_program(program, machine):
    if not os.path.isfile(program):
        raise CannotRun(f'{program}: no such file')
    if not is_elf(program):
        raise CannotRun(f'{program}: not an ELF program')
    arch = elf_machine(program)
    if arch != machine:
        raise CannotRun(f'{program}: is for {arch or "another machine"}, not for {machine}')


def _exec_on_oracle(args, guest, files):
    """A program on a real kernel, which a machine of the same options runs."""
    mem = parse_size(args.mem) >> 20 if args.mem else oracle.MEM
    oracle.check_machine(args.machine, mem, args.smp)
    machines.prepare([args.machine])
    job = oracle.Job('exec', [guest, *args.args], bool(args.trace), args.seconds)
    r = oracle.run_jobs([job], files, args.machine, mem, smp=args.smp)[0]
    if r.status is None:
        raise CannotRun(f'{args.machine}: {guest} did not end in {args.seconds} s')
    sys.stdout.buffer.write(r.output)
    if args.trace:
        os.makedirs(args.trace, exist_ok=True)
        path = os.path.join(args.trace, f'{os.path.basename(guest)}.{args.machine}.trace.txt')
        with open(path, 'w') as f:
            f.write(r.trace)
        say(f'trace: {path}')
    return r.status


def cmd_exec(args):
    if args.machine not in (*NAMES, 'linux-5.10'):
        raise CannotRun(f'exec: {args.machine}: wants {", ".join(NAMES)} or linux-5.10')
    if args.smp < 1:
        raise CannotRun(f'exec: --smp {args.smp}: wants at least 1')
    arch = args.machine if args.machine in NAMES else oracle.KERNELS[args.machine]['machine']
    _check_program(args.program, arch)
    guest = '/' + os.path.basename(args.program)
    files = {**_guest_files(args.file), guest: (args.program, 0o755)}
    if args.machine == 'linux-5.10':
        return _exec_on_oracle(args, guest, files)
    machines.prepare([args.machine])
    folder = args.trace or ''
    if folder:
        os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, f'{os.path.basename(guest)}.{arch}.trace') if folder else ''
    output = machines.Output(sys.stdout)
    out = qemu.run(qemu.Config(arch, guest, args.args, files, ['norandmaps'],
                               parse_size(args.mem or '128M'), args.smp, seconds=args.seconds,
                               trace_path=path, watch=output.show))
    output.show(out.log, ended=True)
    if path:
        say(f'trace: {path}')
    return out.status


def _boot_command(args, folder):
    initrd = os.path.join(folder, 'initrd')
    with open(initrd, 'wb') as f:
        f.write(cpio.build(_guest_files(args.file)))
    command = qemu.base_command(args.machine, parse_size(args.mem), args.smp)
    command += ['-chardev', 'stdio,id=c,mux=on,signal=off', '-mon', 'chardev=c',
                '-serial', 'chardev:c', '-initrd', initrd,
                '-kernel', qemu.kernel_image(args.machine)]
    if args.gdb:
        command += ['-gdb', 'tcp::1234', '-S']
        say(f'quire: waiting for gdb: gdb-multiarch {qemu.kernel_image(args.machine)} '
            "-ex 'target remote :1234'")
    words = args.args[1:] if args.args[:1] == ['--'] else args.args
    return command + (['-append', ' '.join(words)] if words else [])


def cmd_boot(args):
    machines.prepare([args.machine])
    if args.machine == 'host':
        program = os.path.join(build_folder('host'), 'user', 'quire-host-x86_64')
        return subprocess.run([program, '--monitor', '--mem', args.mem]).returncode
    folder = scratch('boot')
    try:
        say('quire: end with Ctrl-A X')
        code = subprocess.run(_boot_command(args, folder)).returncode
    except FileNotFoundError as e:
        raise CannotRun(f'{e.filename} is missing (./quire setup installs it)') from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    status = ARCHES[args.machine].ended(code)
    return CANNOT if status is None and code else status or OK


# ---- setup, test, trace ----------------------------------------------------------------------

def cmd_setup(args):
    packages.ensure('all')
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
    'campaign': [('host', ['campaign'])],
    'latency': [],
}
CAMPAIGNS = ['sweep', 'campaign', 'latency']  # long: only when they are named


def cmd_test(args):
    names = args.suite or [n for n in SUITES if n not in CAMPAIGNS]
    for n in names:
        if n not in SUITES:
            raise CannotRun(f'{n}: no such suite (there are {", ".join(SUITES)})')
    packages.ensure('test')
    total = [0, 0]
    for b in {'host', *NAMES} | {b for n in names for b, _ in SUITES[n]}:
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
    packages.ensure('test')
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
    packages.ensure('build')
    return fuzz.command(args)


def cmd_demo(args):
    packages.ensure('build')
    return demo.run(args)


# ---- bench -----------------------------------------------------------------------------------

def cmd_bench(args):
    """Rows are named as in docs/bench.md (H) and docs/performance.md (Q)."""
    packages.ensure('build')
    on = args.on.split(',')
    for name in on:
        if name not in bench_q.MACHINES:
            raise CannotRun(f'bench: {name}: wants {" or ".join(bench_q.MACHINES)}')
    libs = tuple(bench.check_peer_lib(word) for word in args.peer_lib or ())
    if args.profile:
        return bench_q.profile(args.profile, on, args.others)
    return bench.main(args.row, bench.Options(args.json, args.rounds, args.quick, libs, on,
                                              args.peer, args.no_peer))


# ---- the parser ------------------------------------------------------------------------------

def _machine_options(p, on):
    p.add_argument('--on', metavar='M,M…', default=on, help=f'machines (default: {on})')
    p.add_argument('--trace', metavar='DIR', help='keep the traces in this folder')
    _guest_options(p, None, 'as much as is needed, at least 128M')


def _guest_options(p, mem='128M', text='128M'):
    p.add_argument('--mem', default=mem, help=f'memory of the machine (default: {text})')
    p.add_argument('--smp', type=int, default=1, help='processors (default: 1)')
    p.add_argument('--seconds', type=int, default=180,
                   help='time after which a run counts as hung (default: 180)')


def parser():
    ap = argparse.ArgumentParser(
        prog='quire', description='Quire: a virtual memory manager that lifts out of its kernel.',
        epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = ap.add_subparsers(dest='name', metavar='COMMAND', required=True)

    def add(name, function, text):
        p = sub.add_parser(name, help=text, description=text[0].upper() + text[1:] + '.',
                           epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
        p.set_defaults(function=function)
        return p

    add('setup', cmd_setup, 'install what is missing (Debian packages) and build everything')
    p = add('demo', cmd_demo, 'replay a recorded program on every machine and compare the traces')
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
                   help='for each fault its way: trap, area, table levels, row')
    p.add_argument('--all', action='store_true', help='show the program\'s own faults too')
    p.add_argument('--look', action='append', metavar='LINE:COMMAND',
                   help='after the action of this line of a scenario (0: before the first), what the '
                        'monitor says to COMMAND: buddy, slab, "tree %%", "vma %%child @0" …; may be given '
                        'several times (%%TASK: a process, %% the first one; @N: page N of the arena)')
    p.add_argument('file', nargs='+')
    p = add('diff', cmd_diff, 'run scenarios or recordings on several machines and compare')
    _machine_options(p, ','.join(machines.QUIRES))
    p.add_argument('file', nargs='+')
    p = add('ask', cmd_ask, 'fill in what scenarios expect with what a real kernel answers')
    p.add_argument('--on', metavar='M', default='linux-5.10',
                   help='the machine that is asked (default: linux-5.10)')
    p.add_argument('--check', action='store_true', help='only tell which files would change')
    p.add_argument('file', nargs='+')
    p = add('fuzz', cmd_fuzz, 'compare machines over random scenarios, in bulk')
    p.add_argument('--seeds', metavar='FIRST:END', default='0:300', help='default: 0:300')
    p.add_argument('--on', metavar='M,M…', default='host,linux-5.10',
                   help='machines (default: host,linux-5.10)')
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
    _guest_options(p, None, '128M; 1500M on linux-5.10, which wants at least 64M')
    p.add_argument('--file', action='append', metavar='HOST:GUEST', help='put a file into the guest')
    p.add_argument('--trace', metavar='DIR', help='keep the trace in this folder')
    p.add_argument('machine', help=', '.join(NAMES) + ' or linux-5.10')
    p.add_argument('program')
    p.add_argument('args', nargs=argparse.REMAINDER)
    p = add('boot', cmd_boot, 'boot a machine with the monitor on its console')
    _guest_options(p)
    p.add_argument('--gdb', action='store_true', help='wait for a gdb on port 1234')
    p.add_argument('--file', action='append', metavar='HOST:GUEST', help='put a file into the guest')
    p.add_argument('machine', choices=[*NAMES, 'host'])
    p.add_argument('args', nargs=argparse.REMAINDER, metavar='-- WORDS of the kernel command line')
    p = add('bench', cmd_bench, 'measure beside other memory managers: real Linux, allocators')
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
    p.add_argument('--rounds', type=int, default=0, help='H: rounds of each workload')
    p.add_argument('--quick', action='store_true',
                   help='H: only that everything runs; the figures mean nothing')
    p.add_argument('--peer-lib', action='append', metavar='NAME=FILE.so',
                   help='H: a page allocator to stand beside us, may be given several times: a shared '
                        'object with the functions of bench/peer.h (docs/bench.md)')
    p.add_argument('row', nargs='*', help='rows, or a letter for all of its rows: H7 Q0 … H Q (default: all)')
    p = add('trace', cmd_trace, 'print a binary trace as ftrace text, or convert it to CTF')
    p.add_argument('--ctf', metavar='DIR', help='write CTF 1.8 there instead')
    p.add_argument('file')
    p = add('compile', cmd_compile, 'compile a recording into a replay table')
    p.add_argument('-o', '--output', required=True, metavar='FILE')
    p.add_argument('file')
    return ap


def main(argv):
    ap = parser()
    args = ap.parse_args(argv)
    try:
        return args.function(args)
    except CannotRun as e:
        say(f'quire: {e}')
        return CANNOT
    except KeyboardInterrupt:
        say('quire: stopped')
        return 128 + signal.SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return OK
