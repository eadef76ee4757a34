# SPDX-License-Identifier: MIT
"""What a run of `meson test` left in its testlog.json: how many results, and why some failed.

Meson itself shows of a failed test what it wrote to standard error. A test that speaks TAP gives its
reasons on standard output, in lines around the result that they belong to; what a test wrote that ran
out of time is in a file of keep_output.sh.
"""
import json
import os
import re

LINES = 60          # of one test at most
EACH = 8            # of one of several failed results, if it has so much to say
LAST = 20           # of them the last that a test said that did not end, or wrote to standard error
WIDTH = 400         # of a line; a log may hold one of any length
RESULT = re.compile(r'(not )?ok\b')
GOOD = ('OK', 'EXPECTEDFAIL', 'SKIP')


def read(path):
    """The tests of a testlog.json, one dictionary each; none without such a file."""
    try:
        with open(path) as f:
            return [json.loads(line) for line in f]
    except FileNotFoundError:
        return []


def count(tests):
    """(passed, failed): single results where the tests report them (TAP), else one a test program."""
    passed = failed = 0
    for t in tests:
        subs = [s for s in (t.get('stdout') or '').splitlines() if s.startswith(('ok ', 'not ok '))]
        if subs and t['result'] in ('OK', 'FAIL', 'ERROR'):
            bad = sum(1 for s in subs if s.startswith('not ok'))
            passed += len(subs) - bad
            failed += bad or t['result'] != 'OK'
        elif t['result'] in ('OK', 'EXPECTEDFAIL'):
            passed += 1
        elif t['result'] != 'SKIP':
            failed += 1
    return passed, failed


def kept(folder, command):
    """What keep_output.sh kept there of a command, behind its own name and that folder, which did not
    end well; '' if nothing."""
    head = '\n'.join(command[2:]) + '\n\n'
    for entry in os.scandir(folder) if os.path.isdir(folder) else ():
        with open(entry.path, errors='replace') as f:
            text = f.read()
        if text.startswith(head):
            return text[len(head):]
    return ''


def _bad(lines):
    """Pairs of a failed result's line and the lines that tell of it: those behind it, or, where the
    next result or the end follows at once, those before it, unless they are another one's."""
    at = [i for i, s in enumerate(lines) if RESULT.match(s)]
    free = 0                            # lines from here on are nobody's yet
    for n, i in enumerate(at):
        end = at[n + 1] if n + 1 < len(at) else len(lines)
        if lines[i].startswith('not ok'):
            yield lines[i], lines[i + 1:end] or lines[free:i]
            free = end
        else:
            free = i + 1


def _last(lines, most):
    """At most so many lines, the last ones, for there the reason stands."""
    if len(lines) <= most:
        return lines
    return [f'# … {len(lines) - most + 1} lines more', *lines[len(lines) - most + 1:]]


FIRMWARE = re.compile(r'^#+ OpenSBI v.*?^#+ Boot HART MEDELEG[^\n]*\n', re.M | re.S)


def _lines(text):
    """The lines that say something; how many results there should be does not, nor what RISC-V's
    firmware says of itself before a kernel runs."""
    return [s for s in FIRMWARE.sub('', text).splitlines() if s.strip('# ') and not re.match(r'1\.\.\d+$', s)]


def reasons(test, folder=''):
    """Lines that say why a test failed, LINES and one at most: its failed results with what was
    told of them; the last that it said if it has none; what it wrote to standard error.
    folder: where keep_output.sh keeps things."""
    if test['result'] in GOOD:
        return []
    lines = _lines((test.get('stdout') or '').strip() or kept(folder, test.get('command', [])))
    errors = _last(_lines(test.get('stderr') or ''), LAST)
    room = LINES - len(errors)
    shown, bad = [], list(_bad(lines))
    for n, (result, told) in enumerate(bad):
        left = room - len(shown)
        if left < EACH and n + 1 < len(bad):
            shown.append(f'# … {len(bad) - n} failed results more')
            break
        shown += [result, *_last(told, min(max(EACH - 2, left // (len(bad) - n) - 1), max(left - 1, 1)))]
    if not bad or test['result'] == 'TIMEOUT':
        shown += _last(lines, min(LAST, room - len(shown))) if room > len(shown) else []
    head = f'{test["name"]}: {test["result"]} after {test.get("duration", 0):.0f} s'
    return [head, *('    ' + s[:WIDTH] for s in shown + errors)]
