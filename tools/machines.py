# SPDX-License-Identifier: MIT
"""The machines that a scenario or a recording can run on, behind one function: execute().

host is the fake machine, x86_64 and riscv64 are Quire's kernels in QEMU, linux is this kernel,
linux-5.10 a real 5.10 in QEMU. Every one gives the same Result: how the program ended, what it
printed, the neutral events of its trace.
"""
import atexit
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field, replace

import build
import compile_replay
import disks
import oracle
import qemu
import recording
import trace
from arches import NAMES
from common import (CannotRun, Malformed, bound_to_us, build_folder, lock_folder, parse_size,
                    scratch)

QUIRES = ['host', *NAMES]
MACHINES = [*QUIRES, 'linux', 'linux-5.10']
REPLAY_RANGE = (compile_replay.HOLE[1], compile_replay.USER_END)
TRACEFS = '/sys/kernel/tracing'


@dataclass
class Options:
    mem: int = 0                    # bytes; 0: as much as the subject wants
    smp: int = 1
    seconds: int = 180
    trace_dir: str = ''
    full: bool = False              # replays print maps and present pages in full
    disks: list = field(default_factory=list)   # disks.Disk
    swap: int = 0                   # bytes; 0: no swap
    words: list = field(default_factory=list)
    looks: list = field(default_factory=list)   # LINE:COMMAND, of scenarios

    def runner(self):
        """Options for the scenario runner."""
        return [word for look in self.looks for word in ('--look', look)]


@dataclass
class Result:
    machine: str
    status: int = None
    output: str = ''
    events: list = field(default_factory=list)
    trace_path: str = ''
    mismatches: list = field(default_factory=list)
    table_differences: list = field(default_factory=list)
    dumps: int = 0
    log: str = ''


def _disk_of(path):
    """`# Disk: SIZE` in a scenario's head: /dev/vda is a disk with mkswap's header, not swapped to yet."""
    with open(path, errors='replace') as f:
        for line in f:
            m = re.match(r'# Disk: (\S+)\s*$', line)
            if m:
                return parse_size(m.group(1))
            if not line.startswith('#') and line.strip():
                break
    return 0


class Subject:
    """What is to run: a scenario or a recording. Opening it checks it."""
    count = 0

    def __init__(self, path):
        self.path = path
        self.name = re.sub(r'\.(scn|rec|rec\.xz)$', '', os.path.basename(path))
        self.is_recording = recording.is_recording(path)
        self.rec = self.table = None
        self.disk = 0                   # bytes of the disk that a scenario wants, 0: none
        if self.is_recording:
            self.rec = recording.read(path)
            self.table = compile_replay.compile_recording(self.rec)
            self.ranges = [REPLAY_RANGE]
        else:
            self.ranges = [trace.ARENA]
            self.disk = _disk_of(path)
            Subject.count += 1          # short and unique: a marker in the trace holds 40 bytes
            self.guest_path = f'/s/{Subject.count}.scn'

    def memory(self, opt):
        """Bytes for a machine that runs this: asked for, or enough for every recorded fault to
        take a page, for the files, and for the replayer's own images."""
        if opt.mem:
            return opt.mem
        if not self.is_recording:
            return 128 << 20
        pages = len(self.table.expected) + sum(
            last - first + 1 for f in self.rec.files.values() for first, last in f.cached)
        images = (len(self.table.data) + (512 << 10)) * len(self.table.heaps)
        return max(128 << 20, (pages * 4096 + 2 * images + (96 << 20)) >> 20 << 20)

    def programs(self, machine, full=False):
        """Guest files and argv for a machine that runs ELF programs."""
        native = machine.startswith('linux')
        folder = os.path.join(build_folder('host' if native else machine), 'user')
        suffix = '-native' if native else ''
        if not self.is_recording:
            return ({'/runner': os.path.join(folder, 'runner' + suffix),
                     self.guest_path: (self.path, 0o644)},
                    ['/runner', '--machine', machine if native else 'quire', self.guest_path])
        with open(os.path.join(folder, 'replayer' + suffix), 'rb') as f:
            base = f.read()
        images = {f'/exec-{i}': compile_replay.build_elf(base, self.table.data, heap)
                  for i, heap in enumerate(self.table.heaps)}
        return images, ['/exec-0'] + (['--full'] if full else [])

    def shown(self, output):
        """The program's words with the host's name of the file."""
        return output if self.is_recording else output.replace(self.guest_path, self.path)


