# SPDX-License-Identifier: MIT
"""tools/latency.py says what it has to of what kernels told: a stretch that is too long and in no row of
docs/latency.md, a row whose reason was not met, stretches that the meter had no room for, paths that slept."""
import os
import sys
import unittest
from unittest import mock

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, 'tools'))
sys.dont_write_bytecode = True

import latency  # noqa: E402
import tap  # noqa: E402

LOG = '''quire: latency: interrupts off for 20001 instructions from 0x10 to 0x20
quire: latency: preemption off for 7000 instructions from 0x30 to 0x40
quire: latency: preemption off for 30000 instructions from 0x31 to 0x40
'''
NAMES = {'0x10': 'a', '0x20': 'b', '0x30': 'c', '0x31': 'c', '0x40': 'd'}
LONG = {('interrupts', 'a', 'b'): 20001, ('preemption', 'c', 'd'): 30000}


class Latency(unittest.TestCase):
    def test_longest_of_each(self):
        with mock.patch.object(latency, 'places', return_value=NAMES):
            self.assertEqual(latency.stretches('', LOG), LONG)

    def test_too_long(self):
        said = list(latency.judge(LONG, set()))
        self.assertEqual(len(said), 2)
        self.assertIn('preemption off for 30000 instructions from c to d', said[0])
        self.assertEqual(list(latency.judge(LONG, set(LONG))), [])
        self.assertEqual(len(list(latency.judge(LONG, {('preemption', 'a', 'b'), ('preemption', 'c', 'd')}))), 1)
        self.assertEqual(list(latency.judge({('interrupts', 'a', 'b'): latency.LIMIT}, set())), [])

    def test_row_without_reason(self):
        short = {key: latency.LIMIT for key in LONG}
        self.assertEqual(list(latency.not_met([short, LONG], set(LONG))), [])
        self.assertEqual(len(list(latency.not_met([short, {}], set(LONG)))), 2)

    def test_lost(self):
        self.assertEqual(list(latency.check_lost(LOG)), [])
        self.assertEqual(len(list(latency.check_lost('quire: latency: lost off for 3 instructions from 0x0'))), 1)

    def test_rows_are_read(self):
        rows = latency.allowed()
        self.assertIn(('interrupts', 'check_phys', 'check_phys'), rows)
        with open(os.path.join(TOP, 'docs', 'latency.md'), encoding='utf-8') as f:
            self.assertEqual(len(rows), sum('` → `' in line for line in f))

    def test_paths(self):
        said = 'latency: might_sleep in {}, interrupts {}, pre-emption {}, 4 times'
        self.assertEqual(list(latency.check_paths(said.format('system call', 'on', 'on'))), [])
        self.assertEqual(len(list(latency.check_paths(said.format('system call', 'off', 'on')))), 1)
        self.assertEqual(len(list(latency.check_paths(said.format('tick', 'on', 'on')))), 1)
        self.assertEqual(len(list(latency.check_paths(said.format('nowhere', 'on', 'on')))), 1)


if __name__ == '__main__':
    tap.main()
