"""A drawing as SVG for a page: text stays text, colours are the page's, nothing is loaded."""

from __future__ import annotations

import html
import io
import re
from itertools import count

from matplotlib.figure import Figure

from mctlib.plots.style import NAMES, SMALL

HOVER = "hover:"  # begins the id of what tells something under the mouse
PLAIN = (  # what a page does without, or says in its own way
    (r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->|<defs></defs>", ""),
    (rf'<g id="{HOVER}([^"]*)">', r"<g><title>\1</title>"),
    (r"font-family: [^;\"]*;? ?", ""),
    (rf"font-size: {SMALL}px; ", ""),
    (r' transform="rotate\(-?0 [^"]*"', ""),
    (r'<path d="[^"]*" style="fill: none"/>', ""),  # the empty paper
    (r"\n(?=[^<]*>)", ""),
    (r">\s+<", "><"),
)
SERIAL = count()  # of the drawings of this process: their ids must not meet on a page


def as_svg(figure: Figure, alt: str) -> str:
    """The drawing as an element of a page, as large as it was drawn; ``alt`` tells it in words."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    width, height = (round(72 * inches) for inches in figure.get_size_inches())
    inside = text[text.index(">", text.index("<svg")) + 1 :]
    for pattern, plain in PLAIN:
        inside = re.sub(pattern, plain, inside, flags=re.S)
    inside = re.sub(
        r"\d+\.\d{2,}", lambda found: f"{float(found[0]):.1f}".removesuffix(".0"), inside
    )
    inside = _without_groups(_own_ids(inside))
    inside = re.sub(' (d|style)="([^"]*)"', _without_spaces, inside)
    for colour, name in NAMES.items():
        inside = inside.replace(colour, f"var(--{name},{colour})")
    told = html.escape(alt, quote=True)
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    link = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {link} {size} font-size="{SMALL}" role="img" aria-label="{told}">{inside.strip()}'


def alone(svg: str) -> str:
    """The same as a file that knows no page, for slides."""
    plain = re.sub(r"var\(--[\w-]+,([^)]+)\)", r"\1", svg)
    return plain.replace("<svg ", '<svg font-family="sans-serif" ', 1)


def _without_spaces(attribute: re.Match[str]) -> str:
    """A path or a style without the spaces that nothing needs."""
    tight = re.sub(" ?([A-Za-z:;]) ", r"\1", attribute[2]).strip()
    return f' {attribute[1]}="{tight}"'


def _without_groups(inside: str) -> str:
    """Without groups that say nothing of what they hold."""
    kept: list[bool] = []

    def tag(found: re.Match[str]) -> str:
        if found[0] == "</g>":
            return "</g>" if kept.pop() else ""
        if found[0].endswith("/>"):  # it holds nothing
            return ""
        kept.append(found[0] != "<g>" or inside.startswith("<title>", found.end()))
        return found[0] if kept[-1] else ""

    return re.sub(r"</?g\b[^>]*>", tag, inside)


def _own_ids(inside: str) -> str:
    """Only the ids that are referred to, as no other drawing has them."""
    used = dict.fromkeys(re.findall(r'(?:url\(#|href="#)([^)"]+)', inside))
    serial = next(SERIAL)
    own = {name: f"p{serial}-{k}" for k, name in enumerate(used)}
    inside = re.sub(
        r' id="([^"]+)"', lambda found: f' id="{own[found[1]]}"' if found[1] in own else "", inside
    )
    return re.sub(r'(url\(#|href="#)([^)"]+)', lambda found: found[1] + own[found[2]], inside)
