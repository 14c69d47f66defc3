"""A real browser, without a window."""

import json
import shutil
import subprocess

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)


def visit(page, tmp_path):
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
