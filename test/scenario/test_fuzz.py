# SPDX-License-Identifier: MIT
"""Random scenarios against what a real 5.10 was recorded to answer, and that record against a live
5.10 where its kernel can be had. usage: test_fuzz.py MACHINE [SEEDS]; TAP on standard output.
test_fuzz.py hog SEEDS [PROGRESS]: the same answers while memory is short (on the machine in software).
"""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', '..', 'tools'))
sys.dont_write_bytecode = True

import fuzz  # noqa: E402
import oracle  # noqa: E402
from common import CannotRun  # noqa: E402


EVICTIONS = 20      # a scenario, on average; with fewer nothing is tested


def hog(count, progress):
    """Memory enough, and a hog at the low mark: the same answers. progress: a file to go on from."""
    print('1..1')
    c = fuzz.Campaign(['host:plenty', 'host:hog'], 0, count, 40, progress)
    c.run(2)
    good = c.seeds() == count and not c.different and c.evictions.written >= EVICTIONS * count
    print(f'{"" if good else "not "}ok 1 - {count} random scenarios answered as with memory enough')
    print('# ' + c.evictions.say(count))
    for s in sorted(c.different)[:5]:
        print(f'# seed {s}: {c.different[s]}; ./quire fuzz --hog --on host --seeds {s} shrinks it')


def main():
    machine = sys.argv[1]
    if machine == 'hog':
        hog(int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else '')
        return
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