_traces = {}         # of this process: a folder that was asked for -> its lock; '': our own, and its path


@atexit.register
def _drop_traces():
    if '' in _traces:
        shutil.rmtree(_traces.pop(''), ignore_errors=True)


def _trace_path(subject, machine, opt, suffix='trace'):
    """Where this run's trace goes. A folder that was asked for is ours alone until we end; nothing of
    an earlier run stays under the name."""
    folder = opt.trace_dir
    if not folder:
        folder = _traces.setdefault('', '') or scratch('traces')
        _traces[''] = folder
    elif folder not in _traces:
        _traces[folder] = lock_folder(folder)
    path = os.path.join(folder, f'{subject.name}.{machine}.{suffix}')
    if os.path.exists(path):
        os.remove(path)
    return path


def _from_binary(subject, result):
    """Neutral events of a binary trace; only a program that ran to its end has them."""
    result.events, result.mismatches, _ = trace.neutral_from_binary(
        result.trace_path, subject.ranges, kernel=True)


def program_output(log):
    """A guest's log without the firmware's banner and the kernel's own lines. A kernel line that
    had to end a program's line first is preceded by a record separator."""
    log = re.sub('\x1e\n(quire: [^\n]*(\n|$))+', '', log)
    first = re.search(r'^quire: ', log, re.M)
    return re.sub(r'^quire: [^\n]*(\n|$)', '', log[first.start() if first else 0:], flags=re.M)


def _check_status(machine, status, words):
    """Runner and replayer end with 0, 1 or 2; anything else is an end before their time."""
    if not 0 <= status <= 2:
        raise CannotRun(f'{machine}: ended with status {status}; its last words:\n' +
                        '\n'.join('    ' + s for s in words.splitlines()[-25:]))


# ---- the machines ----------------------------------------------------------------------------

def _on_host(subject, opt):
    program = os.path.join(build_folder('host'), 'user', 'quire-host-x86_64')
    if not os.path.exists(program):
        raise CannotRun(f'host: {program} was not built')
    result = Result('host', trace_path=_trace_path(subject, 'host', opt))
    argv = [program, '--trace', result.trace_path, '--mem', f'{subject.memory(opt) >> 20}M']
    folder = scratch('host')
    try:
        found, words = disks.with_swap(opt.disks, opt.swap, folder)
        argv += [a for d in found for a in ('--disk', d.path + (',ro' if d.read_only else ''))]
        argv += [a for w in (*words, *opt.words) for a in ('--word', w)]
        if subject.is_recording:
            table = os.path.join(folder, 'table')
            with open(table, 'wb') as f:
                f.write(subject.table.data)
            argv += (['--full'] if opt.full else []) + [table]
        else:
            argv += [*opt.runner(), subject.path]
        try:
            r = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, timeout=opt.seconds or None,
                               preexec_fn=bound_to_us())
        except subprocess.TimeoutExpired:
            raise CannotRun(f'host: no end after {opt.seconds} s') from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = r.stdout.decode(errors='replace')
    _check_status('host', r.returncode, text)
    result.log, result.output, result.status = text, program_output(text), r.returncode
    if r.returncode != 2:
        _from_binary(subject, result)
    return result


def _on_qemu(subject, machine, opt):
    files, argv = subject.programs(machine, opt.full)
    argv[-1:-1] = opt.runner()
    result = Result(machine, trace_path=_trace_path(subject, machine, opt))
    out = qemu.run(qemu.Config(machine, argv[0], argv[1:], files,
                               ['dump_tables=1', 'norandmaps', *opt.words],
                               subject.memory(opt), opt.smp, seconds=opt.seconds,
                               trace_path=result.trace_path, disks=opt.disks, swap=opt.swap))
    result.log, result.status = out.log, out.status
    result.output = subject.shown(program_output(out.log))
    result.dumps, result.table_differences = out.dumps, out.table_differences
    _check_status(machine, out.status, out.log)
    if result.status != 2:
        _from_binary(subject, result)
    return result


