"""The store of a dataset."""

from pathlib import Path


def store_of(name: str, root: str | Path = ".") -> Path:
    """The one store that a dataset has in a project."""
    (store,) = Path(root).glob(f"outputs/store/{name}.*.duckdb")
    return store
