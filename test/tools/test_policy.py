#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The command simulate, and the tables of docs/policy.md, which are what it computes.

usage: test_policy.py            tests, in the Test Anything Protocol
       test_policy.py --write    put right what the page's tables say

A table of the page that a line <!--simulate OPTIONS--> precedes has patterns in its first column.
A column that is named like a policy has its refaults, `POLICY looks` the entries that it looked at
for each page evicted, `worst` the most that a process refaults with trial, 5.10 being 1 (of less
than 100 refaults, 100 is taken), `trial/best` what it refaults beside the best of the kernels measured.
"""
import argparse
import io
import json
import os
import sys
import tempfile
import unittest
from unittest import mock

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, 'tools'))
sys.dont_write_bytecode = True

import commands  # noqa: E402
import common  # noqa: E402
import recording  # noqa: E402
import simulate  # noqa: E402
import tap  # noqa: E402

PAGE = os.path.join(TOP, 'docs', 'policy.md')
# The fewest refaults of linux-5.10, 6.12 and 7.2 on 128 MiB, two runs, the lower.
MEASURED = {'in-order': 49241, 'random': 32469, 'zipf': 17396, 'window': 31468, 'hot-scan': 51487,
            'idle-zipf': 1929, 'idle-order': 1985}
MARK = '<!--simulate'


def worst(results):
    new, old = results['trial']['processes'], results['5.10']['processes']
    return max(p['refaults'] / max(q['refaults'], 100) for p, q in zip(new, old))


def cell(column, name, results):
    if column == 'trial/best':
        return f'{results["trial"]["refaults"] / MEASURED[name]:.2f}'
    if column == 'worst':
        return f'{worst(results):.2f}'
    if column.endswith(' looks'):
        return simulate.looks(results[column.removesuffix(' looks')])
    return f'{results[column]["refaults"]:,}'


def right_row(name, columns, args):
    names = sorted({c.removesuffix(' looks') for c in columns if c not in ('worst', 'trial/best')} |
                   ({'5.10', 'trial'} if 'worst' in columns else set()))
    results = simulate.Run(name, args, '').results(names)
    results = {r['policy']: r for r in results}
    return '| ' + ' | '.join([name, *(cell(c, name, results) for c in columns)]) + ' |'


def page_tables(lines):
    """(options, columns, [line numbers]) of each table that is simulated."""
    for i, line in enumerate(lines):
        if not line.startswith(MARK):
            continue
        options = line.removeprefix(MARK).removesuffix('-->').split()
        at = i + 1
        while not lines[at].startswith('|'):
            at += 1
        columns = [c.strip() for c in lines[at].strip('|').split('|')][1:]
        end = at + 2
        while end < len(lines) and lines[end].startswith('|'):
            end += 1
        yield options, columns, range(at + 2, end)


def parse(options):
    return commands.parser().parse_args(['simulate', *options])


def corrected(lines):
    new = list(lines)
    for options, columns, rows in page_tables(lines):
        for i in rows:
            new[i] = right_row(lines[i].split('|')[1].strip(), columns, parse(options))
    return new


class Page(unittest.TestCase):
    def test_tables_are_what_is_computed(self):
        with open(PAGE, encoding='utf-8') as f:
            lines = f.read().split('\n')
        self.assertGreater(sum(len(rows) for _, _, rows in page_tables(lines)), 25)
        for i, (old, new) in enumerate(zip(lines, corrected(lines)), 1):
            self.assertEqual(old, new, f'docs/policy.md:{i} (test_policy.py --write mends it)')


class Command(unittest.TestCase):
    def setUp(self):
        patch = mock.patch.multiple(simulate.build, build=lambda *a: None)
        patch.start()
        self.addCleanup(patch.stop)

    def run_it(self, *words):
        out = io.StringIO()
        with mock.patch('sys.stdout', out):
            status = simulate.command(parse(words))
        return status, out.getvalue()

    def test_json_names_each_process(self):
        status, out = self.run_it('--json', '--policy', 'lru,belady', '2*order:1M', '--frames', '256',
                                  '--quantum', '16')
        results = [json.loads(line) for line in out.splitlines()]
        self.assertEqual(status, common.OK)
        self.assertEqual([r['policy'] for r in results], ['lru', 'belady'])
        self.assertEqual([p['refaults'] for p in results[0]['processes']], [256, 256])
        self.assertEqual(results[0]['refaults'], 512)

    def test_details_and_summary(self):
        _, out = self.run_it('--policy', 'lru', '2*order:1M', '--frames', '256')
        self.assertIn('256 frames, 512 pages, 1,026 accesses', out)
        self.assertIn('#2', out)
        _, out = self.run_it('--policy', 'lru', '2*order:1M', 'order:2M', '--frames', '256')
        self.assertIn('entries looked at', out)

    def test_refusals(self):
        for words in (['nothing'], ['--policy', 'best'], ['--frames', '3'], ['--batch', '0'],
                      ['--batch', '9000'], ['3*zorder:64M'], ['--quantum', '0'], ['--fill', '-1'], ['--seed', '-1'], ['--tlb', '-1']):
            with self.assertRaises(common.CannotRun, msg=words):
                self.run_it(*words)

    def test_list_has_all(self):
        _, out = self.run_it('--list')
        for name in simulate.PATTERNS:
            self.assertIn(f'\n{name} ', out)
        self.assertIn('\nbelady ', out)

    def test_a_recording_is_run(self):
        _, out = self.run_it('--json', '--check', '--policy', 'lru,trial,5.10',
                             os.path.join(TOP, 'test/recording/bash-forks.rec.xz'))
        for line in out.splitlines():
            r = json.loads(line)
            self.assertGreater(len(r['processes']), 50)
            self.assertGreater(r['pages'], 2 * r['frames'] - 2)


class Recordings(unittest.TestCase):
    def test_touches(self):
        rec = recording.Recording()
        rec.files = {1: recording.File(1, '0', 1, 1 << 20, '/f')}
        area = recording.Area(0x10000, 0x20000, 'r--p', 0x3000, 1)
        rec.events = [
            ('m', area),
            ('u', 0x11000, 4), ('u', 0x11000, 6),     # a page of the file, and a private copy
            ('u', 0x50000, 6), ('u', 0x50010, 6),     # one page twice
            ('c', 'munmap', [0x50000, 4096], 0, 0), ('u', 0x50000, 6),
            ('f', 2, 0), ('p', 2), ('u', 0x11800, 4), ('u', 0x50000, 6),
            ('e', 0)]
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 't')
            pages = simulate.Touches(rec).write(path)
            with open(path, encoding='ascii') as f:
                lines = f.read().splitlines()
        self.assertEqual(lines, [
            'quire-touches 1', 'f 0 0', 'a 0 1', 'a 0 2', 'a 0 2', 'd 0 2', 'a 0 3',
            'f 1 0', 'a 1 4', 'x 1 0'])
        self.assertEqual(pages, 5)


def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('--write', action='store_true', help='put the page right')
    if not ap.parse_args().write:
        tap.main()
    with open(PAGE, encoding='utf-8') as f:
        lines = f.read().split('\n')
    with open(PAGE, 'w', encoding='utf-8') as f:
        f.write('\n'.join(corrected(lines)))


if __name__ == '__main__':
    main()
