"""What a user can ask about the paper's tables: make them on an own cohort."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_harm3.artifacts import write_json
from napari_harm3.cohort.table import Cohort, read_cohort
from napari_harm3.config import to_plain
from napari_harm3.errors import TrainingError
from napari_harm3.experiments.recipe import Table
from napari_harm3.jobs.cohort import work_folder
from napari_harm3.jobs.device import resolve_device
from napari_harm3.jobs.folds import fold_events
from napari_harm3.jobs.progress import Job, Progress, finished
from napari_harm3.jobs.training import prepare_trainable
from napari_harm3.training.config import Budget, RunConfig

if TYPE_CHECKING:
    from napari_harm3.data.prepare import PreparedCase
    from napari_harm3.experiments.permutation import Sanity
    from napari_harm3.experiments.recipe import Recipe
    from napari_harm3.report.comparison_rows import Comparison, MethodRow
    from napari_harm3.training.fold import FoldTask

SANITY = "sanity"
LEAST = 5
"""Cases of each class, below which a table would say nothing."""


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """What a table is made of."""

    cohort: Path
    out: Path
    """Holds a run folder for each method, and the table itself."""

    configs: Mapping[str, RunConfig]
    """The recipe of each method; folds, seed and inputs are those of all."""

    work: Path | None = None
    device: str = "auto"
    jobs: int = 1
    """Folds at once, of whatever method."""

    scheduler: str | None = None
    """Address of a running Dask cluster, which then trains the folds."""

    allow_external: bool = False


def reproduce(table: Table, asked: Reproduction, *, permutations: int = 0) -> Job:
    """Train every method of a table under the same folds, and write the table.

    Finished folds are kept, begun ones go on; so do runs that `harm3 train` began in
    these folders. A method that fails is missing from the table, which says why.

    Parameters
    ----------
    table
        ``table1`` or ``table2``.
    asked
        What it is made of.
    permutations
        Train each method on so many shuffles of the labels besides, of which nothing
        can be learned.
    """
    from napari_harm3.experiments.recipe import recipe_of
    from napari_harm3.training.run import begin, end_noted

    recipe = recipe_of(table, methods=tuple(asked.configs))
    asked.out.mkdir(parents=True, exist_ok=True)
    begin(asked.out, table=table, methods=list(recipe.methods))
    with end_noted(asked.out):
        yield from _reproduced(recipe, asked, permutations)


def _reproduced(recipe: "Recipe", asked: Reproduction, permutations: int) -> Job:
    from napari_harm3.experiments.comparison import compare
    from napari_harm3.experiments.recipe import OURS
    from napari_harm3.report.checklists import write_checklists
    from napari_harm3.report.comparison import write_comparison
    from napari_harm3.training.run import append_event

    cohort = read_cohort(asked.cohort, allow_external=asked.allow_external)
    asked = replace(asked, device=resolve_device(asked.device))
    prepared, left_out = yield from _prepared(asked, cohort)
    runs = {name: asked.out / name for name in recipe.methods}
    failed = yield from _trained(asked, cohort, prepared, runs, left_out)
    if OURS in failed:  # all others are finished, and kept
        raise TrainingError(failed[OURS])
    recipe = replace(
        recipe, methods=tuple(name for name in recipe.methods if name not in failed)
    )
    sanity = yield from _sane(asked, cohort, prepared, recipe.methods, permutations)
    yield Progress(stage="table", of=1, text="statistics and figures")
    repeats = asked.configs[recipe.methods[0]].repeats
    comparison = compare(
        recipe, runs, cohort, repeats=repeats, notes=_notes(left_out, failed, sanity)
    )
    files = write_comparison(asked.out, comparison)
    files |= write_checklists(runs[OURS], asked.out)
    result = {
        **_about(comparison),
        "rows": [_row(row) for row in comparison.rows],
        "failed": failed,
        "sanity": None if sanity is None else sanity.to_plain(),
    }
    # What is printed says where files are; what is kept may be given away.
    kept = _places(files, runs, lambda path: path.relative_to(asked.out).as_posix())
    write_json(asked.out / f"{recipe.name}.json", kept | result)
    append_event(asked.out, {"kind": "done", "text": "done"})
    told = _places(files, runs, lambda path: str(path.resolve()))
    yield finished("reproduce", told | result)


def _places(
    files: Mapping[str, Path], runs: Mapping[str, Path], name: Callable[[Path], str]
) -> dict[str, Any]:
    return {
        "table": name(files["csv"]),
        "files": {kind: name(path) for kind, path in files.items()},
        "runs": {method: name(run) for method, run in runs.items()},
    }


def _about(comparison: "Comparison") -> dict[str, Any]:
    """Return what must not be parted from the rows."""
    names = ("title", "cohort", "made_up", "untrained_encoder", "reference")
    told = {name: getattr(comparison, name) for name in names}
    return told | {"notes": [*comparison.caveats, *comparison.notes]}


def _row(row: "MethodRow") -> dict[str, Any]:
    """Return a row; the reported figures stand by the metric of ours they belong to."""
    from napari_harm3.report.comparison_tables import PAPER

    said = row.reported
    return {
        "method": row.name,
        "title": row.title,
        "inputs": row.inputs,
        "metrics": dict(row.metrics),
        "reported": None
        if said is None
        else {
            "table": said.table,
            "caveats": list(said.caveats),
            **{ours: getattr(said, theirs) for ours, theirs in PAPER.items()},
        },
        "against": None if row.against is None else to_plain(row.against),
    }


def configs_of(
    table: Table,
    base: RunConfig,
    *,
    beyond: bool,
    methods: Sequence[str],
    budget: Budget,
) -> dict[str, RunConfig]:
    """Return the recipe of each method of a table, with what is special in ``base``.

    Raises
    ------
    ModelError
        If there is no such method.
    ConfigError
        If what is special does not go together with a method.
    """
    from napari_harm3.experiments.carrying import carried_over
    from napari_harm3.experiments.recipe import recipe_of

    recipe = recipe_of(table, beyond=beyond, methods=methods)
    return {
        name: carried_over(base, method=name, size=base.size, budget=budget)
        for name in recipe.methods
    }


def _prepared(
    asked: Reproduction, cohort: Cohort
) -> Generator[Progress, None, "tuple[list[PreparedCase], dict[str, str]]"]:
    """Prepare the cases that have what every method needs."""
    from napari_harm3.training.cross_validation import dealt, trainable

    configs = list(asked.configs.values())
    cases, left_out = trainable(cohort, *configs)
    check_enough([case.pcr for case in cases])
    dealt(cases, configs[0])
    by_name = yield from prepare_trainable(
        cases,
        configs,
        run=asked.out,
        work=work_folder(asked.cohort, asked.work),
        device=asked.device,
        workers=asked.jobs,
    )
    for case_id, why in left_out.items():
        yield Progress(stage="training", warning=f"{case_id} {why}")
    return [by_name[case.case_id] for case in cases], left_out


def check_enough(labels: Sequence[int | None]) -> None:
    """Refuse a cohort on which no method can be told from another.

    Raises
    ------
    TrainingError
        If a class has fewer than `LEAST` cases.
    """
    for value, name in ((1, "pCR"), (0, "no pCR")):
        count = sum(label == value for label in labels)
        if count < LEAST:
            raise TrainingError(
                f"Only {count} cases with {name} have all that the methods need; a "
                f"table needs {LEAST} at least. Add cases, or complete some."
            )


def _trained(
    asked: Reproduction,
    cohort: Cohort,
    prepared: "Sequence[PreparedCase]",
    runs: Mapping[str, Path],
    left_out: Mapping[str, str],
) -> Generator[Progress, None, dict[str, str]]:
    """Train every fold of every method; conclude each run, return why others failed."""
    from napari_harm3.training.cross_validation import conclude, plan
    from napari_harm3.training.run import open_run, remember_cohort

    plans: dict[str, list[FoldTask]] = {}
    for name, run in runs.items():
        config = asked.configs[name]
        open_run(run, config, resume=True)
        remember_cohort(run, asked.cohort, asked.work)
        # All are planned before any is trained: what is wrong is said at once.
        plans[name] = plan(cohort, prepared, config, run, device=asked.device)
    tasks = [task for planned in plans.values() for task in planned]
    events = fold_events(
        tasks, jobs=asked.jobs, scheduler=asked.scheduler, tolerant=True
    )
    failed = yield from _told(events, len(tasks))
    for name, planned in plans.items():
        if name not in failed:
            conclude(planned, left_out)
    return failed


def _told(
    events: Iterator[dict[str, Any]], folds: int
) -> Generator[Progress, None, dict[str, str]]:
    """Tell events as progress; the bar counts folds. Return why methods failed."""
    done: dict[tuple[str, int], float] = {}
    failed: dict[str, str] = {}
    for event in events:
        method = str(event["run"])
        key = (method, event["fold"])
        if event["kind"] == "epoch":
            done[key] = event["epoch"] / event["epochs"]
        elif event["kind"] == "fold":
            done[key] = 1
        elif event["kind"] == "failed":
            failed[method] = event["text"]
        elif event["kind"] == "step":
            continue
        text = f"{method}, fold {event['fold']}"
        yield Progress(
            stage="training",
            step=int(sum(done.values())),
            of=folds,
            text=text,
            data=event,
            warning=f"{method}: {event['text']}"
            if event["kind"] in ("warning", "failed")
            else None,
        )
    return failed


def _sane(
    asked: Reproduction,
    cohort: Cohort,
    prepared: "Sequence[PreparedCase]",
    methods: Sequence[str],
    permutations: int,
) -> Generator[Progress, None, "Sanity | None"]:
    """Train on shuffled labels; return what came of it, or None if not asked."""
    from napari_harm3.experiments.permutation import Sanity, chance_bound, permuted
    from napari_harm3.training.run import evaluate_run

    if not permutations:
        return None
    found: dict[str, list[float]] = {name: [] for name in methods}
    for number in range(permutations):
        seed = asked.configs[methods[0]].seed + number
        shuffled = permuted(prepared, seed=seed)
        runs = {name: asked.out / SANITY / str(number) / name for name in methods}
        failed = yield from _trained(asked, cohort, shuffled, runs, {})
        for name, run in runs.items():
            auc = None if name in failed else evaluate_run(run)["auc"]["mean"]
            if auc is not None:
                found[name].append(auc)
    labels = [one.case.pcr or 0 for one in prepared]
    sanity = Sanity(auc=found, bound=chance_bound(labels))
    for name in sanity.outside:
        yield Progress(
            stage="sanity",
            warning=f"{name} finds something in shuffled labels: do not trust it.",
        )
    for name in sanity.unmeasured:
        yield Progress(
            stage="sanity",
            warning=f"{name} gave no AUC on shuffled labels: that check says nothing.",
        )
    return sanity


def _notes(
    left_out: Mapping[str, str],
    failed: Mapping[str, str],
    sanity: "Sanity | None",
) -> list[str]:
    notes = [f"{name} is missing: {why}" for name, why in failed.items()]
    if left_out:
        notes.append(
            f"{len(left_out)} cases are left out of every row, so that all methods see "
            "the same."
        )
    if sanity is not None:
        notes += sanity.notes
    return notes
