"""A run folder: what a cross-validation leaves behind."""

import csv
import io
import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from napari_harm3.artifacts import numbered, write_bytes, write_json, write_text
from napari_harm3.config import read_toml, to_plain, write_toml
from napari_harm3.errors import (
    Harm3Error,
    ModelError,
    Stopped,
    TrainingError,
    sentence,
)
from napari_harm3.models.checkpoint import ABOUT, read_about
from napari_harm3.models.registry import model_entry
from napari_harm3.notices import RESEARCH_ONLY
from napari_harm3.training.config import RunConfig
from napari_harm3.training.held_out import read_held_out
from napari_harm3.training.metrics import cross_validated

PACKAGES = ("napari-harm3", "torch", "timm", "numpy", "accelerate", "scikit-learn")
STOP = "stop"
SOURCE = "source.json"
REFIT = "refit"
CROPS = {
    "none": "centred on the scanned box, never on an annotation",
    "center": "centred on the body, never on an annotation",
    "foreground": "filled by the body, never centred on an annotation",
    "annotation": "**cropped around the annotation, which tells the model where the "
    "lesion is: the figures above are too good, and it cannot be asked about a case**",
}
"""What the model card says of each crop."""

REFIT_NOTE = """\
* This network was fitted once more, on every case; the figures above are those of
  the cross-validation, since no case is left to measure it on.
"""


def open_run(run: Path, config: RunConfig, *, resume: bool) -> None:
    """Make a run folder, or check that it is the one to go on with.

    Raises
    ------
    TrainingError
        If it holds a run and ``resume`` is not set, or that run's configuration is
        another one.
    """
    toml = run / "run.toml"
    if not toml.exists():
        run.mkdir(parents=True, exist_ok=True)
        write_toml(toml, config)
    elif not resume:
        raise TrainingError(
            f"{run.name} holds a run already: add --resume to go on with it, or choose "
            "another folder."
        )
    elif differing := _differing(
        to_plain(read_toml(toml, RunConfig)), to_plain(config), ""
    ):
        raise TrainingError(
            f"{run.name} was begun with another {differing[0]}: use its run.toml "
            "(--config), or choose another folder."
        )
    write_json(run / "environment.json", environment())
    begin(run)


def begin(folder: Path, **about: Any) -> None:
    """Note that this process works in a folder from now on; an old `STOP` is void."""
    (folder / STOP).unlink(missing_ok=True)
    append_event(folder, {"kind": "begun", "pid": os.getpid(), **about})


@contextmanager
def end_noted(folder: Path) -> Iterator[None]:
    """Note in a folder why the work in it ended before it was done."""
    try:
        yield
    except (Harm3Error, OSError) as error:
        kind = "stopped" if isinstance(error, Stopped) else "failed"
        append_event(folder, {"kind": kind, "text": sentence(error)})
        raise
    except (GeneratorExit, KeyboardInterrupt):  # whoever asked for events has gone
        append_event(folder, {"kind": "stopped", "text": "Training stopped."})
        raise


def environment() -> dict[str, Any]:
    """Return what a run was made with; no host, no path."""
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        **{package: version(package) for package in PACKAGES},
    }


def remember_cohort(run: Path, cohort: Path, work: Path | None) -> None:
    """Note where a run's cases lie, seen from the run folder."""
    here = run.resolve()
    write_json(
        run / SOURCE,
        {
            "cohort": os.path.relpath(cohort.resolve(), here),
            "work": None if work is None else os.path.relpath(work.resolve(), here),
        },
    )


def remembered_cohort(run: Path) -> tuple[Path, Path | None]:
    """Return the cohort table of a run, and its folder of things made once.

    Raises
    ------
    ModelError
        If the folder is no run, or its cohort is no longer where it was.
    """
    try:
        source = json.loads((run / SOURCE).read_text(encoding="utf-8"))
        cohort, work = run / source["cohort"], source["work"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{run.name} does not say which cohort it was trained on ({SOURCE}): only "
            "a run folder can be fitted again, not an exported model."
        ) from error
    if not cohort.exists():
        raise ModelError(
            f"The cohort of {run.name}, {source['cohort']} seen from there, is gone: "
            "put it back, or export without --refit."
        )
    return cohort.resolve(), None if work is None else (run / work).resolve()


