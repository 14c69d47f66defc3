"""The published pages in a real browser.

Nothing leaves the page, and a phone shows it without scrolling sideways.
"""

import base64
import io
import json
import re

import nbformat.v4 as nb
import pytest

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
  const box = page.querySelector(".table");
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
    finding = {
        "finding": "long_event_name_" * 12,
        "caveats": ["One."],
        "next_step": "http://example.org/" + "path" * 40,
        "owner": "analyst",
    }
    report = Report("wide", "notebooks/wide.ipynb", {}, status="good", finding=finding)
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
