"""A real browser, without a window."""

import html
import json
import re
import shutil
import subprocess
from importlib.resources import files

from nbconvert import HTMLExporter

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)


def visit(page, tmp_path, *flags):
    """The page's DOM after loading, and every URL that it (not the browser) asked for."""
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
            *flags,
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


def sheets(page, tmp_path):
    """How many pages of paper a page is printed on."""
    paper = tmp_path / f"{page.stem}.pdf"
    visit(page, tmp_path, "--no-pdf-header-footer", f"--print-to-pdf={paper}")
    return len(re.findall(rb"/Type\s*/Page\b", paper.read_bytes()))


WIDTHS = """<script>onload = () => {
  const wide = (table) => [table.innerText.slice(0, 60), table.getBoundingClientRect().width];
  document.title = JSON.stringify([...document.querySelectorAll("table")].map(wide));
}</script>"""


def table_widths(notebook, tmp_path):
    """How each table of an executed notebook begins, and its pixels in JupyterLab's looks."""
    lab = HTMLExporter(template_name="lab", exclude_input=True).from_notebook_node(notebook)[0]
    own = re.sub(r"<script(?s:.*?)</script>", "", lab)  # they are fetched from elsewhere
    (tmp_path / "lab.html").write_text(own + WIDTHS, "utf-8")
    dom, requests = visit(tmp_path / "lab.html", tmp_path, "--window-size=1280,900")
    assert not requests
    return json.loads(html.unescape(re.search("<title>(.*?)</title>", dom)[1]))


AXE = """<script>%s</script><script>
document.querySelectorAll("details").forEach((part) => { part.open = true; });
axe.run({resultTypes: ["violations"]}).then((found) => {
  const broken = found.violations.map((rule) => [rule.id, rule.nodes[0].html.slice(0, 200)]);
  parent.postMessage(JSON.stringify({width: name, violations: broken}), "*");
});
</script>"""
GATHER = """<body><script>
addEventListener("message", (said) => {
  document.body.append(Object.assign(document.createElement("pre"), {textContent: said.data}));
});
</script>%s"""


def violations(page, tmp_path):
    """What axe finds on a page with all parts unfolded: width -> rules broken, and where."""
    script = files("axe_core_python").joinpath("axe.min.js").read_text("utf-8")
    read = re.sub("<meta[^>]*Content-Security-Policy[^>]*>", "", page.read_text("utf-8"))
    axe = AXE % script.replace("</script", "<\\/script")  # the policy lets no script run
    (tmp_path / "with-axe.html").write_text(read.replace("</body>", axe + "</body>"), "utf-8")
    frames = [
        f'<iframe name="{wide}" src="with-axe.html" width="{wide}" height="900"></iframe>'
        for wide in (1280, 390)
    ]
    (tmp_path / "axe.html").write_text(GATHER % "".join(frames), "utf-8")
    dom, _ = visit(tmp_path / "axe.html", tmp_path, "--virtual-time-budget=60000")
    said = [json.loads(html.unescape(one)) for one in re.findall("<pre>(.*?)</pre>", dom, re.S)]
    assert len(said) == len(frames), "axe has not come to its end"
    return {one["width"]: one["violations"] for one in said if one["violations"]}
