"""Pages can be read by ear, by keyboard and with weak eyes; the weekly pack's own: test_weekly."""

import re

import pytest

from mctlib.plots import style
from mctlib.runner.pages import TEMPLATES
from tests.support.accessible import contrast, faults

SOUND = """<html lang="en"><head><title>T</title></head><body><a href="#m">To it</a><main id="m">
<h1>One</h1><h2>Two</h2><svg role="img" aria-label="It rises"></svg><svg aria-hidden="true"></svg>
<div role="region" aria-label="Numbers" tabindex="0"><table><caption>Numbers</caption>
<tr><th scope="col">A</th></tr><tr><td>1</td></tr></table></div>
<ul><li>x</li></ul><details><summary>More</summary></details></main></body></html>"""


@pytest.mark.parametrize(
    ("sound", "broken"),
    [
        (' lang="en"', ""),
        ("<title>T</title>", ""),
        ("<h1>One</h1>", ""),
        ("<h2>Two</h2>", "<h3>Two</h3>"),
        ("To it", ""),
        ('href="#m"', 'href="#nowhere"'),
        ('<main id="m">', '<main id="m"><p id="m"></p>'),
        (' aria-label="It rises"', ""),
        ("<caption>Numbers</caption>", ""),
        (' scope="col"', ""),
        ('role="region" ', ""),
        ("<ul>", "<ul><p></p>"),
        ("<summary>More</summary>", ""),
        ("<h2>", '<img src="x"><h2>'),
    ],
)
def test_each_rule_finds_its_fault(sound, broken):
    assert not faults(SOUND) and len(faults(SOUND.replace(sound, broken))) == 1


def test_words_and_lines_stand_out_from_their_paper_by_day_and_by_night():
    """WCAG 2.2: 4.5 to 1 for words, 3 to 1 for lines and fills that mean something."""
    css = (TEMPLATES / "style.css.j2").read_text()
    blocks = re.findall(r":root \{[^}]*?(--bg:[^}]*)\}", css)
    assert len(blocks) == 3, "by day, by night, in print"
    series = [style.NAMES[colour] for colour in style.PALETTE if colour != style.WARN]
    for block in blocks:
        tokens = dict(re.findall(r"--([a-z-]+):\s*(#[0-9a-f]+)", block))
        for ink in ("ink", "quiet", "blue", "orange", "grey", *series):
            for paper in ("bg", "wash"):
                assert contrast(tokens[ink], tokens[paper]) >= 4.5, (ink, paper, tokens)
        assert contrast(tokens["orange-mark"], tokens["bg"]) >= 3
    day = dict(re.findall(r"--([a-z-]+):\s*(#[0-9a-f]+)", blocks[0]))
    for colour, name in style.NAMES.items():
        assert contrast(colour, day[name]) == 1, "a picture has the page's colours"
