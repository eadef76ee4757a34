# SPDX-License-Identifier: MIT
"""docs/tour/ against runs on the machine in software: each picture is drawn again, each command of
a page is run, and what the page shows of its output must be in it. TAP on standard output."""
import contextlib
import functools
import glob
import io
import os
import re
import shlex
import sys
import tempfile
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, 'tools'))
sys.dont_write_bytecode = True

import commands  # noqa: E402
import machines  # noqa: E402
import tap  # noqa: E402
import tour  # noqa: E402

# ---- pages -----------------------------------------------------------------------------------

MASKS = [(r'\b\d+\.\d{6}:', '#:'),                                        # times
         (r'(pfn |anon_vma |ptr=|call_site=|ip=|\] = )(0x)?[0-9a-f]{4,}', r'\1#'),
         (r'^page 0x\w+', 'page #'), (r'^frames 0x\w+-0x\w+', 'frames #'),
         (r'^(Node \d+, zone +\w+).*', r'\1 #')]                            # free blocks of a whole zone


def masked(line):
    """A line of output without what means nothing, or is the whole machine's: times, numbers of
    frames, the kernel's own addresses, entries."""
    for pattern, by in MASKS:
        line = re.sub(pattern, by, line)
    return ' '.join(line.split())


def output_of(command):
    """What `./quire …` prints; nothing is built for it."""
    out = io.StringIO()
    machines.prepare = lambda *_: None
    with contextlib.redirect_stdout(out), tempfile.TemporaryDirectory() as folder:
        machines.BUILD = folder             # where traces go: other tests run the same scenarios
        status = commands.main(shlex.split(command)[1:])
    return status, out.getvalue().splitlines()


def missing(shown, output):
    """The first line shown that does not follow in the output, or None; … stands for anything."""
    at = 0
    output = [masked(s) for s in output]
    for line in shown:
        want = masked(line)
        if not want or want == '…':
            continue
        while at < len(output) and output[at] != want:
            at += 1
        if at == len(output):
            return line
        at += 1
    return None


def examples(text):
    """(command, lines shown) of each command and the output that follows it."""
    for m in re.finditer(r'```sh\n(.*?)```(.*?)(?=```sh\n|\Z)', text, re.S):
        commands_ = [s for s in m.group(1).replace('\\\n', ' ').splitlines() if s.startswith('./quire run')]
        shown = re.search(r'```text\n(.*?)```', m.group(2), re.S)
        for c in commands_:
            yield c, shown.group(1).splitlines() if shown else []


def missing_references(text):
    """Files that a page names and that are not there; functions that it names before a file and
    that are not in it."""
    for target in re.findall(r'\]\(([^)#]+)\)', text):
        if not target.startswith('http') and not os.path.exists(os.path.join(tour.FOLDER, target)):
            yield f'there is no {target}'
    for names, target in re.findall(r'((?:`\w+\(\)`(?:, | and )?)+) in \[[^]]*\]\(([^)]+)\)', text):
        source = page(target)
        for n in re.findall(r'`(\w+)\(\)`', names):
            if not re.search(rf'\b{n}\(', source):
                yield f'{target} has no {n}()'


def page(name):
    with open(os.path.join(tour.FOLDER, name), encoding='utf-8') as f:
        return f.read()


# ---- the tests -------------------------------------------------------------------------------

class Tour(unittest.TestCase):
    def picture(self, name):
        drawn, there = tour.PICTURES[name]().svg().splitlines(), page(name + '.svg').splitlines()
        first = next((i for i, (a, b) in enumerate(zip(drawn, there)) if a != b), -1)
        self.assertEqual(there[first], drawn[first],
                         'if the change is meant: python3 tools/tour.py draws it again; then read its page')
        self.assertEqual(len(there), len(drawn))

    def examples(self, name):
        text = page(name + '.md')
        self.assertIn(f'({name}.svg)', text)
        found = list(examples(text))
        self.assertTrue(found, 'the page has no command')
        os.chdir(TOP)
        for command, shown in found:
            status, output = output_of(command)
            self.assertEqual(status, 0, command + '\n' + '\n'.join(output[-5:]))
            self.assertTrue(shown, f'nothing is shown of what this prints: {command}')
            self.assertIsNone(missing(shown, output), f'not in the output of {command}')

    def references(self, name):
        self.assertEqual(list(missing_references(page(name + '.md'))), [])

    def test_index_names_every_page(self):
        text = page('README.md')
        for path in glob.glob(tour.FOLDER + '/*.md'):
            name = os.path.basename(path)
            self.assertTrue(name == 'README.md' or f'({name})' in text, name)
        self.assertEqual(list(missing_references(text)), [])


for name_ in tour.PICTURES:
    for check in (Tour.picture, Tour.examples, Tour.references):
        setattr(Tour, f'test_{name_}_{check.__name__}', functools.partialmethod(check, name_))


if __name__ == '__main__':
    tap.main()
