"""`check`: a pack, a dataset, a tracking plan, or a batch of events."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mctlib.commands.loading import load_and_tell


class _Checks(click.Group):
    """What is no command of its own is a pack or a dataset to be checked."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands and not args[0].startswith("-"):
            name = Path(args[0]).name
            args = ["plan" if name.startswith("plan.") else "what", *args]
        return super().resolve_command(ctx, args)


@click.group(cls=_Checks, subcommand_metavar="PACK | DATASET | plan NAME | events FILE --plan NAME")
def check() -> None:
    """Check a PACK (a file), a DATASET (a name or file), a plan, or events; no notebook starts."""


@check.command(hidden=True)
@click.argument("what")
def what(what: str) -> None:
    """Check a PACK or a DATASET."""
    if not what.endswith((".yaml", ".yml")) or Path(what).name.startswith("data."):
        load_and_tell(what)
        return
    from mctlib.runner.pack import check_pack

    pack, _, reports = check_pack(what)
    names = ", ".join(report.name for report in reports)
    click.echo(f"{what} is good: {names} on {pack.dataset} as of {pack.as_of}.")


@check.command("plan")
@click.argument("name")
def check_the_plan(name: str) -> None:
    """Check the tracking plan of the dataset NAME: in itself, and against its data."""
    from mctlib.contract import DataError
    from mctlib.sources.dataset import open_log
    from mctlib.sources.plans import plan_of
    from mctlib.tracking_plan.check import check_plan
    from mctlib.tracking_plan.reading import read_plan

    path, dataset = plan_of(name)
    plan = read_plan(path)
    remarks = check_plan(plan, open_log(dataset) if dataset else None)
    for remark in remarks:
        if not remark.wrong:
            click.echo(f"{remark.kind}: {remark.sentence}")
    if wrong := [f"{path.name}: {r.kind}: {r.sentence}" for r in remarks if r.wrong]:
        raise DataError("\n".join(wrong))
    beside = "" if dataset else "; there is no dataset to hold it against"
    click.echo(f"{path} is good: {len(plan.micro_conversions)} micro-conversions{beside}.")


@check.command("events")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--plan", "name", required=True, help="Dataset whose plan it is, or the plan's file.")
@click.option(
    "--report", type=click.Path(path_type=Path), help="JSON report (default: FILE.report.json)."
)
def check_the_events(file: Path, name: str, report: Path | None) -> None:
    """Hold a batch of events (FILE, a JSON object a line) against a plan; exit code 1: violated."""
    import json

    from mctlib.sources.plans import plan_of
    from mctlib.tracking_plan.check import check_events
    from mctlib.tracking_plan.reading import read_plan

    found = check_events(file, read_plan(plan_of(name)[0]))
    report = report or file.with_name(f"{file.name}.report.json")
    report.write_text(json.dumps(found.report(), indent=1, ensure_ascii=False), "utf-8")
    click.echo("\n".join(found.lines_of_table()))
    click.echo(f"\n{report}")
    sys.exit(1 if found.violations else 0)