def _on_qemu_together(subjects, machine, opt):
    """Several scenarios in one boot. None if anything was not as expected: then it has to be seen
    which one it was, each in a machine of its own."""
    files, paths = {}, []
    for s in subjects:
        f, argv = s.programs(machine)
        files.update(f)
        paths.append(argv[-1])
    path = _trace_path(subjects[0], machine, opt, 'and-more.trace')
    try:
        out = qemu.run(qemu.Config(machine, argv[0], [*argv[1:-1], *paths], files,
                                   ['dump_tables=1', 'norandmaps', *opt.words],
                                   subjects[0].memory(opt), opt.smp,
                                   seconds=opt.seconds and opt.seconds + 10 * len(paths), trace_path=path,
                                   disks=opt.disks, swap=opt.swap))
        if out.status or out.table_differences:
            return None
        records, results = list(trace.read_records(path)), []
        for s, guest in zip(subjects, paths):
            r = Result(machine, 0, trace_path=path, log=out.log,
                       dumps=out.dumps if not results else 0)
            r.events, r.mismatches, _ = trace.neutral_from_binary(path, s.ranges, only=guest,
                                                                  records=records)
            if r.mismatches:
                return None
            results.append(r)
        texts = _split_output(program_output(out.log), paths)
        for s, r, text in zip(subjects, results, texts):
            r.output = s.shown(text)
        return results
    except CannotRun:
        return None


def _split_output(text, paths):
    """The runner's words for each file: each begins with a line that is its path."""
    parts, lines = {p: [] for p in paths}, None
    for line in text.split('\n'):
        if line in parts:
            lines = parts[line]
        if lines is not None:
            lines.append(line)
    return ['\n'.join(parts[p]) + '\n' for p in paths]


def _on_oracle(subjects, machine, opt):
    """All subjects in one boot: a real kernel takes seconds to start."""
    files, jobs = {}, []
    if any(w.startswith('zram=') for w in opt.words):
        raise CannotRun(f'{machine}: has no zram built in')
    for i, s in enumerate(subjects):
        f, argv = s.programs(machine, opt.full)
        if s.is_recording:              # each replay's images in a folder of its own
            f = {f'/j{i}{k}': v for k, v in f.items()}
            argv = [f'/j{i}{argv[0]}', *argv[1:]]
        files.update(f)
        jobs.append(oracle.Job(f'{i}', argv, True, opt.seconds))
    out = []
    mem = max(oracle.MEM, *((s.memory(opt) >> 20) + 512 for s in subjects))
    for s, r in zip(subjects, oracle.run_jobs(jobs, files, machine, mem, words=opt.words,
                                              disks=opt.disks, swap=opt.swap)):
        if r.status is None:
            raise CannotRun(f'{machine}: {s.path} did not end; it printed:\n' +
                            r.output.decode(errors='replace')[-2000:])
        _check_status(machine, r.status, r.output.decode(errors='replace'))
        result = Result(machine, r.status, s.shown(r.output.decode(errors='replace')))
        result.trace_path = _trace_path(s, machine, opt, 'trace.txt')
        with open(result.trace_path, 'w') as f:
            f.write(r.trace)
        if r.status != 2:
            result.events = trace.neutral_from_text(r.trace, s.ranges, True, True, machine)
        out.append(result)
    return out


class NativeTracer:
    """This kernel's own tracer, for one program; everything is put back afterwards."""

    def __init__(self):
        if os.geteuid() or not os.path.isdir(TRACEFS):
            raise CannotRun('linux: its tracer is root\'s: no trace can be had')
        if not os.path.isdir(TRACEFS + '/events'):
            subprocess.run(['mount', '-t', 'tracefs', 'tracefs', TRACEFS],
                           stderr=subprocess.DEVNULL)
        if not os.path.isdir(TRACEFS + '/events/exceptions'):
            raise CannotRun('linux: this kernel shows no page fault events')
        self.saved = []

    def set(self, name, value):
        with open(os.path.join(TRACEFS, name), 'w') as f:
            f.write(value)

    def keep(self, name, value):
        with open(os.path.join(TRACEFS, name)) as f:
            old = f.read().split()
        self.saved.append((name, old[0] if old and old[0].isdigit() else ''))
        self.set(name, value)

    def run(self, argv, cwd, seconds):
        try:
            self.keep('buffer_size_kb', '65536')
            self.keep('options/event-fork', '1')
            self.keep('events/exceptions/enable', '1')
            self.set('trace', '')

            bound = bound_to_us()

            def enter():
                bound()
                self.set('set_event_pid', str(os.getpid()))
            r = subprocess.run(argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, timeout=seconds, preexec_fn=enter)
            with open(os.path.join(TRACEFS, 'trace'), errors='replace') as f:
                return r, f.read()
        except subprocess.TimeoutExpired:
            raise CannotRun(f'linux: no end after {seconds} s') from None
        finally:
            for name, value in reversed(self.saved):
                self.set(name, value)
            with open(os.path.join(TRACEFS, 'set_event_pid'), 'w'):
                pass