def open_refit(run: Path) -> None:
    """Make the folder of the network that is fitted on every case of a run.

    Raises
    ------
    ModelError
        If the run was not trained to its end.
    """
    if not (run / "MODEL_CARD.md").exists():
        raise ModelError(f"{run.name} was not trained to its end: resume it first.")
    (run / STOP).unlink(missing_ok=True)
    folder = run / REFIT
    folder.mkdir(exist_ok=True)
    for name in ("run.toml", "environment.json"):
        write_bytes(folder / name, (run / name).read_bytes())
    card = (run / "MODEL_CARD.md").read_bytes()
    write_bytes(folder / "MODEL_CARD.md", card + REFIT_NOTE.encode())


def check_cases(run: Path, case_ids: Sequence[str]) -> None:
    """Refuse to go on with other cases than a run was trained on.

    Raises
    ------
    TrainingError
        Naming one.
    ModelError
        If ``folds.csv`` is missing or damaged.
    """
    try:
        with (run / "folds.csv").open(newline="", encoding="utf-8") as stream:
            known = {row["case_id"] for row in csv.DictReader(stream, strict=True)}
    except (OSError, LookupError, ValueError, csv.Error) as error:
        raise ModelError(
            f"{run.name}/folds.csv cannot be read: copy it again, or train the run "
            "again."
        ) from error
    if other := sorted(known ^ set(case_ids)):
        raise TrainingError(
            f"{run.name} was trained on other cases than the cohort has now, first "
            f"{other[0]}: train it again."
        )


def write_folds(run: Path, folds: Sequence[tuple[str, int]]) -> None:
    """Write ``folds.csv``.

    Raises
    ------
    TrainingError
        If the run was begun with other cases or folds.
    """
    path, header = run / "folds.csv", ("case_id", "fold")
    text = _csv_text(header, sorted(folds, key=lambda row: (row[1], row[0])))
    if path.exists() and path.read_bytes() != text.encode():
        raise TrainingError(
            f"{run.name} was begun with other cases or folds than the cohort table "
            "has now: choose another folder."
        )
    write_text(path, text)


def append_event(run: Path, event: Mapping[str, Any]) -> None:
    """Append an event to ``events.jsonl``, which panels follow, as one line."""
    line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **event}
    with (run / "events.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")


def write_results(run: Path, left_out: Mapping[str, str]) -> dict[str, Any]:
    """Gather the folds' held-out predictions; write and return the metrics."""
    rows = [row for folder in fold_folders(run) for row in _predicted(folder)]
    header = ("case_id", "fold", "pcr", "probability", "threshold")
    write_text(run / "predictions.csv", _csv_text(header, rows))
    metrics = evaluate_run(run) | {"left_out": dict(left_out)}
    write_json(run / "metrics.json", metrics)
    return metrics


def evaluate_run(run: Path) -> dict[str, Any]:
    """Return the metrics of a run, from its ``predictions.csv``.

    Raises
    ------
    ModelError
        If the run was not trained to its end, or the file is damaged.
    """
    return cross_validated(read_held_out(run).folds)


def measured_again(run: Path) -> dict[str, Any]:
    """Return the metrics of a run, measured anew, and who was left out as before.

    ``metrics.json`` follows where it says something else and may be written.

    Raises
    ------
    ModelError
        As `evaluate_run` does.
    """
    path, metrics = run / "metrics.json", evaluate_run(run)
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
        left_out = earlier["left_out"]
    except (OSError, ValueError, LookupError, TypeError):
        earlier, left_out = None, {}
    metrics["left_out"] = left_out
    if metrics != earlier:
        with suppress(OSError):  # a run that may only be read is measured all the same
            write_json(path, metrics)
    return metrics


def origin_of(run: Path) -> dict[str, Any]:
    """Return a fold's JSON for what it says of the data that the run learned from.

    Raises
    ------
    ModelError
        If no fold is finished, or its JSON lacks ``trained_on`` and the like.
    """
    folders = fold_folders(run)
    if not folders:
        raise ModelError(f"{run.name} has no finished fold: train it first.")
    about = read_about(folders[0])
    needed = {"trained_on": str, "made_up": bool, "untrained_encoder": bool}
    for name, kind in needed.items():
        if not isinstance(about.get(name), kind):
            raise ModelError(
                f"{run.name}/{folders[0].name}/{ABOUT} has no good '{name}': copy the "
                "run again, or train it again."
            )
    return about


