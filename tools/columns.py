# SPDX-License-Identifier: MIT
"""Tables for a terminal of 80 columns: what is too long for its column goes on below it."""
import textwrap

WIDTH = 80


class Columns:
    """widths: of each column; a negative one is aligned to the right. The sum, with two blanks in front and
    one between two columns, is at most WIDTH."""

    def __init__(self, *widths):
        self.widths = widths
        assert 1 + sum(1 + abs(w) for w in widths) <= WIDTH

    def lines(self, *cells):
        """One row of the table as lines."""
        pieces = [textwrap.wrap(str(c), abs(w)) or [''] for c, w in zip(cells, self.widths)]
        out = []
        for i in range(max(map(len, pieces))):
            words = [(p[i] if i < len(p) else '') for p in pieces]
            out.append(' ' + ''.join(f' {s:>{-w}}' if w < 0 else f' {s:{w}}'
                                     for s, w in zip(words, self.widths)).rstrip())
        return out

    def text(self, *cells):
        return '\n'.join(self.lines(*cells))
