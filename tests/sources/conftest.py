"""An empty project to write datasets into."""

from pathlib import Path

import pytest


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project to write into, as the working directory."""
    (tmp_path / "params").mkdir()
    monkeypatch.chdir(tmp_path)

    def write(yaml, name="x", **files):
        for path, content in files.items():
            Path(path.replace("__", ".")).write_bytes(
                content.encode() if isinstance(content, str) else content
            )
        Path(f"params/data.{name}.yaml").write_text(f"name: {name}\n{yaml}\n", encoding="utf-8")
        return name

    write.root = tmp_path
    return write