def fold_folders(run: Path) -> list[Path]:
    """Return the folders of the folds, in their order."""
    return numbered(run, "fold-")


def write_card(
    run: Path, origin: Mapping[str, Any], metrics: Mapping[str, Any]
) -> None:
    """Write ``MODEL_CARD.md``."""
    config = read_toml(run / "run.toml", RunConfig)
    auc, (low, high) = metrics["auc"], metrics["auc"]["ci95"]
    folds = len(fold_folders(run)) // config.repeats  # the table's win over the asked
    made_up = "**made-up patients (phantom)**" if origin["made_up"] else "patients"
    seen, inputs = _inputs(config, origin)
    card = f"""# {config.method} ({config.size})

Predicts pathological complete response (pCR, ypT0N0) of head-and-neck cancer after
neoadjuvant chemo-immunotherapy from {seen}.
**{RESEARCH_ONLY}**

* Trained on: {origin["trained_on"]}, {metrics["n"]} {made_up},
  {metrics["prevalence"]:.1%} pCR.
* Measured: {folds}-fold cross-validation by patient, AUC {_round(auc["mean"])}
  (95 % CI {_round(low)} to {_round(high)}); always saying "no pCR" has
  an accuracy of {metrics["majority_acc"]:.3f}.
{inputs}
* Known limits: one cohort; no external validation.
"""
    write_text(run / "MODEL_CARD.md", card)


def _inputs(config: RunConfig, origin: Mapping[str, Any]) -> tuple[str, str]:
    """Return what a method looks at, in a few words and as lines of the card."""
    looked_at = model_entry(config.method).modalities
    seen, lines = [], []
    if "mri" in looked_at:
        volumes, registered = config.inputs.mri, config.inputs.mri.register != "none"
        seen.append("MRI before and after treatment")
        lines.append(
            f"""* Volumes: T1 with contrast and T2, before and after therapy,\
{"" if registered else " not"} registered, on a grid of
  {volumes.size} voxels of {volumes.spacing_mm} mm (z, y, x),
  {CROPS[volumes.crop]}."""
        )
    if "wsi" in looked_at:
        patches, untrained = config.inputs.patches, origin["untrained_encoder"]
        seen.append("the biopsy slide")
        lines.append(
            f"""* Slide: patches of {patches.patch} pixels at {patches.mpp} microns;
  features: {_encoder(origin["features"])}{", untrained" if untrained else ""}."""
        )
    if "clinical" in looked_at:
        seen.append("clinical columns")
        lines.append(f"* Clinical columns: {', '.join(config.inputs.clinical)}.")
    if not seen:
        seen.append("how often it comes, and nothing of the case")
        lines.append("* Inputs: none.")
    return " and ".join(seen), "\n".join(lines)


def _encoder(features: Mapping[str, Any]) -> str:
    """Say what made the features that a run learned from."""
    return features["encoder"] or "given files" if features else "none"


def _predicted(folder: Path) -> list[tuple[object, ...]]:
    """Return the rows that a fold adds to ``predictions.csv``."""
    about = read_about(folder)
    try:
        return [
            (
                row["case_id"],
                about["fold"],
                "" if row["pcr"] is None else row["pcr"],
                row["probability"],
                about["threshold"],
            )
            for row in about["predictions"]
        ]
    except (KeyError, TypeError) as error:
        raise ModelError(
            f"{folder.parent.name}/{folder.name}/{ABOUT} has no good predictions: "
            "remove that file and resume the run."
        ) from error


def _round(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"


def _differing(one: Any, other: Any, name: str) -> list[str]:
    """Return the names of the fields in which two configurations differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = [*one, *(key for key in other if key not in one)]
        return [
            found
            for key in keys
            for found in _differing(one.get(key), other.get(key), f"{name}.{key}")
        ]
    return [] if one == other else [name.lstrip(".")]


def _csv_text(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
