"""What maps agree with where the truth is known: the tables of docs/explanations.md.

    python benchmarks/known_truth.py OUT --cases 120 --folds 3
    python benchmarks/known_truth.py OUT --cases 160 --anatomy MRI --lesions MASKS

makes a cohort and trains HARM3 of size ``small`` on it, on its labels shuffled, and not
at all; explains the first cases by the fold that held each out, and prints the tables.
All is done by commands, as a user would; started again, it goes on where it was.
"""

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_harm3.config import write_toml
from napari_harm3.training.config import RunConfig

LEARNS_FROM = {
    "trained": "cohort.csv",
    "untrained": "cohort.csv",
    "shuffled labels": "shuffled.csv",
}
MAPS = {"model": "Grad-CAM", "occlusion": "occlusion"}
BASELINES = {
    "intensity": "bright tissue",
    "centre": "middle of the picture",
    "difference": "post minus pre",
}
MEASURES = {
    "pointing_game_half_cell": "pointing game, half a cell",
    "energy_gain": "energy gain",
    "auc": "ROC-AUC",
    "peak_distance_mm": "peak to lesion, mm",
}


def harm3(*arguments: object) -> None:
    command = [str(Path(sys.executable).with_name("harm3")), *map(str, arguments)]
    subprocess.run(command, check=True, stdout=sys.stderr)


def read(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def write(table: Path, rows: list[dict[str, str]]) -> None:
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def make_cohort(options: argparse.Namespace) -> Path:
    """Make the cohort, and tables of its shuffled labels and of its first cases."""
    folder = options.out / "cohort"
    implanted = (
        ["--anatomy", options.anatomy, "--lesions", options.lesions]
        if options.anatomy
        else []
    )
    harm3("phantom", folder, "--cases", options.cases, *implanted)
    cases = read(folder / "cohort.csv")
    labels = np.random.default_rng(options.seed).permutation([c["pcr"] for c in cases])
    shuffled = [c | {"pcr": label} for c, label in zip(cases, labels, strict=True)]
    write(folder / "shuffled.csv", shuffled)
    write(folder / "first-cohort.csv", cases[: options.explained])
    write(folder / "first-shuffled.csv", shuffled[: options.explained])
    return folder


def train(options: argparse.Namespace, name: str, table: Path) -> Path:
    """Train a model, or take one step over the cases that moves no weight."""
    run = options.out / name.replace(" ", "-")
    if (run / "metrics.json").exists():
        return run
    config = RunConfig.of("harm3", "small", folds=options.folds, seed=options.seed)
    if name == "untrained":
        still = replace(config.training, epochs=1, learning_rate=1e-12)
        config = replace(config, training=still)
    recipe = options.out / f"{run.name}.toml"
    write_toml(recipe, config)
    resume = ["--resume"] if run.exists() else []
    harm3("train", table, "--out", run, "--config", recipe, *resume)
    return run


def auc(run: Path) -> str:
    pooled = json.loads((run / "metrics.json").read_text(encoding="utf-8"))["auc"]
    low, high = pooled["ci95"]
    folds = [json.loads(fold.read_text()) for fold in run.glob("fold-*/best.json")]
    without = {
        said: np.mean([fold[f"auc_without_{name}"] for fold in folds])
        for name, said in {"wsi": "the slide", "mri": "the volumes"}.items()
    }
    lost = ", ".join(f"without {name} {value:.3f}" for name, value in without.items())
    return f"AUC {pooled['mean']:.3f} [{low:.3f}, {high:.3f}], {lost}"


def rows_of(folder: Path) -> dict[tuple[str, str], dict[str, str]]:
    """Return what a cohort's maps add up to, by map and measure."""
    return {
        (row["map"], row["measure"]): row
        for row in read(folder / "agreement-summary.csv")
        if row["label"] == "union" and row["stratum"] == "all"
    }


def line(title: str, found: Mapping[tuple[str, str], Any], kind: str) -> str:
    cells = [title]
    for measure in MEASURES:
        row, digits = found[kind, measure], 0 if measure.endswith("_mm") else 2
        if not row["mean"]:
            cells.append("no evidence")
            continue
        mean, low, high = (float(row[key]) for key in ("mean", "ci_low", "ci_high"))
        cells.append(f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--cases", type=int, default=120)
    parser.add_argument("--explained", type=int, default=30)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--anatomy", type=Path)
    parser.add_argument("--lesions", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    cohort = make_cohort(options)
    found = {}
    for name, table in LEARNS_FROM.items():
        run = train(options, name, cohort / table)
        maps = options.out / f"{run.name}-maps"
        harm3(
            "explain",
            run,
            cohort / f"first-{table}",
            "--out",
            maps,
            "--also",
            "occlusion",
        )
        found[name] = rows_of(maps)
        print(f"{name}: {auc(run)}", flush=True)
    chances = [float(found["trained"]["model", name]["chance"]) for name in MEASURES]
    heads = zip(MEASURES.values(), chances, strict=True)
    print(
        "| map |", " | ".join(f"{head} ({chance:.3g})" for head, chance in heads), "|"
    )
    print("|---|" + "---|" * len(MEASURES))
    for name, rows in found.items():
        for kind, title in MAPS.items():
            print(line(f"{title}, {name}", rows, kind))
    for kind, title in BASELINES.items():
        print(line(title, found["trained"], kind))


if __name__ == "__main__":
    main()
