# SPDX-License-Identifier: MIT
"""README.md and README.zh.md say the same: headings, commands, links and figures; and the figures
are those of the pages that they name. TAP on standard output."""
import math
import os
import re
import subprocess
import sys
import unittest

import tap

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def read(path):
    with open(os.path.join(TOP, path), encoding='utf-8') as f:
        return f.read()


def without_code(text):
    return re.sub(r'^```.*?^```$', '', text, flags=re.S | re.M)


def figures(text):
    """Numbers of the prose: as 1.69, 64, 5.10."""
    return sorted(re.findall(r'\d+(?:\.\d+)?', re.sub(r'\]\([^)]*\)|`[^`]*`', '', without_code(text))))


class Pair(unittest.TestCase):
    def setUp(self):
        self.en, self.zh = read('README.md'), read('README.zh.md')

    def test_linked_to_each_other(self):
        self.assertIn('[中文](README.zh.md)', self.en.split('\n## ')[0])
        self.assertIn('[English](README.md)', self.zh.split('\n## ')[0])

    def test_same_headings(self):
        levels = [re.findall(r'^(#+) ', without_code(t), re.M) for t in (self.en, self.zh)]
        self.assertEqual(*levels)

    def test_same_commands(self):
        blocks = [re.findall(r'^```.*?^```$', t, re.S | re.M) for t in (self.en, self.zh)]
        self.assertGreater(len(blocks[0]), 3)
        self.assertEqual(*blocks)
        words = [sorted(set(re.findall(r'`(\./quire[^`]*|meson [^`]*|CC=[^`]*|tools/[^`]*)`',
                                       without_code(t)))) for t in (self.en, self.zh)]
        self.assertEqual(*words)

    def test_same_links(self):
        links = [re.findall(r'\]\(([^)]*)\)', t)[1:] for t in (self.en, self.zh)]
        self.assertEqual(*links)
        for link in links[0]:
            self.assertTrue(os.path.exists(os.path.join(TOP, link)), link)

    def test_same_figures(self):
        wanted = figures(self.en)
        for n in set(figures(self.zh)):
            self.assertIn(n, wanted)
        for n in ('1.70', '1.23', '3.78', '25.04', '210', '16.3', '19.2'):
            self.assertEqual(n in wanted, n in figures(self.zh), n)


class Figures(unittest.TestCase):
    """The three figures, out of the pages that they name."""

    def setUp(self):
        self.row = [s for s in read('README.md').splitlines() if s.startswith('| ')]

    def line(self, what):
        return next(s for s in self.row if what in s)

    def test_instructions(self):
        ratios = {}
        for s in read('docs/performance.md').splitlines():
            cells = [c.strip() for c in s.strip('|').split('|')]
            if re.match(r'Q\d', cells[0]):
                ratios[cells[0]] = float(cells[4].split(' / ')[0])
        apart = ratios.pop('Q15')
        mean = math.exp(sum(map(math.log, ratios.values())) / len(ratios))
        line = self.line('docs/performance.md')
        for n in (f'**{mean:.2f} times**', f'mean of {len(ratios)} rows', f'between {min(ratios.values()):.2f}',
                  f'and {max(ratios.values()):.2f}', f'Q15, {apart:.2f}'):
            self.assertIn(n, line)

    def test_facts(self):
        out = subprocess.run([sys.executable, os.path.join(TOP, 'tools/facts.py'),
                              os.path.join(TOP, 'test/scenario')], stdout=subprocess.PIPE, text=True,
                             check=False).stdout
        shown, of = re.search(r'^all +(\d+) of (\d+)', out, re.M).groups()
        self.assertIn(f'**{shown} of {of}**', self.line('facts.txt'))

    def test_objects(self):
        row = next(s for s in read('docs/slab.md').splitlines() if s.startswith('| H8 free random (cache)'))
        ours, peer = (re.findall(r'[\d.]+', c)[0] for c in row.split('|')[2:4])
        self.assertIn(f'**{ours} ns** each', self.line('docs/slab.md'))
        self.assertIn(f'takes {peer} ', self.line('docs/slab.md'))


if __name__ == '__main__':
    tap.main()
