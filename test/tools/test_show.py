# SPDX-License-Identifier: MIT
"""What run --explain, run --html and repl show, on the machine in software or on the one that is named
(x86_64, riscv64). Pages are opened in a headless Chromium where there is one. TAP on standard output."""
import contextlib
import html.parser
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, 'tools'))
sys.dont_write_bytecode = True

import commands  # noqa: E402
import machines  # noqa: E402
import story  # noqa: E402
import tap  # noqa: E402
import webpage  # noqa: E402

MACHINE = sys.argv.pop() if len(sys.argv) > 1 else 'host'
BROWSER = next((p for p in map(shutil.which, ('chromium-headless-shell', 'chromium', 'chromium-browser',
                                             'google-chrome')) if p), None)
SHOWN = {'write-after-fork': 6, 'tour-tables': 8, 'fork-shared': 4, 'swap-pageout': 5, 'mremap-partial': 4,
         'fault-around': 6}
RECORDING = os.path.join(TOP, 'test', 'recording', 'gcc-O2.rec.xz')
README = """A = mmap(@0, 2p, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
store(A, 7)                    = ok faults=1
fork(child)
child: store(A, 9)             = ok faults=1
load(A)                        = 7
child: load(A)                 = 9
wait(child)
"""


def scenario(name):
    return os.path.join(TOP, 'test', 'scenario', name + '.scn')


def quire(*words, typed=''):
    """(status, output) of `./quire WORDS`; what it needs was built by whoever runs this."""
    out, old = io.StringIO(), sys.stdin
    sys.stdin = io.StringIO(typed)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), \
                mock.patch.object(machines.build, 'build_for'):
            status = commands.main(list(words))
    finally:
        sys.stdin = old
    return status, out.getvalue()


