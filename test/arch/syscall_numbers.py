#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Holds arch/common/syscall_table.h against Linux's own headers, column by column: each number is
Linux's for that name, no column is left empty where Linux has a number, and every number that Linux has has
its name. TAP on standard output.
usage: syscall_numbers.py TABLE"""
import os
import re
import sys

# The generic numbers stand in one file, which the RISC-V headers take over.
GENERIC = ('/usr/include/asm-generic/unistd.h', '/usr/riscv64-linux-gnu/include/asm-generic/unistd.h')
HEADERS = {
    'x86_64': ('/usr/include/x86_64-linux-gnu/asm/unistd_64.h', '/usr/include/asm/unistd_64.h'),
    'riscv64': GENERIC,
}
ROW = re.compile(r'^SYS_ROW\((\w+), (\d*), (\d*)\)$', re.M)
RISCV = {'newfstatat': 79, 'riscv_flush_icache': 244 + 15}  # fstatat; the first arch-specific is 244
OLDER = {'renameat'}            # generic, but only for architectures older than RISC-V
# Generic names of what RISC-V has under another name, of 32-bit machines, of no call at all.
NO_CALL = re.compile(r'fstatat|sync_file_range2|renameat|arch_specific_syscall|syscalls|\w+time64')
NEWEST = 450                    # headers may be newer than the table


def linux(column):
    """{name: number} of Linux, or None if its headers are not here."""
    path = next((p for p in HEADERS[column] if os.path.exists(p)), None)
    if not path:
        return None
    with open(path, encoding='utf-8') as f:
        of = {n: int(v) for n, v in re.findall(r'#define __NR(?:3264)?_(\w+) (\d+)', f.read())}
    return {**of, **RISCV} if column == 'riscv64' else of


def main():
    with open(sys.argv[1], encoding='utf-8') as f:
        rows = ROW.findall(f.read())
    bad = 0
    for i, column in enumerate(HEADERS):
        theirs, wrong = linux(column), []
        if theirs is None:
            print(f'ok {i + 1} - {column} # SKIP no headers of Linux here')
            continue
        for name, *numbers in rows:
            want = None if column == 'riscv64' and name in OLDER else theirs.get(name)
            if (int(numbers[i]) if numbers[i] else None) != want:
                wrong.append(f'# {name}: {numbers[i] or "empty"}, Linux has {want}')
        ours = {int(numbers[i]) for _, *numbers in rows if numbers[i]}
        wrong += [f'# {name}: {number} has no row' for name, number in theirs.items()
                  if number not in ours and number <= NEWEST and not NO_CALL.fullmatch(name)]
        print('\n'.join([*wrong, f'{"not " if wrong else ""}ok {i + 1} - {len(rows)} names on {column}']))
        bad += bool(wrong)
    names = [r[0] for r in rows]
    twice = {n for n in names if names.count(n) > 1}
    print(f'{"not " if twice or not rows else ""}ok 3 - each name once\n1..3')
    return bool(bad or twice or not rows)


sys.exit(main())
