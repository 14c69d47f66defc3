"""Where the tracking plan of a dataset is."""

from pathlib import Path

from mctlib.contract import ParameterError, nearest
from mctlib.sources.data_yaml import read_dataset
from mctlib.sources.project import plan_yaml, project_root, yaml_of


def plan_of(name: str) -> tuple[Path, str]:
    """A plan, by its dataset or by its own file, and the dataset ("": there is none).

    Raises ParameterError: there is no such plan.
    """
    root = project_root()
    if Path(name).name.startswith("plan."):
        dataset = Path(name).name.removeprefix("plan.").removesuffix(".yaml")
        path: Path | None = Path(name)
    else:
        dataset, path = name, root / f"params/plan.{name}.yaml"
    has_data = (root / f"params/data.{dataset}.yaml").is_file()
    if has_data and path != Path(name):
        described = read_dataset(yaml_of(dataset, root))
        path = plan_yaml(described.name, described.plan, root)
    if path is None or not path.is_file():
        known = [p.name[5:-5] for p in sorted((root / "params").glob("plan.*.yaml"))]
        near = nearest(dataset, known) or f" Its plans are: {', '.join(known) or 'none yet'}."
        raise ParameterError(f'plan: there is no plan "{name}" in params/ of {root}.{near}')
    return path, dataset if has_data else ""
