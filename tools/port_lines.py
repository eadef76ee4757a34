#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Counts what a port is made of: lines in functions that serve arch/hal.h and arch/hal_kernel.h.

A function counts once, where it is first reached: from the names of hal.h and pte.h ("hal.h"), from
what fills in their answers at start, the memory map and the kernel's own tables ("its start"), from
hal_kernel.h, the traps included ("hal_kernel.h"), from the start of other CPUs, which a port for one
has not ("more CPUs"), or from the processor's first steps and devices ("boot"). "common" is arch/common, once for all. Lines are those from a function's first to its last
that are not blank; data, declarations and comments outside functions are not counted. Assembly
counts from one global label to the next.

usage: port_lines.py [--list] [ROOT]     --list names every function with its part
"""
import argparse
import glob
import os
import re

TOP = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
PORTS = ('x86_64', 'riscv')
PARTS = ('hal.h', 'its start', 'hal_kernel.h', 'more CPUs', 'boot')
# What fills in the answers of hal.h, by what its functions are called here.
START = re.compile(r'(x86|rv)_(start_info|mmu_init|platform_init|clip_ram)$')
COMMENT = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.S)


def without_comments(text):
    return COMMENT.sub(lambda m: re.sub(r'[^\n]', ' ', m.group(0)), text)


def functions_c(text):
    """(name, lines, body) of each function: the style has its braces in the first column."""
    lines, blank = text.splitlines(), without_comments(text).splitlines()
    for i, line in enumerate(blank):
        if line.rstrip() != '{':
            continue
        first, end = i, blank.index('}', i)
        while first and blank[first - 1].strip() and blank[first - 1][-1] not in ';}':
            first -= 1
        name = re.search(r'(\w+)\(', '\n'.join(blank[first:i]))
        if name:
            yield (name.group(1), sum(1 for s in lines[first:end + 1] if s.strip()),
                   '\n'.join(blank[i:end]))


def functions_s(text):
    """The same of assembly: the part from a `.globl` label to the next."""
    blank = without_comments(text)
    names = [n for m in re.finditer(r'^\s*\.globl\s+(.*)$', blank, re.M)
             for n in m.group(1).replace(',', ' ').split()]
    blank = re.sub(r'\.globl.*', '', blank)
    lines, at = blank.splitlines(), []
    for i, line in enumerate(lines):
        m = re.match(r'(\w+):', line)
        if m and m.group(1) in names:
            at.append((m.group(1), i))
    for (name, i), (_, j) in zip(at, [*at[1:], ('', len(lines))]):
        body = lines[i:j]
        yield name, sum(1 for s in body if s.strip()), '\n'.join(body)


def read_folder(root, folder):
    """{function: [lines, body]} of a folder in arch/."""
    found = {}
    for path in sorted(glob.glob(os.path.join(root, 'arch', folder, '*.[chS]'))):
        if os.path.basename(path).startswith('latency.'):
            continue    # the meter of a build that measures: no port needs it
        with open(path, encoding='utf-8') as f:
            text = f.read()
        for name, lines, body in (functions_s if path.endswith('.S') else functions_c)(text):
            entry = found.setdefault(name, [0, ''])
            entry[0] += lines
            entry[1] += body
    return found


def read_port(root, port):
    """The same of a port; functions of arch/common lead further, but their lines are no port's."""
    found = read_folder(root, port)
    for name, (_, body) in read_folder(root, 'common').items():
        found.setdefault(name, [0, ''])[1] += body
    return found


def contract_names(root, header, pattern):
    with open(os.path.join(root, 'arch', header), encoding='utf-8') as f:
        return set(re.findall(pattern, f.read()))


def reach(found, roots):
    """Every function that the roots lead to."""
    todo, seen = [r for r in roots if r in found], set()
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += [w for w in set(re.findall(r'\w+', found[name][1])) if w in found]
    return seen


def parts(root, port):
    """{part: {function: lines}} of one port."""
    found = read_port(root, port)
    more = {'hal_cpu_start'}
    hal = contract_names(root, 'hal.h', r'\b((?:hal|arch_pte)_\w+)') - more
    kernel = contract_names(root, 'hal_kernel.h', r'\b((?:hal|tf)_\w+)') - hal - more
    traps = {n for n in found if re.search(r'trap|syscall', n)}
    out, left = {}, set(found)
    for part, roots in zip(PARTS, (hal, {n for n in found if START.search(n)}, kernel | traps,
                                   more, set(found))):
        out[part] = {n: found[n][0] for n in reach(found, roots) & left}
        left -= set(out[part])
    return out


def table(root):
    """The rows of docs/porting.md: lines a part, for each port."""
    of = {p: parts(root, p) for p in PORTS}
    shared = sum(lines for lines, _ in read_folder(root, 'common').values())
    return [*((part, *(sum(of[p][part].values()) for p in PORTS)) for part in PARTS),
            ('common', *(shared for _ in PORTS))]


def main():
    p = argparse.ArgumentParser(usage=__doc__.split('usage: ')[1])
    p.add_argument('--list', action='store_true')
    p.add_argument('root', nargs='?', default=TOP)
    args = p.parse_args()
    if args.list:
        for port in PORTS:
            for part, names in parts(args.root, port).items():
                for n, lines in sorted(names.items(), key=lambda x: -x[1]):
                    print(f'{port:8}{part:14}{lines:5}  {n}')
        return
    print(f'{"":14}' + ''.join(f'{p:>9}' for p in PORTS))
    for part, *numbers in table(args.root):
        print(f'{part:14}' + ''.join(f'{n:9}' for n in numbers))


if __name__ == '__main__':
    main()