class Temporary(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = lambda name: os.path.join(folder.name, name)

    def written(self, name, text):
        with open(self.path(name), 'w') as f:
            f.write(text)
        return self.path(name)


class Explain(Temporary):
    def explain(self, text):
        return quire('run', '--explain', '--on', MACHINE, self.written('s.scn', text))

    def test_readme_fits_on_two_screens(self):
        status, output = self.explain(README)
        self.assertEqual(status, 0, output)
        self.assertLessEqual(len(output.splitlines()), 48)
        self.assertLessEqual(max(map(len, output.splitlines())), 100)

    def test_only_own_faults(self):
        _, output = self.explain(README)
        self.assertEqual(len(re.findall(r'^ *fault ', output, re.M)), 2, output)

    def test_lines_and_tasks(self):
        _, output = self.explain(README)
        for s in README.splitlines():
            action = s.split('  ')[0]
            self.assertIn(f'{action} = ', output)
        self.assertRegex(output, r'fault  first: write at @0, not present')
        self.assertRegex(output, r'fault  child: write at @0, present')

    def test_before_and_after_of_the_right_process(self):
        """The copy is another frame than the page that stays: where the same run says so, too."""
        text = README.replace('load(A)  ', 'sameframe(A, A, child) = 0\nload(A)  ', 1)
        status, output = self.explain(text)
        self.assertEqual(status, 0, output)
        first = re.search(r'anon: .*\n +entry  none  ->  frame (0x\w+) rw', output)[1]
        copied = re.search(r'cow: .*\n +entry  frame (0x\w+) r--.*->  frame (0x\w+) rw', output)
        self.assertEqual(first, copied[1])
        self.assertNotEqual(copied[1], copied[2])
        shared = re.findall(r"(\w+)'s entry of @0: .*frame (0x\w+)", output)
        self.assertIn(('child', first), shared)

    def test_changes_without_a_fault(self):
        _, output = self.explain(README)
        self.assertRegex(output, r"first's entry of @0: frame 0x\w+ rw-u.*  ->  r--u")

    def test_walk_and_tables(self):
        _, output = self.explain(README)
        self.assertIn('walk   pgd[0] pud[64] pmd[0] pte[0] (2 tables made on the way)', output)

    def test_refused_access(self):
        status, output = self.explain('load(@3) = SIGSEGV SEGV_MAPERR @3\n')
        self.assertEqual(status, 0, output)
        self.assertRegex(output, r'(?s)read at @3, not present.*area   none.*row    segv: refused')

    def test_wrong_expectation_is_told(self):
        status, output = self.explain(README.replace('= 9', '= 8'))
        self.assertEqual(status, 1)
        self.assertIn('NOT as expected: expected 8', output)

    def test_a_look_beside_it(self):
        status, output = quire('run', '--explain', '--on', MACHINE, '--look', '2:buddy', self.written('s.scn', README))
        self.assertEqual(status, 0, output)
        self.assertEqual(output.count('zone    DMA32'), 1)

    def test_tasks_of_star(self):
        """%* is every task that lives, * every action."""
        _, output = quire('run', '--on', MACHINE, '--look', '*:maps %*', self.written('s.scn', README))
        self.assertEqual(output.count('     look: maps'), 3 + 2 * 4 + 1)


class Runner(Temporary):
    def run_text(self, text):
        return quire('run', '--on', MACHINE, self.written('s.scn', text))

    def test_a_task_whose_fork_failed(self):
        """Every line of it is answered at once; what others do goes on."""
        start = time.monotonic()
        status, output = self.run_text("""R = sysctl("vm.overcommit_ratio")
            A = mmap(@0, 16m, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
            sysctl("vm.overcommit_ratio", 0)
            sysctl("vm.overcommit_memory", 2)
            fork(d) = -1 ENOMEM
            sysctl("vm.overcommit_memory", 0)
            sysctl("vm.overcommit_ratio", R)
            d: load(@0)
            d: fork(e)
            e: load(@0)
            store(A, 4) = ok
            wait(d) = -1 ECHILD
            """)
        self.assertLess(time.monotonic() - start, 60)
        self.assertEqual(status, 2, output)
        self.assertEqual(output.count('not done: this task is not there'), 3)
        self.assertIn('store(A, 4) = ok', output)

    def test_what_is_known_is_as_stored(self):
        """Nothing is expected of these loads: they are right, and so is what is known of them."""
        status, output = self.run_text("""A = mmap(@0, 4p, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)
            store(A, 0x1122334455667788)
            store(A+3, 0xaa, 1)
            load(A)
            load(A+2, 2)
            fill(A+1p, 1p, 9)
            store(A+1p+12, 7, 4)
            load(A+1p+8)
            load(A+1p+13, 1)
            copyout(A+2p+3, 20, 0x0102030405060708)
            load(A+2p)
            load(A+2p+8)
            load(A+2p+16)
            madvise(A+2p, 1p, MADV_DONTNEED)
            load(A+2p+8) = ok
            B = mremap(A, 3p, 5p, MREMAP_MAYMOVE|MREMAP_DONTUNMAP|MREMAP_FIXED, @32)
            B = mremap(A, 3p, 3p, MREMAP_MAYMOVE|MREMAP_DONTUNMAP|MREMAP_FIXED, @32)
            load(A)
            load(B)
            load(B+1p+8)
            mprotect(B, 1p, PROT_NONE)
            load(B) = SIGSEGV
            """)
        self.assertEqual(status, 0, output)


class Links(html.parser.HTMLParser):
    """What a page would fetch."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [v for k, v in attrs if k in ('src', 'href', 'data', 'action') and not (v or '').startswith('data:')]


def opened(path, where=''):
    """(lines of the console, the page as it stands then)."""
    with tempfile.TemporaryDirectory() as home:
        r = subprocess.run([BROWSER, '--headless', '--no-sandbox', '--disable-gpu', '--enable-logging=stderr',
                            f'--user-data-dir={home}', '--window-size=1240,900', '--virtual-time-budget=4000',
                            '--dump-dom', f'file://{path}#{where}'], capture_output=True, text=True, timeout=120)
    return [s for s in r.stderr.splitlines() if 'CONSOLE' in s], r.stdout


class Page(Temporary):
    def page(self, subject, on=MACHINE):
        path = self.path('p.html')
        status, output = quire('run', '--html', path, '--on', on, subject)
        self.assertEqual(status, 0, output)
        return path

    def read(self, path):
        with open(path, encoding='utf-8') as f:
            return f.read()

    def clean(self, path, where):
        console, dom = opened(path, where)
        self.assertEqual(console, [])
        body = re.sub(r'(?s)<script.*?</script>', '', dom)
        for bad in ('undefined', 'NaN', '>null<', '[object'):
            self.assertNotIn(bad, body)
        return body

    def shown(self, name):
        path = self.page(scenario(name))
        links = Links()
        links.feed(self.read(path))
        self.assertEqual(links.found, [])
        self.assertNotRegex(re.sub(r'(?s)<script type="application/json".*?</script>', '', self.read(path))
                            .replace('http://www.w3.org/2000/svg', ''), r'https?://|@import|url\(')
        if not BROWSER:
            self.skipTest('no Chromium here')
        at = SHOWN[name]
        body = self.clean(path, f'{MACHINE}:{at}')
        self.assertRegex(body, r'<div class=" ?now[^"]*"')
        self.assertIn('page tables', body)
        self.assertIn('free blocks', body)
        self.clean(path, f'{MACHINE}:0')

    @unittest.skipUnless(BROWSER, 'no Chromium here')
    def test_an_error_of_the_console_is_seen(self):
        text = self.read(self.page(scenario('tour-tables')))
        console, _ = opened(self.written('bad.html', text.replace("'use strict';", "'use strict'; nothing_of_this_name();")))
        self.assertTrue(console)

    @unittest.skipUnless(BROWSER, 'no Chromium here')
    def test_both_sides_of_a_copy(self):
        body = self.clean(self.page(scenario('write-after-fork')), f'{MACHINE}:6')
        frames = re.findall(r'>@0 (0x\w+) ', body)
        self.assertEqual(len(frames), 2)
        self.assertNotEqual(*frames)

    def test_a_recording(self):
        path = self.page(RECORDING)
        self.assertLess(os.path.getsize(path), 2 << 20)
        if not BROWSER:
            self.skipTest('no Chromium here')
        body = self.clean(path, f'{MACHINE}:20')
        self.assertGreater(body.count('<rect'), 300)
        self.assertIn('faults by row, over time', body)

    def test_where_machines_differ(self):
        """One machine's run is changed: the page says at which line, and what."""
        subject = machines.Subject(scenario('tour-tables'))
        with mock.patch.object(machines.build, 'build_for'):
            _, result = next(iter(machines.execute([subject], MACHINE, story.options(machines.Options(), story.WHOLE))))
        tales = [story.read(subject, result, story.WHOLE) for _ in range(2)]
        self.assertEqual(webpage.differences(tales), [])
        tales[1].machine = 'other'
        tales[1].steps[6].result = '5'
        entries = tales[1].steps[8].spaces['first'].entries
        entries[min(entries)].flags = 'r--u'
        del tales[1].steps[10]
        found = webpage.differences(tales)
        self.assertEqual([d[0] for d in found], [6, 8, 10])
        self.assertIn('result: 0 faults=1 there, 5 here', found[0][2])
        self.assertIn('first at @0', found[1][2])
        path = self.written('d.html', webpage.scenario(subject, tales))
        if BROWSER:
            body = self.clean(path, 'other:6')
            self.assertIn('where they differ from', body)
            self.assertEqual(body.count('differs"'), 3)

    def test_frames_do_not_differ(self):
        """Two machines number their frames as they like."""
        subject = machines.Subject(scenario('write-after-fork'))
        tales = []
        for _ in range(2):
            _, result = next(iter(machines.execute([subject], MACHINE, story.options(machines.Options(), story.WHOLE))))
            tales.append(story.read(subject, result, story.WHOLE))
        for step in tales[1].steps:
            for space in step.spaces.values():
                for e in space.entries.values():
                    e.pfn += 1000
        self.assertEqual(webpage.differences(tales), [])

    def test_text_cannot_end_the_data(self):
        path = self.page(self.written('odd.scn', '# </script><b>no</b>\nstore(@0, 1) = SIGSEGV SEGV_MAPERR @0\n'))
        self.assertNotIn('</script><b>', self.read(path))
        if BROWSER:
            self.assertIn('&lt;/script&gt;', self.clean(path, f'{MACHINE}:1'))

    def test_wrong_uses(self):
        for words, said in ((['--html', '/nowhere/p.html', scenario('zero-page')], '/nowhere/p.html: no such file'),
                            (['--html', self.path('p'), scenario('zero-page'), scenario('msync')], 'page of one file'),
                            (['--html', self.path('p'), '--on', 'linux-5.10', scenario('zero-page')], 'only Quire'),
                            (['--look', '*:', scenario('zero-page')], 'wants LINE:COMMAND')):
            status, output = quire('run', *words)
            self.assertEqual(status, 2, output)
            self.assertIn(said, output)
            self.assertNotIn('Traceback', output)


for name_ in SHOWN:
    setattr(Page, 'test_' + name_.replace('-', '_'), lambda self, name=name_: self.shown(name))


class Repl(Temporary):
    def typed(self, text, *words):
        return quire('repl', '--on', MACHINE, *words, typed=text)

    def test_one_action_at_a_time(self):
        status, output = self.typed(README)
        self.assertEqual(status, 0, output)
        self.assertEqual([s for s in output.splitlines() if s.startswith('= ')],
                         ['= @0', '= ok faults=1', '= ok', '= ok faults=1', '= 7 faults=0', '= 9 faults=0', '= 0'])
        self.assertIn('row    cow', output)

    def test_run_dash(self):
        status, output = quire('run', '--on', MACHINE, '-', typed='load(@3)\n')
        self.assertEqual(status, 0, output)
        self.assertIn('= SIGSEGV SEGV_MAPERR @3', output)

    def test_a_mistake_is_not_kept(self):
        status, output = self.typed('lod(@0)\nload(@0, 3p, 4)\nlist\nload(@0)\n')
        self.assertEqual(status, 0, output)
        self.assertIn("not done: 1: no action of this name: 'lod'", output)
        self.assertNotIn('  1  lod', output)
        self.assertIn('= SIGSEGV', output)

    def test_wrong_expectation(self):
        status, output = self.typed('load(@0) = 3\n')
        self.assertEqual(status, 1)
        self.assertIn('NOT as expected: ', output)

    def test_words(self):
        status, output = self.typed(README + f'look maps %\nundo\nundo\nlist\nnope\nhelp\nsave {self.path("t.scn")}\nquit\nload(@0)\n')
        self.assertEqual(status, 0, output)
        self.assertRegex(output, r'1000000000-1000002000 rw-p')
        self.assertIn('taken back: wait(child)', output)
        self.assertIn('nope? (help lists', output)
        self.assertNotIn('SIGSEGV', output)
        with open(self.path('t.scn')) as f:
            self.assertEqual(len(f.readlines()), 5)
        self.assertEqual(quire('run', '--on', MACHINE, self.path('t.scn'))[0], 0)

    def test_wrong_uses(self):
        for words in (['repl', '--on', 'host,x86_64'], ['repl', '--on', 'mars'], ['run', '-', 'x.scn'],
                      ['run', '--html', 'x', '-'], ['repl', '--smp', '0']):
            status, output = quire(*words)
            self.assertEqual(status, 2, output)
            self.assertNotIn('Traceback', output)


def load_tests(loader, tests, pattern):
    """In the emulator every run takes seconds: what depends on the machine is asked there."""
    if MACHINE != 'host':
        tests = unittest.TestSuite([loader.loadTestsFromTestCase(c) for c in (Explain, Runner)])
        tests.addTest(Page('test_both_sides_of_a_copy'))
        tests.addTest(Repl('test_one_action_at_a_time'))
    return tests


if __name__ == '__main__':
    tap.main()
