#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Row Q12 of the benchmark in small, on our kernel: that its program runs, and what it counts."""
import os
import sys
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, 'tools'))
sys.path.insert(0, os.path.join(TOP, 'test', 'tools'))
sys.dont_write_bytecode = True

import bench_q  # noqa: E402
import bench_reclaim  # noqa: E402
import common  # noqa: E402
import tap  # noqa: E402

PAGES = 4096                            # of each process


def run(pattern, mem=64, ballast=0, policy=0, turn=0):
    return bench_reclaim.run(bench_reclaim.OURS, bench_q.kernel_image(bench_reclaim.MACHINE),
                             bench_reclaim.Setting(pattern, mem, ballast, policy, turn=turn))


class Small(unittest.TestCase):
    def test_each_page_read_back_is_a_fault_of_a_process(self):
        r = run(f'orderx3:{PAGES}+idle:48', ballast=12000)
        self.assertEqual(len(r.processes), 2)
        # A loop that does not fit: each touch of its pages after the first is a fault.
        self.assertGreater(r.read, 2 * PAGES)
        self.assertLessEqual(r.read, 3 * PAGES + 64)
        self.assertLess(abs(sum(r.processes) - r.read), 64)
        self.assertGreaterEqual(r.reclaimed, r.read - 64)
        # A touch is 30 instructions at most; a page reclaimed is some thousands.
        self.assertGreater(r.instructions, 2000 * r.reclaimed)

    def test_turns_are_handed_on(self):
        # One after the other they would fit; by turns none of them does.
        r = run(f'3*orderx2:{PAGES // 2}:exit', ballast=10300, turn=50)
        self.assertEqual(len(r.processes), 3)
        for faults in r.processes:
            self.assertGreater(faults, PAGES * 3 // 4)

    def test_with_plenty_nothing_is_reclaimed(self):
        r = run(f'idle:{PAGES}:first+zipfx2:{PAGES}:exit', mem=128)
        self.assertEqual((r.read, r.written, r.reclaimed, r.processes), (0, 0, 0, [0, 0]))
        self.assertGreater(r.instructions, 4 * PAGES)

    def test_a_program_that_cannot_go_on_says_why(self):
        with self.assertRaisesRegex(common.CannotRun, 'q12 failed: reclaim_policy -22'):
            run(f'order:{PAGES}', policy=99)


if __name__ == '__main__':
    tap.main()
