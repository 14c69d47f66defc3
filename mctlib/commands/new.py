"""`new`: first drafts, of a dataset's YAML, its tracking plan, a pack; a plan as JSON Schema."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def new() -> None:
    """Begin something new."""


@new.command()
@click.argument("name")
@click.argument("files", nargs=-1, required=True)
def data(name: str, files: tuple[str, ...]) -> None:
    """Draft params/data.NAME.yaml from what stands in FILES."""
    path = draft_data(name, files)
    click.echo(f"{path} is drafted. Read it, correct it, then: python -m mctlib load {name}")


def draft_data(name: str, files: tuple[str, ...]) -> Path:
    """Write params/data.NAME.yaml, and say what it asks."""
    from mctlib.sources.draft import draft
    from mctlib.sources.project import project_root

    path = _free(project_root() / "params" / f"data.{name}.yaml")
    drafted = draft(name, list(files))
    path.write_text(drafted, "utf-8")
    for line in drafted.splitlines():
        if "# left out: " in line or "# not found: " in line:
            click.echo(line.strip("# "))
    return path


@new.command("pack")
@click.argument("name")
def new_pack(name: str) -> None:
    """Draft the pack params/NAME.yaml: the notebooks, asked what the dataset NAME can answer."""
    path = draft_pack(name)
    click.echo(f"{path} is drafted. Read it, correct it, then: python -m mctlib run {path}")


def draft_pack(name: str) -> str:
    """Write params/NAME.yaml, and say what of the data it cannot use."""
    from mctlib.runner.draft import draft_of_pack
    from mctlib.sources.dataset import open_log
    from mctlib.sources.project import project_root, shown

    path = _free(project_root() / "params" / f"{name}.yaml")
    text, unused = draft_of_pack(open_log(name), f"python -m mctlib run {shown(path)}")
    path.write_text(text, "utf-8")
    for sentence in unused:
        click.echo(sentence)
    return shown(path)


def _free(path: Path) -> Path:
    """A path where no file is yet. Raises ParameterError: there is one."""
    from mctlib.contract import ParameterError

    if path.exists():
        raise ParameterError(f"{path} exists already; it is not overwritten.")
    return path


@new.command("plan")
@click.argument("name")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
def new_plan(name: str, files: tuple[Path, ...]) -> None:
    """Draft params/plan.NAME.yaml from plans of other tools (FILES), or from the dataset's events.

    FILES: a spreadsheet (CSV), Segment, Amplitude (CSV), Mixpanel's Lexicon, JSON Schema.
    """
    path = draft_plan(name, files)
    click.echo(f"{path} is drafted. Read it, fill it in, then: python -m mctlib check plan {name}")


def draft_plan(name: str, files: tuple[Path, ...] = ()) -> Path:
    """Write params/plan.NAME.yaml, and say what was read."""
    from mctlib.sources.dataset import open_log
    from mctlib.sources.project import project_root
    from mctlib.tracking_plan.draft import draft_of_files, draft_of_log

    path = _free(project_root() / "params" / f"plan.{name}.yaml")
    if files:
        text, read = draft_of_files(name, files)
        click.echo("\n".join(line for file, said in zip(files, read) for line in said.told(file)))
    else:
        text = draft_of_log(name, open_log(name))
    path.write_text(text, "utf-8")
    return path


@new.command()
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path))
def schemas(name: str, folder: Path) -> None:
    """Write the plan of the dataset NAME as JSON Schema, one file an event, into a new FOLDER."""
    import json
    from urllib.parse import quote

    from mctlib.sources.plans import plan_of
    from mctlib.tracking_plan.formats import json_schemas
    from mctlib.tracking_plan.reading import read_plan

    found = json_schemas(read_plan(plan_of(name)[0]))
    folder.mkdir(parents=True)
    for event, schema in found.items():
        text = json.dumps(schema, indent=2, ensure_ascii=False)
        (folder / f"{quote(event, safe=' ')}.json").write_text(text, "utf-8")
    click.echo(f"{len(found)} events are written to {folder}.")
