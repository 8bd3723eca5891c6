"""The longer parts of an explanation: they say how far they are, and are kept."""

from collections.abc import Generator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_harm3.artifacts import read_record, sha256_of, write_json
from napari_harm3.config import recipe_hash, to_plain
from napari_harm3.jobs.progress import Progress
from napari_harm3.report.explanation_folder import CHECKS

if TYPE_CHECKING:
    from napari_harm3.data.prepare import PreparedCase
    from napari_harm3.explain.asked import AskedCase
    from napari_harm3.explain.config import ExplainRequest
    from napari_harm3.inference.predictor import Predictor

Result = dict[str, Any]

OCCLUSION = "occlusion.npz"
"""What covering cell by cell gave: the long part of these maps."""


@dataclass(frozen=True, kw_only=True)
class Recipes:
    """What parts of an explanation were made of; of equal ones none is made again."""

    networks: str
    """Weights and sources: what the logit depends on."""

    maps: str
    """The same, and how the model's own maps are made."""

    whole: str
    """The same, all else that is asked, and the annotations."""


def recipes(
    predictor: "Predictor", prepared: "PreparedCase", request: "ExplainRequest"
) -> Recipes:
    """Return what an explanation is made of."""
    from napari_harm3.data.prepare import file_stamp
    from napari_harm3.models.checkpoint import read_about
    from napari_harm3.training.run import fold_folders

    networks = {
        "version": version("napari-harm3"),
        "weights": [
            read_about(path)["sha256"] for path in fold_folders(predictor.folder)
        ],
        "sources": dict(prepared.sources),
        # The table has a say in both: resolution decides where the patches lie.
        "bags": [sha256_of(path) for path in prepared.bags],
        "clinical": predictor.clinical_of(prepared.case),
    }
    maps = networks | {"maps": to_plain(request.maps)}
    masks = {role: file_stamp(path) for role, path in prepared.case.masks.items()}
    whole = maps | {"request": to_plain(request), "masks": masks}
    return Recipes(
        networks=recipe_hash(networks), maps=recipe_hash(maps), whole=recipe_hash(whole)
    )


def occluded(
    asked: "AskedCase", out: Path, made_of: Recipes
) -> Generator[Progress, None, None]:
    """Cover the volumes cube by cube, unless that was done; add the maps."""
    from napari_harm3.explain.other_maps import (
        occlusion_steps,
        read_coarse,
        write_coarse,
    )

    cubes, name = asked.request.occlusion, asked.explanation.case_id
    assert cubes is not None
    network, batch = asked.ensemble(), asked.inputs.batch
    path = out / OCCLUSION
    key = recipe_hash({"of": made_of.networks, "cubes": to_plain(cubes)})
    coarse = read_coarse(path, key)
    if coarse is None:
        for step, coarse in occlusion_steps(network, batch, cubes):  # noqa: B007 - the last one is it
            yield Progress(stage="occlusion", step=step.step, of=step.of, text=name)
        write_coarse(path, coarse or {}, key)
    asked.add("occlusion", coarse or {})


def checked(
    asked: "AskedCase", out: Path, made_of: Recipes
) -> Generator[Progress, None, Result | None]:
    """Try the model's own maps as was asked; each trial is kept when it is done."""
    from napari_harm3.explain.checks import maps_of, randomisation, trial

    path, request, batch = out / CHECKS, asked.request, asked.inputs.batch
    done = _kept(path, made_of.maps)
    for name in request.checks:
        if name in done:
            continue
        if name == "randomisation":
            networks, maker = asked.networks(), maps_of(request.maps)
            steps = randomisation(networks, batch, maker)
        else:
            steps = trial(asked.ensemble(for_target=True), batch, asked.coarse())
        for step in steps:
            if step.found is None:
                yield Progress(stage=name, step=step.step, of=step.of, text=step.text)
            else:
                done[name] = step.found
        write_json(path, done)
    return done if request.checks else None


def _kept(path: Path, key: str) -> Result:
    """Return the finished trials of the same map, if there are any."""
    found = read_record(path)
    return found if found.get("key") == key else {"key": key}
