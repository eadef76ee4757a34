# SPDX-License-Identifier: MIT
"""Random scenarios against what a real 5.10 was recorded to answer, and that record against a live
5.10 where its kernel can be had. usage: test_fuzz.py MACHINE [SEEDS]; TAP on standard output.
"""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', '..', 'tools'))
sys.dont_write_bytecode = True

import fuzz  # noqa: E402
import oracle  # noqa: E402
from common import CannotRun  # noqa: E402


def main():
    machine = sys.argv[1]
    path = os.path.join(HERE, 'fuzz-5.10.txt')
    ops, recorded = fuzz.read_digests(path)
    count = int(sys.argv[2]) if len(sys.argv) > 2 else len(recorded)
    name = f'{machine}: {count} random scenarios answered as a real 5.10 did'
    print('1..1')
    if machine == 'linux-5.10':
        try:
            oracle.kernel_image()
        except CannotRun as e:
            print(f'ok 1 - {name} # SKIP {str(e).splitlines()[0]}; the other tests stand on what '
                  'was recorded')
            return
    got = fuzz.digests(machine, 0, count, ops)
    # Single seeds that were once answered otherwise.
    ops, single = fuzz.read_digests(os.path.join(HERE, 'fuzz-seeds-5.10.txt'))
    recorded.update(single)
    for seed in single:
        got.update(fuzz.digests(machine, seed, seed + 1, ops))
    bad = [s for s in got if got[s] != recorded[s]]
    print(f'{"not " if bad or not got else ""}ok 1 - {name}')
    for s in bad[:5]:
        print(f'# seed {s}: {got[s]}, recorded {recorded[s]}; ./quire fuzz --seeds {s} shrinks it')


main()
