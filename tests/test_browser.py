"""The published pages in a real browser.

Nothing leaves the page, and a phone shows it without scrolling sideways.
"""

import base64
import io
import json
import re

import nbformat.v4 as nb
import pytest

from mctlib.headlines import Action, Headline
from mctlib.runner.publish import write_pages
from mctlib.runner.record import Report, RunRecord
from tests.support.browser import CHROMIUM, visit

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

MEASURE = """<title>waiting</title><body style="margin:0">
<iframe src="wide.html" width="390" height="800"></iframe>
<iframe src="index.html" width="390" height="800"></iframe>
<script>
function measure(frame) {
  const page = frame.contentDocument, root = page.documentElement;
  for (const fold of page.querySelectorAll("details")) fold.open = true;
  const box = page.querySelector(".scroll");
  const inside = box ? box.scrollWidth - box.clientWidth : 0;
  return [root.scrollWidth, root.clientWidth, inside, page.scripted === true];
}
onload = () => {
  const frames = [...document.querySelectorAll("iframe")];
  document.title = JSON.stringify(frames.map(measure));
}
</script>"""


@pytest.fixture
def folder(tmp_path):
    """A report that tries everything.

    A table of 20 columns, a wide picture, a word without end, a script and a remote picture.
    """
    import matplotlib.pyplot as plt

    picture = io.BytesIO()
    plt.figure(figsize=(14, 2)).savefig(picture, format="png", dpi=144)
    plt.close()
    caption = f"<caption><span>{'caption ' * 40}</span></caption>"
    table = f"<table>{caption}<tr>{'<td>1 234 567</td>' * 20}</tr></table>"
    act = "document.scripted = true"
    remote = f'<img src="http://127.0.0.1:9/x.png" onerror="{act}" alt="">'
    live = f"<script>{act}</script>{remote}"
    outputs = [
        nb.new_output("display_data", {"text/html": table}),
        nb.new_output("display_data", {"text/html": live}),
        nb.new_output(
            "display_data",
            {"image/png": base64.b64encode(picture.getvalue()).decode()},
            metadata={"image/png": {"width": 1344, "alt": "Empty"}},
        ),
        nb.new_output("stream", name="stdout", text="a line that does not end " * 20),
    ]
    notebook = nb.new_notebook(
        cells=[
            nb.new_markdown_cell("# " + "word" * 40),
            nb.new_markdown_cell("## One"),
            nb.new_markdown_cell("## Two"),
            nb.new_code_cell("x", outputs=outputs),
        ]
    )
    (tmp_path / "wide.ipynb").write_text(json.dumps(notebook))
    finding = {"finding": "long_event_name_" * 12, "caveats": ["http://example.org/" + "p" * 160]}
    report = Report("wide", "notebooks/wide.ipynb", {}, status="good", finding=finding)
    wide = {"low": -1e6, "high": 2e6, "unit": "points", "n": 123456789}
    report.headlines = [
        Headline(name=f"h{k}", label="long_label_" * 6, value=1e6, **wide) for k in range(4)
    ]
    report.actions = [Action(text="do_this_" * 20, role="somebody_" * 10)]
    write_pages(
        RunRecord(
            "weekly",
            "tiny",
            "2026-03-31",
            "good",
            "2026-04-01T06:00:00Z",
            1.0,
            "python -m mctlib run " + "x" * 90,
            None,
            {},
            [report],
        ),
        tmp_path,
    )
    return tmp_path


def test_a_phone_shows_the_pages_and_nothing_leaves_them(folder):
    (folder / "measure.html").write_text(MEASURE)
    dom, requests = visit(folder / "measure.html", folder)
    (report, index) = json.loads(re.search("<title>(.*?)</title>", dom)[1])
    for scroll_width, width, _, scripted in (report, index):
        assert scroll_width <= width <= 390 and not scripted
    assert report[2] > 100, "the wide table scrolls inside its own box"
    assert not requests


