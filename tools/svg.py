# SPDX-License-Identifier: MIT
"""A small writer of SVG pictures: boxes, words, arrows. A picture has its own background, so that it
can be read on a light page and on a dark one; the same calls give the same bytes."""
from xml.sax.saxutils import escape

INK, MUTED, LINE = '#1f2328', '#57606a', '#8c959f'
# Fill and border, by what a box stands for.
COLOURS = {
    'plain': ('#ffffff', '#57606a'), 'gray': ('#eaeef2', '#8c959f'), 'dark': ('#afb8c1', '#57606a'),
    'blue': ('#ddf4ff', '#0969da'), 'green': ('#dafbe1', '#1a7f37'), 'yellow': ('#fff8c5', '#9a6700'),
    'orange': ('#ffe3d1', '#bc4c00'), 'red': ('#ffdcd7', '#cf222e'), 'purple': ('#f3e5ff', '#8250df'),
}
FONTS = {'sans': 'DejaVu Sans, Verdana, sans-serif', 'mono': 'DejaVu Sans Mono, Consolas, monospace'}


def _n(x):
    return f'{x:.1f}'.rstrip('0').rstrip('.')


class Picture:
    def __init__(self, width, title, desc):
        self.width, self.height, self.title, self.desc = width, 0, title, desc
        self.items = []
        self.text(20, 30, title, size=16, bold=True)

    def _grow(self, y):
        self.height = max(self.height, y)

    def box(self, x, y, w, h, colour='plain', dashed=False, round_=3):
        fill, border = COLOURS[colour]
        dash = ' stroke-dasharray="4 3"' if dashed else ''
        self.items.append(f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(w)}" height="{_n(h)}" rx="{round_}" '
                          f'fill="{fill}" stroke="{border}"{dash}/>')
        self._grow(y + h)

    def text(self, x, y, words, size=12, font='sans', anchor='start', colour=INK, bold=False):
        weight = ' font-weight="bold"' if bold else ''
        self.items.append(f'<text x="{_n(x)}" y="{_n(y)}" font-family="{FONTS[font]}" font-size="{size}" '
                          f'text-anchor="{anchor}" fill="{colour}"{weight}>{escape(str(words))}</text>')
        self._grow(y + 4)

    def mono(self, x, y, words, size=12, anchor='start', colour=INK, bold=False):
        self.text(x, y, words, size, 'mono', anchor, colour, bold)

    def label(self, x, y, w, h, words, colour='plain', size=12, font='mono', dashed=False):
        """A box with words in its middle."""
        self.box(x, y, w, h, colour, dashed)
        self.text(x + w / 2, y + h / 2 + size * 0.36, words, size, font, 'middle')

    def arrow(self, x1, y1, x2, y2, colour=MUTED, dashed=False):
        dash = ' stroke-dasharray="5 4"' if dashed else ''
        self.items.append(f'<line x1="{_n(x1)}" y1="{_n(y1)}" x2="{_n(x2)}" y2="{_n(y2)}" '
                          f'stroke="{colour}" stroke-width="1.3"{dash} marker-end="url(#head)"/>')
        self._grow(max(y1, y2))

    def line(self, x1, y1, x2, y2, colour=LINE, width=1.3):
        self.items.append(f'<line x1="{_n(x1)}" y1="{_n(y1)}" x2="{_n(x2)}" y2="{_n(y2)}" '
                          f'stroke="{colour}" stroke-width="{_n(width)}"/>')
        self._grow(max(y1, y2))

    def legend(self, y, entries, x=20):
        """Boxes of colours with what they mean; entries: (colour, words)."""
        for colour, words in entries:
            self.box(x, y, 14, 14, colour)
            self.text(x + 20, y + 11, words, colour=MUTED)
            x += 42 + 6.3 * len(words)

    def svg(self):
        h = _n(self.height + 16)
        head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{h}" '
                f'viewBox="0 0 {self.width} {h}" role="img">\n<title>{escape(self.title)}</title>\n'
                f'<desc>{escape(self.desc)}</desc>\n'
                '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
                'markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#57606a"/></marker>'
                f'</defs>\n<rect width="{self.width}" height="{h}" fill="#ffffff"/>\n')
        return head + '\n'.join(self.items) + '\n</svg>\n'
