"""A model to give away: its networks and recipe, and no case's name."""

import shutil
from pathlib import Path

from napari_harm3.artifacts import atomic_path, sha256_of, write_json
from napari_harm3.config import to_plain, write_toml
from napari_harm3.errors import ModelError
from napari_harm3.inference.folder import RECIPE
from napari_harm3.inference.predictor import Predictor
from napari_harm3.models.checkpoint import ABOUT, WEIGHTS, read_about
from napari_harm3.training.run import fold_folders

PRIVATE = ("predictions",)
"""Keys of a fold's JSON that name patients; they stay with the run."""


def check_empty(out: Path) -> None:
    """Refuse to write a model over something else.

    Raises
    ------
    ModelError
        If the folder holds anything.
    """
    out = out.resolve()
    if out.exists() and any(out.iterdir()):
        raise ModelError(f"{out.name} is not empty: choose another folder.")


def export_model(run: Path, out: Path) -> None:
    """Write one model folder to give away: networks and recipe.

    No case's name and no path of this machine goes with it.

    Raises
    ------
    ModelError
        If the run has no finished fold, its weights are not those that were saved, or
        the folder is not empty.
    """
    model = Predictor.load(run, "cpu")
    out = out.resolve()  # ``.`` has no name
    check_empty(out)
    temporary = out.with_name(f".{out.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        _gather(model, temporary)
        out.mkdir(exist_ok=True)
        # Without its recipe, which comes last, a folder is no model.
        for one in sorted(temporary.iterdir(), key=lambda one: one.name == RECIPE):
            one.rename(out / one.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _gather(model: Predictor, folder: Path) -> None:
    """Write all that is given away of a model into a new folder."""
    run, config = model.folder, model.config.without_paths()
    for path in fold_folders(run):
        target = folder / path.name
        target.mkdir(parents=True)
        _copy(path / WEIGHTS, target / WEIGHTS)
        about = {k: v for k, v in read_about(path).items() if k not in PRIVATE}
        if sha256_of(target / WEIGHTS) != about["sha256"]:
            raise ModelError(
                f"{run.name}/{path.name}/{WEIGHTS} is not the file that was saved (its "
                "SHA-256 differs): copy it again, or train it again."
            )
        write_json(target / ABOUT, about | {"config": to_plain(config)})
    write_toml(folder / RECIPE, config)
    for name in ("MODEL_CARD.md", "environment.json"):
        if (run / name).exists():
            _copy(run / name, folder / name)
    write_json(
        folder / "model.json",
        {
            "method": config.method,
            "size": config.size,
            "trained_on": model.trained_on,
            "made_up": model.made_up,
            "folds": model.folds,
            "requires": list(model.requires),
            "features": dict(model.about["features"]),
        },
    )


def _copy(source: Path, target: Path) -> None:
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