def test_the_network_log_would_tell(tmp_path):
    (tmp_path / "loud.html").write_text('<img src="http://127.0.0.1:9/x.png">')
    assert visit(tmp_path / "loud.html", tmp_path)[1] == {"http://127.0.0.1:9/x.png"}


LOOK = """<title>waiting</title><body style="margin:0">
<iframe src="funnel.html" width="1280" height="800"></iframe>
<iframe src="funnel.html" width="390" height="844"></iframe>
<script>
function look(frame) {
  const page = frame.contentDocument, root = page.documentElement, high = frame.clientHeight;
  const end = (what) => page.querySelector(what).getBoundingClientRect().bottom;
  const begin = (what) => page.querySelector(what).getBoundingClientRect().top;
  const shown = [...page.querySelectorAll(".first svg[role=img]")].filter((s) => s.clientWidth);
  const folded = page.querySelector("main").innerText + page.querySelector("header").innerText;
  return {tiles: end(".tiles"), hero: begin(".first figure"), shown: shown.length,
          width: shown[0].clientWidth, screens: root.scrollHeight / high,
          wide: root.scrollWidth <= root.clientWidth,
          words: folded.split(/\\s+/).filter(Boolean).length};
}
onload = () => {
  const frames = [...document.querySelectorAll("iframe")];
  document.title = JSON.stringify(frames.map(look));
}
</script>"""


def test_the_first_screen_holds_sentence_tiles_and_picture(tmp_path):
    """Of a page with all its parts: four tiles, a picture at two widths, three things to do."""
    from mctlib.plots import style
    from mctlib.plots.svg import as_svg

    drawings = {}
    for width in (style.WIDE, style.NARROW):
        with style.drawn_at(width):
            drawings[width] = as_svg(style.axes(height=4.6).figure, "a picture")
    told = {"title": "Share", "small": "band", "tells": "up", "narrow": drawings[style.NARROW]}
    data = {"image/svg+xml": drawings[style.WIDE]}
    shown = {"mctlib_shown": told | {"hero": True}}
    hero = nb.new_output("display_data", data, metadata=shown)
    part = nb.new_output("display_data", data, metadata={"mctlib_shown": told | {"hero": False}})
    cells = [nb.new_markdown_cell("# Where do users stop?")]
    for k, output in enumerate([hero, *[part] * 6]):
        cells += [
            nb.new_markdown_cell(f"## Part {k}\n\n" + "Words that explain it. " * 20),
            nb.new_code_cell("x", outputs=[output]),
        ]
    (tmp_path / "funnel.ipynb").write_text(json.dumps(nb.new_notebook(cells=cells)))
    report = Report("funnel", "notebooks/funnel.ipynb", {}, status="good")
    finding = "The rate looks flat, but it is not: users go on more often (+4.4 points), while lost"
    report.finding = {"finding": f"{finding} events hide 4.0 points.", "how_sure": ["Sure. " * 20]}
    report.headlines = [
        Headline(
            name=f"h{k}",
            label="Users with an interview in 14 days",
            value=20.4,
            unit="%",
            low=19.2,
            high=21.5,
            n=16861,
        )
        for k in range(4)
    ]
    report.actions = [
        Action(text="Mend Android: it loses 34 % of two events.", role="Data collector", size="-4")
        for _ in range(3)
    ]
    started = "2026-04-01T06:00:00Z"
    write_pages(
        RunRecord("weekly", "d", "2026-03-31", "good", started, 1.0, "", None, {}, [report]),
        tmp_path,
    )
    (tmp_path / "look.html").write_text(LOOK)
    dom, requests = visit(tmp_path / "look.html", tmp_path)
    desk, phone = json.loads(re.search("<title>(.*?)</title>", dom)[1])
    assert desk["tiles"] <= 340 and desk["hero"] <= 360 and desk["screens"] <= 2.2, desk
    assert phone["hero"] <= 760 and phone["screens"] <= 4, phone
    assert (desk["shown"], phone["shown"]) == (1, 1) and desk["width"] > 600 > phone["width"]
    assert desk["wide"] and phone["wide"] and desk["words"] < 400 and not requests
