#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The monitor of the machine in software, by its prompt: it looks, and ends the machine with nothing left.
usage: monitor.py QUIRE-HOST"""
import re
import subprocess
import sys

r = subprocess.run([sys.argv[1], '--monitor', '--mem', '64M'], input='ps\nmeminfo\nnonsense\nexit 5\n',
                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
pages = re.search(r'free pages before=(\d+) after=(\d+)', r.stdout)
checks = {
    'the status is what exit says': r.returncode == 5,
    'it shows what it is asked for': 'THREADS' in r.stdout and 'MemTotal:' in r.stdout,
    'as many pages are free as before': pages and pages[1] == pages[2],
    'nothing is left': 'not given back' not in r.stdout,
}
print(f'1..{len(checks)}')
for i, (name, good) in enumerate(checks.items(), 1):
    print(f'{"ok" if good else "not ok"} {i} - {name}')
if not all(checks.values()):
    print('\n'.join('# ' + line for line in r.stdout.splitlines()))
