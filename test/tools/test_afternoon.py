# SPDX-License-Identifier: MIT
"""A new user's afternoon: every command that README.md shows and every example of --help is typed in a shell,
ends as it should, and says what it should. Wrong uses are in test_exec.py. TAP on standard output.

usage: test_afternoon.py [whole]
Alone: what the machine in software does, over the builds that are there. whole: the rest, too, by ./quire as
it is, in QEMU and beside real Linux; what this machine does not allow is skipped with the reason.
"""
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, 'tools'))
sys.dont_write_bytecode = True

import commands  # noqa: E402
import oracle  # noqa: E402
import packages  # noqa: E402
import tap  # noqa: E402
from common import CannotRun  # noqa: E402

WHOLE = sys.argv[1:] == ['whole']
sys.argv[1:] = []
# The command, without building anything.
QUICK = f'''#!{sys.executable}
import sys
sys.path.insert(0, {os.path.join(TOP, "tools")!r})
sys.dont_write_bytecode = True
import machines, packages, build, commands
build.build_for = build.build_kernel = build.build = lambda *a, **k: None
packages.ensure = lambda *a: None
sys.exit(commands.main(sys.argv[1:]))
'''
# The start of a command -> what it says. The longest that fits counts.
SAYS = {
    './quire demo': r'traces:\n  \S+',
    './quire run ': r'as expected',
    './quire run --explain': r'row +cow: a copy',
    './quire run --html': r'page: page\.html',
    './quire run --look': r'look: tree \d+\n(.*\n)?0x1000000000',
    './quire run --swap': r'on host: as expected',
    './quire diff': r'(\d+) of \1 equal on ',
    './quire repl': r'(?m)^= ',
    "echo 'load(@3)' | ./quire repl": r'= SIGSEGV SEGV_MAPERR @3',
    './quire ask': r'^$',
    './quire fuzz --seeds': r'100 scenarios of 40 operations on host,x86_64: 0 differ',
    './quire fuzz --show': r'== seed 7 on host\n',
    './quire record': r'\d+ processes, \d+ calls, \d+ user and \d+ kernel faults',
    './quire exec': r'^hello\n$',
    'echo hello | ./quire exec': r'^hello\n$',
    "printf 'help": r'commands? |PID: the mappings',
    "printf 'buddy": r'zone +DMA32',
    './quire bench': r'(?m)^  (H7|H8|Q\d+) ',
    './quire simulate --list': r'(?m)^belady ',
    './quire simulate --policy': r'(?m)belady',
    './quire run --trace': r'trace: traces/brk\.host\.trace',
    './quire trace': r'tracing_mark_write: quire: begin',
    './quire compile': r'gcc\.table: \d+ programs, \d+ faults',
    'printf ': r'^$', 'riscv64-linux-gnu-gcc': r'^$',
    'tools/facts.py': r'all +210 of 217',
}
# Not typed here: the suites themselves, which run this; what stands in other builds.
APART = ('./quire test', 'meson ', 'CC=clang')


def of_readme():
    """Commands of README.md: those of its blocks, and those of its table of figures."""
    with open(os.path.join(TOP, 'README.md'), encoding='utf-8') as f:
        text = f.read()
    blocks = '\n'.join(re.findall(r'```sh\n(.*?)```', text, re.S)).splitlines()
    out = [re.sub(r'\s+#.*$', '', s).strip() for s in blocks]
    out += re.findall(r'\| `((?:\./quire|tools/)[^`]*)` \|', text)
    return [s for s in out if s]


def of_help():
    """The examples of --help, as it shows them, of every command."""
    out = []
    parser = commands.parser()
    for name, p in parser._subparsers._group_actions[0].choices.items():
        shown = re.search(r'examples:\n((?:  .*\n)+)', p.format_help())
        found = [s.strip() for s in shown[1].splitlines()] if shown else []
        if found != commands.EXAMPLES.get(name, []):
            raise AssertionError(f'{name} --help does not show its examples: {found}')
        out += found
    return out


