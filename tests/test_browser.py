"""The published pages in a real browser: nothing leaves the page, and a phone shows it without scrolling sideways."""

import base64
import io
import json
import re
import shutil
import subprocess

import nbformat.v4 as nb
import pytest

from mctlib.runner import pack, run

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

MEASURE = """<title>waiting</title><body style="margin:0">
<iframe src="wide.html" width="390" height="800"></iframe><iframe src="index.html" width="390" height="800"></iframe>
<script>onload = () => { document.title = JSON.stringify([...document.querySelectorAll("iframe")].map(frame => {
  const page = frame.contentDocument, box = page.querySelector(".table");
  return [page.documentElement.scrollWidth, page.documentElement.clientWidth, box ? box.scrollWidth - box.clientWidth : 0, page.scripted === true];
})) }</script>"""


def visit(page, tmp_path):
    """The page's DOM after loading, and every URL that it (not the browser itself) asked for over the network."""
    profile = tmp_path / f"profile-{page.stem}"
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--allow-file-access-from-files",
            f"--user-data-dir={profile}",
            f"--log-net-log={tmp_path / 'net.json'}",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    requests = [
        event.get("params", {})
        for event in json.loads((tmp_path / "net.json").read_text())["events"]
    ]
    return done.stdout, {
        r["url"] for r in requests if r.get("network_isolation_key", "").startswith("file:")
    }


@pytest.fixture
def folder(tmp_path):
    """A report that tries everything: a table of 20 columns, a wide picture, a word without end, a script and a remote picture among its outputs."""
    import matplotlib.pyplot as plt

    picture = io.BytesIO()
    plt.figure(figsize=(14, 2)).savefig(picture, format="png", dpi=144)
    plt.close()
    table = f"<table><caption><span>{'caption ' * 40}</span></caption><tr>{'<td>1 234 567</td>' * 20}</tr></table>"
    live = '<script>document.scripted = true</script><img src="http://127.0.0.1:9/x.png" onerror="document.scripted = true" alt="">'
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
    report = pack.Report("wide", "notebooks/wide.ipynb", {}, status="good", finding=finding)
    run._export(
        run.RunRecord(
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
