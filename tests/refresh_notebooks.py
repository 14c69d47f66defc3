"""Re-execute every notebook on the demo and keep only the text of its finding: `make notebooks`."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def main() -> None:
    """Execute, trim, write back."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
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