def machines_of(command):
    on = re.search(r'--on (\S+)', command)
    if on:
        return on[1].split(',')
    if ' diff ' in command:
        return ['host', 'x86_64', 'riscv64']
    if ' ask ' in command:
        return ['linux-5.10']
    if ' demo' in command or './quire bench Q' in command:
        return ['x86_64', 'riscv64', 'linux-5.10']
    m = re.search(r'(?:exec|boot) .*?\b(host|x86_64|riscv64)\b', command)
    return [m[1]] if m else ['host']


def why_not(command):
    """Why a command cannot be tried on this machine, or ''."""
    if 'record ' in command and (os.geteuid() or not os.path.isdir('/sys/kernel/tracing/events')):
        return 'recording wants root and the kernel\'s tracer'
    if 'ls.rec' in command and ' diff ' in command and not os.path.exists(os.path.join(Afternoon.folder, 'ls.rec')):
        return 'nothing was recorded'
    if any(m.startswith('linux-') for m in machines_of(command)):
        try:
            oracle.kernel_image()
        except CannotRun as e:
            return str(e).splitlines()[0]
    return ''


def host_alone(command):
    """Whether the builds that are there suffice, and a few seconds."""
    return machines_of(command) == ['host'] and not re.search(r'record |bench|diff .*rec|gcc', command)


class Afternoon(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='afternoon-')
        cls.addClassCleanup(shutil.rmtree, cls.folder, True)
        for name in ('test', 'tools', 'docs', 'examples'):
            os.symlink(os.path.join(TOP, name), os.path.join(cls.folder, name))
        path = os.path.join(cls.folder, 'quire')
        if WHOLE:
            os.symlink(os.path.join(TOP, 'quire'), path)
        else:
            with open(path, 'w') as f:
                f.write(QUICK)
            os.chmod(path, 0o755)

    def typed(self, command):
        says = SAYS[max((s for s in SAYS if command.startswith(s)), key=len)]
        why = why_not(command)
        if why:
            self.skipTest(why)
        r = subprocess.run(['sh', '-c', command.replace('sudo ', '')], cwd=self.folder, stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, timeout=3000)
        both = r.stdout + r.stderr
        self.assertEqual(r.returncode, 0, f'{command}\n{both[-2000:]}')
        self.assertRegex(both if ' record ' in command else r.stdout, says, command)
        self.assertNotIn('Traceback', both)

    def test_0_all_are_known(self):
        """No command is shown of which nobody here knows what it should say."""
        found = of_readme() + of_help()
        self.assertGreater(len(found), 30)
        for command in found:
            if not command.startswith(APART):
                self.assertTrue(any(command.replace('sudo ', '').startswith(s) for s in SAYS), command)

    def test_0_every_command_has_help(self):
        """In 80 columns, with exit codes and machines."""
        choices = commands.parser()._subparsers._group_actions[0].choices
        for name in ['', *choices]:
            r = subprocess.run([sys.executable, os.path.join(TOP, 'quire'), *([name] if name else []), '--help'],
                               capture_output=True, text=True, env={**os.environ, 'COLUMNS': '80'}, timeout=60)
            self.assertEqual(r.returncode, 0, r.stderr)
            self.assertIn('exit codes: 0 as expected', r.stdout)
            for s in r.stdout.splitlines():
                self.assertTrue(len(s) <= 80 or s.startswith('  ') and ' ./quire ' in ' ' + s, f'{name}: {s}')


for number, text in enumerate(dict.fromkeys(s.replace('sudo ', '') for s in of_readme() + of_help()), 1):
    if text.startswith(APART) or not WHOLE and not host_alone(text):
        continue
    words = re.sub(r'\W+', '_', text)[:60].strip('_')
    setattr(Afternoon, f'test_{number:02d}_{words}', functools.partialmethod(Afternoon.typed, text))


if __name__ == '__main__':
    tap.main()
