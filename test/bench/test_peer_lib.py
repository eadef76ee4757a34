# SPDX-License-Identifier: MIT
"""Page allocators beside ours: a library's figures appear in the rows, and one that is not what
bench/peer.h says is refused. usage: test_peer_lib.py BENCH PEER.so PEER-WITHOUT-PUT.so; TAP."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
count = failed = 0


def report(good, name, why=''):
    global count, failed
    count += 1
    failed += not good
    print(f'{"" if good else "not "}ok {count} - {name}')
    for line in why.splitlines() if not good else ():
        print('# ' + line)


def bench(program, *args):
    return subprocess.run([program, '--quick', *args], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def rows_appear(program, lib, folder):
    copy = os.path.join(folder, 'copy.so')
    shutil.copy(lib, copy)
    r = bench(program, '--peer-lib', f'mine-1.0={lib}', '--peer-lib', f'other={copy}',
              'H1', 'H2', 'H3', 'H4', 'H5', 'H6')
    lines = [json.loads(s) for s in r.stdout.splitlines()]
    report(r.returncode == 0 and len(lines) == 11, 'all rows of pages run with two libraries',
           f'status {r.returncode}, {len(lines)} lines\n{r.stderr}')
    for line in lines:
        peers = line['peers']
        report(set(peers) == {'mine-1.0', 'other'} and all(v and v > 0 for v in peers.values())
               and line['peer'] == min(peers.values()) and line['peer_name'] in peers,
               f'{line["row"]}, {line["workload"]}: both have a figure, the least is the peer',
               str(line))
    r = bench(program, 'H1')
    line = json.loads(r.stdout)
    report(line['peer'] is None and line['peer_name'] == 'no peer', 'without a library: no peer',
           str(line))


def bad_ones_are_refused(program, lib, without_put, folder):
    text = os.path.join(folder, 'text.so')
    with open(text, 'w') as f:
        f.write('no library\n')
    for words, why in (
            ([f'x={folder}/missing.so'], 'there is no such file'),
            ([f'x={text}'], 'text.so'),
            ([f'x={without_put}'], 'the library has no peer_put'),
            ([lib], 'wants NAME=FILE'),
            ([f'={lib}'], 'wants NAME=FILE'),
            ([f'a"b={lib}'], 'wants NAME=FILE'),
            ([f'{"x" * 40}={lib}'], 'more than 31 letters'),
            ([f'x={lib}', f'x={lib}'], 'the name x is taken'),
            ([f'{n}={lib}' for n in 'abcde'], 'there are 4 already')):
        args = [a for w in words for a in ('--peer-lib', w)]
        r = bench(program, *args, 'H1')
        report(r.returncode == 2 and why in r.stderr and not r.stdout,
               f'refused: {" ".join(os.path.basename(w) for w in words)}: {why}',
               f'status {r.returncode}\n{r.stdout}{r.stderr}')


def the_documents_prototypes():
    """docs/bench.md shows the four functions as the header has them."""
    with open(os.path.join(TOP, 'bench', 'peer.h')) as f:
        functions = re.findall(r'^\w+ peer_\w+\([^;]*\);$', f.read(), re.M)
    with open(os.path.join(TOP, 'docs', 'bench.md')) as f:
        text = f.read()
    report(len(functions) == 4 and all(s in text for s in functions),
           'docs/bench.md has the prototypes', '\n'.join(s for s in functions if s not in text))


def main():
    program, lib, without_put = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        rows_appear(program, lib, folder)
        bad_ones_are_refused(program, lib, without_put, folder)
    the_documents_prototypes()
    print(f'1..{count}')
    return bool(failed)


if __name__ == '__main__':
    sys.exit(main())
