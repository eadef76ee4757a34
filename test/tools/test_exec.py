# SPDX-License-Identifier: MIT
"""./quire exec and boot from outside, over an emulator that is a script (fake_qemu.py): what goes in and out,
how they end, what they leave. TAP on standard output."""
import ast
import glob
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(TOP, 'tools'), HERE]
sys.dont_write_bytecode = True

import common  # noqa: E402
import hostio  # noqa: E402
import machines  # noqa: E402
import oracle  # noqa: E402
import program  # noqa: E402
import qemu  # noqa: E402
import tap  # noqa: E402

# The command, without building anything.
COMMAND = [sys.executable, '-c', f'import sys; sys.path.insert(0, {os.path.join(TOP, "tools")!r})\n'
           'sys.dont_write_bytecode = True\nimport machines, packages, build, commands\n'
           'machines.prepare = build.build_for = build.build_kernel = lambda *a, **k: None\n'
           'packages.ensure = lambda *a: None\nsys.exit(commands.main(sys.argv[1:]))']
ELF = b'\x7fELF\2\1\1' + bytes(9) + struct.pack('<HH', 2, 62) + bytes(44)


def not_ignored():
    """In a child: as a shell starts it, whatever we were started under (nohup, another shell's &)."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix='test-exec-')
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.program = self.path('a program', ELF)
        os.makedirs(self.path('build/kernel'))
        os.makedirs(self.path('tmp'))
        self.path('build/kernel/quire.elf', ELF)
        os.symlink(os.path.join(HERE, 'fake_qemu.py'), self.path('qemu-system-x86_64'))
        self.env = {**os.environ, 'PATH': self.folder + ':' + os.environ['PATH'],
                    'QUIRE_BUILD_X86_64': self.path('build'), 'TMPDIR': self.path('tmp')}

    def path(self, name, content=None):
        path = os.path.join(self.folder, name)
        if content is not None:
            with open(path, 'wb') as f:
                f.write(content)
        return path

    def start(self, *words, fake='echo', **kw):
        env = {**self.env, 'FAKE': fake, **{k: str(v) for k, v in kw.pop('env', {}).items()}}
        kw.setdefault('preexec_fn', not_ignored)
        return subprocess.Popen([*COMMAND, *words], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                stdin=kw.pop('stdin', subprocess.PIPE), cwd=self.folder, **kw)

    def run_it(self, *words, fake='echo', given=b'', **kw):
        """(exit status, standard output, standard error)"""
        p = self.start(*words, fake=fake, **kw)
        out, err = p.communicate(given, timeout=60)
        return p.returncode, out, err.decode()

    def exec(self, *words, **kw):
        return self.run_it('exec', *words, 'x86_64', self.program, **kw)


class Pipe(Case):
    def test_bytes_go_through_unchanged(self):
        data = bytes(range(256)) * 1500 + b'\r\n\x1e\nquire: x\n\xff'
        self.assertEqual(self.exec(given=data), (0, data, 'to stderr\n'))

    def test_the_exit_status_is_the_programs(self):
        for status in (1, 97, 137, 139, 255):
            self.assertEqual(self.exec(env={'FAKE_STATUS': status})[0], status)

    def test_no_standard_input_is_an_empty_one(self):
        self.assertEqual(self.exec(stdin=None, preexec_fn=lambda: os.close(0))[:2], (0, b''))

    def test_a_program_that_speaks_as_the_kernel_is_not_taken_for_it(self):
        text = b'quire: kernel panic test\nquire: PANIC: x\nquire: the first program ended with status 9\n'
        self.assertEqual(self.exec(given=text)[:2], (0, text))

    def test_what_the_kernel_says_to_people_comes_on_standard_error_once(self):
        log = ('quire: x[2]: killed by signal 11 (SIGSEGV), code 1 SEGV_MAPERR\nquire: free pages before=1\n'
               'quire: system call 5 (x) is not built\nno kernel line: not run: x\n')
        status, out, err = self.exec(env={'FAKE_LOG': log, 'FAKE_STATUS': 139})
        self.assertEqual((status, out), (139, b''))
        self.assertEqual(err.splitlines(), ['to stderr', log.splitlines()[0], log.splitlines()[2]])

    def test_the_kernels_whole_log_is_kept_where_it_is_wanted(self):
        self.exec('--kernel-log', self.path('log'))
        with open(self.path('log')) as f:
            self.assertIn('pages free', f.read())

    def test_who_stops_reading_ends_the_program(self):
        p = self.start('exec', 'x86_64', self.program, fake='full')
        self.assertEqual(p.stdout.readline(), b'y\n')
        p.stdout.close()
        self.assertEqual(p.stderr.read(), b'')      # as in a shell: nothing to say
        self.assertEqual(p.wait(60), 141)

    def test_no_room_for_the_output_is_said(self):
        with open('/dev/full', 'wb') as full:
            env = {**self.env, 'FAKE': 'full'}
            r = subprocess.run([*COMMAND, 'exec', 'x86_64', self.program], env=env, stdin=subprocess.DEVNULL,
                               stdout=full, stderr=subprocess.PIPE, timeout=60)
        self.assertEqual((r.returncode, r.stderr), (2, b'quire: standard output: no space left on device\n'))

    def test_the_kernels_end_is_not_the_programs(self):
        status, out, err = self.exec(fake='panic')
        self.assertEqual((status, out), (2, b''))
        self.assertEqual(err, 'quire: PANIC: it is broken\nquire: x86_64: the kernel\'s end, not the '
                         'program\'s\n')

    def test_an_emulator_that_says_nothing(self):
        self.assertEqual(self.exec(fake='silent')[0], 2)

    def test_time_that_is_over_is_named(self):
        status, _, err = self.exec('--seconds', '1', fake='hang')
        self.assertEqual(status, 124)
        self.assertEqual(err, 'quire: x86_64: the program did not end in 1 s\n')


class Signals(Case):
    def ready(self, *words, fake='hang'):
        p = self.start('exec', '--seconds', '0', *words, 'x86_64', self.program, fake=fake,
                       env={'FAKE_PID': self.path('pid')})
        self.assertEqual(p.stdout.readline(), b'ready\n')
        with open(self.path('pid')) as f:
            return p, int(f.read())

    def gone(self, pid):
        for _ in range(200):
            if not os.path.exists(f'/proc/{pid}'):
                return True
            with open(f'/proc/{pid}/stat') as f:
                if f.read().rpartition(')')[2].split()[0] == 'Z':   # whose parent is not there to look
                    return True
            time.sleep(0.02)
        return False

    def left(self):
        return os.listdir(self.path('tmp')) + glob.glob('/dev/shm/quire-qemu-*')

    def test_control_c_goes_to_the_program(self):
        p, _ = self.ready(fake='signal')
        p.send_signal(signal.SIGINT)
        self.assertEqual((p.wait(60), p.stderr.read()), (130, b''))

    def test_who_insists_ends_the_machine(self):
        p, pid = self.ready()
        for _ in range(3):
            p.send_signal(signal.SIGINT)
            time.sleep(0.1)
        self.assertIn(p.wait(60), (130, -2))    # -2: the last one comes when all is over
        self.assertTrue(self.gone(pid))

    def test_nothing_stays_behind(self):
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            p, pid = self.ready()
            p.send_signal(number)
            self.assertEqual(p.wait(60), 128 + number)
            self.assertTrue(self.gone(pid), number)
            self.assertEqual(self.left(), [])
            os.remove(self.path('pid'))

    def test_a_terminal_that_closes(self):
        """A session whose terminal goes away: what runs in it is told, and puts itself in order."""
        for words in (['exec', '--tty', 'x86_64', self.program], ['exec', '--seconds', '0', 'x86_64', self.program],
                      ['boot', 'x86_64']):
            pid, terminal = pty.fork()
            if not pid:
                not_ignored()
                os.chdir(self.folder)
                os.execvpe(COMMAND[0], [*COMMAND, *words], {**self.env, 'FAKE': 'asleep' if words[0] == 'boot' else 'hang',
                                                                  'FAKE_PID': self.path('pid')})
            for _ in range(1500):
                if os.path.exists(self.path('pid')):
                    break
                time.sleep(0.02)
            time.sleep(0.2)
            with open(self.path('pid')) as f:
                machine = int(f.read())
            os.close(terminal)
            for _ in range(1500):
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    break
                time.sleep(0.02)
            else:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            self.assertTrue(done, words)
            self.assertEqual(os.waitstatus_to_exitcode(status), 128 + signal.SIGHUP, words)
            self.assertTrue(self.gone(machine), words)
            self.assertEqual(self.left(), [])
            os.remove(self.path('pid'))

    def test_who_is_killed_leaves_no_process_and_no_memory(self):
        p, pid = self.ready()
        p.kill()
        p.wait(60)
        self.assertTrue(self.gone(pid))
        self.assertEqual(glob.glob('/dev/shm/quire-qemu-*'), [])
        for name in self.left():                    # what it could not remove the next one does
            os.utime(os.path.join(self.path('tmp'), name), (0, 0))
        self.assertEqual(len(self.left()), 1)
        self.exec()
        self.assertEqual(self.left(), [])


class Given(Case):
    def args(self, *words):
        parser = __import__('commands').parser()
        return parser.parse_args(['exec', *words, 'x86_64', self.program])

    def test_arguments_and_environment_of_any_kind(self):
        words = ['/a program', '', 'a b', 'q"\\', 'line\nend', '\udcff', 'x' * 131071]
        run = qemu.Run(qemu.Config('x86_64', '/a program', argv=words, environment=['A=b c']))
        self.addCleanup(run.close)
        data = run.arguments()[qemu.ARGUMENTS][0]
        self.assertEqual(data.split(b'\0'), [os.fsencode(w) for w in
                                             ['/a program', str(len(words)), *words, 'A=b c', '']])
        self.assertIn('args=' + qemu.ARGUMENTS, run.command()[-1])

    def test_variables(self):
        os.environ['QUIRE_TEST_SET'] = 'here'
        self.addCleanup(os.environ.pop, 'QUIRE_TEST_SET')
        env = program.environment(['A=1', 'HOME=/x', 'QUIRE_TEST_SET', 'E='])
        self.assertIn('HOME=/x', env)
        self.assertEqual(env[-3:], ['A=1', 'QUIRE_TEST_SET=here', 'E='])

    def test_a_folder_with_all_that_is_in_it(self):
        os.makedirs(self.path('d/sub dir/empty'))
        self.path('d/sub dir/f', b'x')
        os.chmod(self.path('d/sub dir/f'), 0o750)
        os.symlink('sub dir/f', self.path('d/link'))
        files, links = program.guest_files(self.args('--dir', self.path('d') + ':/in', '--file',
                                                     self.path('d/sub dir/f') + ':/g'))
        self.assertEqual(files['/in/sub dir/f'], (self.path('d/sub dir/f'), 0o750))
        self.assertIsNone(files['/in/sub dir/empty'])
        self.assertEqual((links, files['/g'][1]), ({'/in/link': 'sub dir/f'}, 0o750))

    def test_jobs_of_a_real_kernel_have_the_same_words(self):
        job = oracle.Job('exec', ['a', 'line\nend'], False, 0, path='/p', environment=['E=x y'],
                         streams=hostio.Streams())
        self.assertEqual(oracle._job_list([job], [], []), b'job exec 0 0 1\npath 2\n/p\narg 1\na\n'
                         b'arg 8\nline\nend\nenv 5\nE=x y\nend\n')


class Boot(Case):
    def boot(self, *words, **kw):
        return self.run_it('boot', *words, fake='console', **kw)

    def test_the_status_is_the_last_that_the_kernel_says(self):
        for status in (0, 5, 137, 139):
            r = self.boot('x86_64', given=b'hello\n', env={'FAKE_STATUS': status})
            self.assertEqual(r[0], status)
            self.assertIn(b'hello\n', r[1])

    def test_options_stand_where_one_likes(self):
        self.assertEqual(self.boot('x86_64', '--mem', '64M', '--smp', '1', '--', 'verbose', given=b'\n')[0], 0)

    def test_time_that_is_over_is_named(self):
        r, w = os.pipe()
        self.addCleanup(os.close, w)
        status, _, err = self.boot('x86_64', '--seconds', '1', stdin=r)
        self.assertEqual((status, err), (124, 'quire: boot: x86_64 did not end in 1 s\n'))

    def test_words_that_nobody_knows(self):
        self.assertEqual(self.boot('x86_64', 'verbose')[0], 2)
        status, _, err = self.boot('x86_64', '--', 'verbos')
        self.assertEqual(status, 2)
        self.assertIn('verbos: no word of the kernel command line', err)
        self.assertEqual(self.boot('x86_64', '--', 'init=/x', '--', 'anything', given=b'\n')[0], 0)


class Sharing(Case):
    def test_a_folder_is_one_commands_at_a_time(self):
        held = common.lock_folder(self.path('traces'))
        p = self.start('exec', '--trace', self.path('traces'), 'x86_64', self.program, stdin=subprocess.DEVNULL)
        self.assertIn(b'waiting for another ./quire that uses', p.stderr.readline())
        held.close()
        p.communicate(timeout=60)
        self.assertEqual(p.returncode, 0)

    def test_a_stale_trace_goes(self):
        path = machines._trace_path(type('S', (), {'name': 'x'}), 'host',
                                    machines.Options(trace_dir=self.folder))
        with open(path, 'w') as f:
            f.write('old')
        again = machines._trace_path(type('S', (), {'name': 'x'}), 'host',
                                     machines.Options(trace_dir=self.folder))
        self.assertEqual((path, os.path.exists(again)), (again, False))

    def test_traces_that_nobody_wants_to_keep_lie_apart(self):
        path = machines._trace_path(type('S', (), {'name': 'x'}), 'host', machines.Options())
        self.assertNotIn(os.path.join(TOP, 'build'), path)


class Wrong(Case):
    """What users get wrong: each has its message and status 2, and none is a traceback."""
    USES = [
        ('', 'COMMAND'), ('nope', 'invalid choice'), ('trace nope', 'nope: no such file'),
        ('trace {dir}', 'is a directory'), ('trace {text}', 'not a trace'), ('trace {empty}', 'not a trace'),
        ('trace {trace9}', 'is unknown here'), ('trace {cut}', 'cut short'),
        ('trace --ctf /proc/x {cut}', '/proc/x: no such file'),
        ('run', 'arguments are required'), ('run nope', 'no such file'), ('run {dir}', 'is a directory'),
        ('run {xz}', 'cannot be read'), ('run {rec9}', 'is unknown here'),
        ('run --on mars {text}', 'no such machine'), ('run --mem x {text}', 'not a size'),
        ('run --mem -5 {text}', 'not a size'), ('run --mem 1e400G {text}', 'not a size'),
        ('run --smp 0 {text}', 'at least 1'), ('run --smp x {text}', 'invalid int'),
        ('run --seconds -1 {text}', '--seconds -1'), ('run --disk nope {text}', 'no such file'),
        ('run --look x {text}', 'LINE:COMMAND'), ('diff --on host {text}', 'at least two'),
        ('exec', 'arguments are required'), ('exec mars {elf}', 'wants x86_64'),
        ('exec x86_64 nope', 'nope: no such file'), ('exec x86_64 {dir}', 'is a folder'),
        ('exec x86_64 {text}', 'not an ELF'), ('exec riscv64 {elf}', 'is for x86_64, not for riscv64'),
        ('exec --file a x86_64 {elf}', 'wants HOST:/GUEST'), ('exec --file nope:/x x86_64 {elf}', 'no such file'),
        ('exec --file {dir}:/x x86_64 {elf}', '--dir takes one'), ('exec --dir nope:/x x86_64 {elf}', 'no folder'),
        ('exec --env =x x86_64 {elf}', 'wants NAME=VALUE'), ('exec --env QUIRE_NOT_SET x86_64 {elf}', 'not set here'),
        ('exec --mem 0 x86_64 {elf}', 'not a size'), ('exec --smp 0 x86_64 {elf}', 'at least 1'),
        ('exec --seconds -1 x86_64 {elf}', '--seconds -1'), ('exec --trace /proc/x x86_64 {elf}', 'cannot be written'),
        ('exec --mem 1M linux-5.10 {elf}', 'at least 64M'), ('boot', 'arguments are required'),
        ('boot mars', 'invalid choice'), ('boot x86_64 foo', 'unrecognized'), ('boot x86_64 -- foo', 'foo: no word'),
        ('boot x86_64 --seconds x', 'invalid int'), ('boot host --gdb', '--gdb'),
        ('compile -o {folder}/o nope', 'no such file'), ('compile -o {folder}/o {text}', 'not a recording'),
        ('record -o {folder}/o', 'no command given'), ('fuzz --seeds x', 'FIRST:END'), ('fuzz --on mars', 'mars'),
        ('simulate nope', 'no such pattern'), ('bench nope', 'no such row'), ('test nope', 'no such suite'),
    ]

    def test_each_has_its_message(self):
        files = {'text': b'hello\n', 'empty': b'', 'trace9': b'quire-trace 9\n', 'elf': ELF,
                 'cut': b'quire-trace 1\n'.ljust(64, b'\0') + b'x' * 30, 'xz': b'\xfd7zXZ\0junk',
                 'rec9': b'quire-recording 9\n'}
        names = {n: self.path(n + ('.rec.xz' if n == 'xz' else ''), c) for n, c in files.items()}
        names.update(dir=self.path('tmp'), folder=self.folder)
        code = ('import io, contextlib, traceback\nfor line in sys.stdin:\n'
                '    err = io.StringIO()\n'
                '    try:\n'
                '        with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):\n'
                '            status = commands.main(line.split())\n'
                '    except SystemExit as e:\n        status = e.code\n'
                '    except BaseException:\n        status = traceback.format_exc()\n'
                '    print(repr((status, err.getvalue())), flush=True)\n')
        command = [*COMMAND[:2], COMMAND[2].replace('sys.exit(commands.main(sys.argv[1:]))', code)]
        lines = ''.join(use.format(**names) + '\n' for use, _ in self.USES)
        r = subprocess.run(command, input=lines, env=self.env, stdout=subprocess.PIPE, text=True, timeout=100,
                           cwd=self.folder)
        said = [ast.literal_eval(line) for line in r.stdout.splitlines()]
        self.assertEqual(len(said), len(self.USES))
        for (use, why), (status, err) in zip(self.USES, said):
            with self.subTest(use):
                self.assertEqual(status, 2, f'{use}: {err}')
                self.assertIn(why.lower(), err.lower(), use)


class Help(unittest.TestCase):
    def test_bench_names_its_rows(self):
        import bench
        import bench_q
        r = subprocess.run([os.path.join(TOP, 'quire'), 'bench', '--help'], stdout=subprocess.PIPE, text=True,
                           env={**os.environ, 'COLUMNS': '80'}, timeout=60)
        for name in [*bench.ROWS, *bench_q.NAMES, 'Q12']:
            self.assertRegex(r.stdout.split('\nrows:')[1], rf'(?m)(^|\s){name}\b')
        self.assertLessEqual(max(map(len, r.stdout.splitlines())), 80)


class PlainMeson(unittest.TestCase):
    def test_what_takes_long_runs_when_it_is_asked_for(self):
        import commands
        with open(os.path.join(TOP, 'meson.build'), encoding='utf-8') as f:
            long = re.search(r"^long_suites = \[(.*)\]$", f.read(), re.M)[1].replace("'", '').split(', ')
        for name in [n for n in commands.CAMPAIGNS if n in commands.SUITES and commands.SUITES[n]] + ['mutants', 'oracle', 'tsan']:
            self.assertIn(name, long)
        self.assertNotIn('host', long)


if __name__ == '__main__':
    sys.exit(tap.main())
