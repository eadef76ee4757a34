# SPDX-License-Identifier: MIT
"""docs/porting.md is true: its figures are the tool's, and it names every file that a third
architecture touches, which is every file in which the second one is named."""
import os
import re
import sys
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, 'tools'))
sys.dont_write_bytecode = True

import arches  # noqa: E402
import port_lines  # noqa: E402
import tap  # noqa: E402

# Where an architecture is named as an example, or by what is made for it and listed as a whole.
ELSEWHERE = re.compile(r'^(\.|build|out/|oracle/|docs/|test/(mutants|scenario|recording|tools)/)'
                       r'|\.(pyc|zst|xz)$')
EXAMPLES = {'test/models/space.pml', 'test/fuzz/board.dts', 'test/unit/test_riscv_pte.c', 'test/arch/test_riscv_boot_tree.c'}


def porting():
    with open(os.path.join(TOP, 'docs', 'porting.md'), encoding='utf-8') as f:
        return f.read()


def listed():
    """The files that the page names; NAME and FOLDER stand for the second architecture's."""
    arch = arches.ARCHES['riscv64']
    part = porting().split('### Which files')[1].split('\n## ')[0]
    text = part.replace('NAME', arch.name).replace('FOLDER', arch.folder)
    return set(re.findall(r'`([\w./]+\.\w+|Containerfile)`', text)) - {'boot.S'}


def naming():
    """Every file but arch/'s own that names the second architecture."""
    word = re.compile(rb'riscv', re.I)
    for folder, folders, files in os.walk(TOP):
        at = os.path.relpath(folder, TOP)
        folders[:] = [d for d in folders if not d.startswith(('.', 'build', '__'))]
        for name in files:
            path = os.path.normpath(os.path.join(at, name))
            if ELSEWHERE.search(path) or path.startswith('arch/'):
                continue
            with open(os.path.join(TOP, path), 'rb') as f:
                if word.search(f.read()):
                    yield path


class Porting(unittest.TestCase):
    def test_figures(self):
        rows = [[int(n) for n in re.findall(r'\| (\d+)', line)]
                for line in porting().splitlines() if re.match(r'\| .*(\| \d+ ){4}\|$', line)]
        self.assertEqual([r[:2] for r in rows], [list(r[1:]) for r in port_lines.table(TOP)],
                         'write what tools/port_lines.py counts into docs/porting.md')

    def test_few_lines_serve_hal(self):
        _, *lines = port_lines.table(TOP)[0]
        self.assertLessEqual(max(lines), 500)

    def test_every_file_is_named(self):
        self.assertEqual(sorted(set(naming()) - listed() - EXAMPLES), [])

    def test_named_files_are_there(self):
        for path in listed():
            if '/' in path:
                self.assertTrue(os.path.exists(os.path.join(TOP, path)), path)


if __name__ == '__main__':
    tap.main()
