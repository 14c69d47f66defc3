"""People removed from a dataset: from its store now, from all it loads by the list `forgotten`."""

from pathlib import Path

from mctlib.contract import DataError
from mctlib.eventlog.event_log import EventLog
from mctlib.sources import forgotten
from mctlib.sources.dataset import described_as, open_log, salt_of
from mctlib.sources.project import store_folder


def forget(dataset: str | Path, file: Path) -> EventLog:
    """Remove people from a dataset's store, and from all that will be loaded into it.

    Their rows go in whatever id of theirs they stand, as those without consent do.

    Parameters
    ----------
    dataset : str or Path
        As `open_log` takes it.
    file : Path
        Their ids, one a line.

    Returns
    -------
    EventLog
        Without them.

    Raises
    ------
    DataError
        The file holds no ids; the data cannot be loaded: then the store is removed all the same.
    """
    root, described = described_as(dataset)
    salted, ignore_case = salt_of(described, root), described.ids_ignore_case
    new = forgotten.add(described.name, root, salted, file, ignore_case=ignore_case)
    # nothing of theirs outlives this call, even where the sources cannot be read any more
    for path in store_folder(root).glob(f"{described.name}.*"):
        path.unlink()
    try:
        return open_log(dataset)
    except DataError as error:
        raise DataError(
            f"{error} The store was removed, and the next load leaves out who is named in {file}"
            f" ({len(new)})."
        ) from None
