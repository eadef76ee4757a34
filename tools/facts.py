#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Which of the facts seen on a real Linux have a scenario.

usage: facts.py [--list] [FOLDER]; FOLDER holds facts.txt and the scenarios (test/scenario). Exit
status 1 if a fact has neither a scenario nor a reason, if it has both, or if a scenario names a
fact that the list does not know.
"""
import os
import re
import sys

TOP = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
HEAD = re.compile(r'^# Fact: ([A-Z]{2}\d\d(?: [A-Z]{2}\d\d)*)$')
ID = re.compile(r'[A-Z]{2}\d\d')


def read_list(path):
    """{id: (group, reason or '')} in the file's order."""
    facts, group = {}, ''
    with open(path) as f:
        for number, line in enumerate(f, 1):
            line = line.strip()
            if not line or line.startswith('#'):
                continue
            if line.startswith('['):
                group = line.strip('[]')
                continue
            name, _, reason = line.partition(' ')
            if not ID.fullmatch(name) or name in facts:
                raise ValueError(f'{path}:{number}: no id, or one that stood above: {name}')
            facts[name] = (group, reason.strip())
    return facts


def read_scenarios(folder):
    """{id: [files]} from the heads of all scenarios; a head ends with the first action."""
    shown, bad = {}, []
    for where, _, files in sorted(os.walk(folder)):
        for name in sorted(f for f in files if f.endswith('.scn')):
            path = os.path.join(where, name)
            with open(path) as f:
                for line in f:
                    if line.strip() and not line.startswith('#'):
                        break
                    m = HEAD.match(line.rstrip('\n'))
                    if line.startswith('# Fact') and not m:
                        bad.append(f'{path}: no list of facts: {line.strip()}')
                    for i in m.group(1).split() if m else ():
                        shown.setdefault(i, []).append(os.path.relpath(path, folder))
    return shown, bad


def problems(facts, shown):
    out = []
    for i, (_, reason) in facts.items():
        if i not in shown and not reason:
            out.append(f'{i}: no scenario shows it, and no reason is given')
        if i in shown and reason:
            out.append(f'{i}: has a reason to have no scenario, but {shown[i][0]} shows it')
    out += [f'{i}: named by {", ".join(shown[i])}, but not in the list'
            for i in sorted(shown) if i not in facts]
    return out


def table(facts, shown, whole):
    """Lines: shown and all of each group; whole: the facts themselves too."""
    groups, out = {}, []
    for i, (group, reason) in facts.items():
        groups.setdefault(group, []).append((i, reason))
    for group, rows in groups.items():
        out.append(f'{group:20} {sum(i in shown for i, _ in rows):4} of {len(rows)}')
        for i, reason in rows:
            if whole or i not in shown:
                out.append(f'    {i} {", ".join(shown[i]) if i in shown else "- " + reason}')
    out.append(f'{"all":20} {sum(i in shown for i in facts):4} of {len(facts)}')
    return out


def main(argv):
    whole = '--list' in argv
    rest = [a for a in argv if a != '--list']
    folder = rest[0] if rest else os.path.join(TOP, 'test', 'scenario')
    try:
        facts = read_list(os.path.join(folder, 'facts.txt'))
    except (OSError, ValueError) as e:
        print(e, file=sys.stderr)
        return 1
    shown, bad = read_scenarios(folder)
    bad += problems(facts, shown)
    print('\n'.join(table(facts, shown, whole)))
    for line in bad:
        print(line, file=sys.stderr)
    return 1 if bad else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
