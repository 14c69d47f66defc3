"""Re-execute notebooks on the demo and keep only the text of their finding: `make notebooks`.

`python -m tests.refresh_notebooks funnel roi` does so with these alone.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from mctlib.contract import one_of

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def asked(names: Sequence[str]) -> list[Path]:
    """The notebooks of these names; all of them where none is given."""
    known = {path.stem: path for path in sorted(NOTEBOOKS.glob("*.ipynb"))}
    for name in names:
        one_of("notebook", name, known)
    return [known[name] for name in names or known]


def main() -> None:
    """Execute, trim, write back."""
    for path in asked(sys.argv[1:]):
        print(f"{path.name} ...", flush=True)
        notebook = nbformat.read(path, as_version=4)
        NotebookClient(
            notebook,
            timeout=600,
            kernel_name="python3",
            resources={"metadata": {"path": str(NOTEBOOKS)}},
        ).execute()
        for cell in notebook.cells:
            cell.metadata = {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
            if cell.cell_type == "code" and "finding" not in cell.metadata.get("tags", []):
                cell.outputs, cell.execution_count = [], None
            for output in cell.get("outputs", []):
                output.metadata = {}  # holds the finding's sentences once more, for a run
        notebook.metadata = {k: notebook.metadata[k] for k in ("title", "kernelspec")} | {
            "language_info": {"name": "python"}
        }
        nbformat.write(notebook, path)


if __name__ == "__main__":
    main()