def _on_linux(subject, opt, traced):
    if opt.disks or opt.swap or opt.words:
        raise CannotRun('linux: this kernel gets no disks and no swap (linux-5.10 does)')
    files, argv = subject.programs('linux', opt.full)
    folder, data = scratch('linux'), scratch('data', big=True)
    try:
        for guest, what in files.items():
            path = os.path.join(folder, os.path.basename(guest))
            if isinstance(what, bytes):
                with open(path, 'wb') as f:
                    f.write(what)
                os.chmod(path, 0o755)
        if subject.is_recording:
            argv = [os.path.join(folder, 'exec-0'), '--data', data, *argv[1:]]
        else:
            argv = [files['/runner'], *argv[1:-1], os.path.abspath(subject.path)]
        argv = ['setarch', '-R', *argv]
        if traced:
            r, text = NativeTracer().run(argv, folder, opt.seconds or None)
        else:
            r, text = subprocess.run(argv, cwd=folder, stdin=subprocess.DEVNULL,
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                     timeout=opt.seconds or None, preexec_fn=bound_to_us()), ''
    except subprocess.TimeoutExpired:
        raise CannotRun(f'linux: no end after {opt.seconds} s') from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(data, ignore_errors=True)
    out = r.stdout.decode(errors='replace').replace(os.path.abspath(subject.path), subject.path)
    _check_status('linux', r.returncode, out)
    result = Result('linux', r.returncode, out)
    if traced and r.returncode != 2:
        result.trace_path = _trace_path(subject, 'linux', opt, 'trace.txt')
        with open(result.trace_path, 'w') as f:
            f.write(text)
        result.events = trace.neutral_from_text(text, subject.ranges, True, True, 'linux')
    return result


# ---- from outside ----------------------------------------------------------------------------

def check(names):
    """A list of machines from 'a,b,c', or CannotRun."""
    out = []
    for n in names.split(','):
        if n not in MACHINES:
            raise CannotRun(f'{n}: no such machine (there are {", ".join(MACHINES)})')
        if n not in out:
            out.append(n)
    return out


def execute(subjects, machine, opt, traced=True):
    """Runs the subjects on one machine and yields (subject, Result or CannotRun). Those that want a disk
    come last and share one, unless the options name disks."""
    size = 0 if opt.disks else max((s.disk for s in subjects), default=0)
    yield from _execute([s for s in subjects if not size or not s.disk], machine, opt, traced)
    if size:
        folder = scratch('disk')
        try:
            yield from _execute([s for s in subjects if s.disk], machine,
                                replace(opt, disks=[disks.swap_image(folder, size)]), traced)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _execute(subjects, machine, opt, traced):
    if not subjects:
        return
    if machine == 'linux-5.10':
        try:
            yield from zip(subjects, _on_oracle(subjects, machine, opt))
        except CannotRun as e:
            yield from ((s, e) for s in subjects)
        return
    scenarios = [s for s in subjects if not s.is_recording]
    if machine in NAMES and len(scenarios) > 1:
        results = _on_qemu_together(scenarios, machine, opt)
        if results:
            yield from zip(scenarios, results)
            subjects = [s for s in subjects if s.is_recording]
    for s in subjects:
        try:
            if machine == 'host':
                yield s, _on_host(s, opt)
            elif machine == 'linux':
                yield s, _on_linux(s, opt, traced)
            else:
                yield s, _on_qemu(s, machine, opt)
        except (Malformed, CannotRun) as e:
            yield s, e
        except OSError as e:
            yield s, CannotRun(f'{machine}: {e}')


def prepare(machines, subjects=()):
    """Builds what the machines need and reads the scenarios: Malformed if one cannot be run,
    before anything is."""
    build.build_for([*machines, 'host'])
    scenarios = [s.path for s in subjects if not s.is_recording]
    if not scenarios:
        return
    wrong = malformed(scenarios)
    if wrong:
        raise Malformed('nothing was run:\n' + wrong)


def malformed(paths):
    """What is wrong with scenarios, as FILE:LINE:COLUMN: reason; '': nothing."""
    runner = os.path.join(build_folder('host'), 'user', 'runner-native')
    r = subprocess.run([runner, '--check', '--machine', 'check', *paths],
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return r.stdout.decode(errors='replace').rstrip() if r.returncode else ''
