"""What the cases of a run are, so that no other label or image is mixed in later."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_harm3.artifacts import write_json
from napari_harm3.cohort.case import ROLES
from napari_harm3.data.prepare import PreparedCase
from napari_harm3.errors import ModelError, TrainingError

CASES = "cases.json"
"""For each case its ``pcr``, of its ``files`` by column all they are known by, and its
``patient``, by the name of the first of that patient's cases."""


def keep_cases(
    run: Path,
    prepared: Sequence[PreparedCase],
    images: Collection[str] = ("mri", "wsi"),
) -> None:
    """Note what the cases of a run are, or check that they still are what they were.

    A run begun before this was noted is taken as it is now. Which cases there are is
    for ``folds.csv`` to say.

    Parameters
    ----------
    run, prepared
        The run's folder, and its cases as they are now.
    images
        Which may not change, of ``mri`` and ``wsi``: `ModelEntry.known_by`.

    Raises
    ------
    TrainingError
        Naming the first case that has another label or other files now.
    ModelError
        If ``cases.json`` is damaged.
    """
    first: dict[str, str] = {}
    for one in prepared:
        first.setdefault(one.case.patient, one.case.case_id)
    now = {
        one.case.case_id: _told(one) | {"patient": first[one.case.patient]}
        for one in prepared
    }
    if not (run / CASES).exists():
        write_json(run / CASES, now)
        return
    try:
        begun = json.loads((run / CASES).read_text(encoding="utf-8"))
        changes = {
            case_id: _change(begun[case_id], now[case_id], images)
            for case_id in sorted(begun.keys() & now.keys())
        }
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise _damaged(run) from error
    for case_id, change in changes.items():
        if change:
            raise TrainingError(
                f"{run.name} was begun with {change} of {case_id} than the cohort has "
                "now: put that back, or train again with a new --out."
            )


def patients_of(run: Path) -> dict[str, str]:
    """Return whose each case of a run is; a run of before does not say it.

    Raises
    ------
    ModelError
        If ``cases.json`` is damaged.
    """
    try:
        begun = json.loads((run / CASES).read_text(encoding="utf-8"))
        return {name: str(told.get("patient", name)) for name, told in begun.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        raise _damaged(run) from error


def _damaged(run: Path) -> ModelError:
    return ModelError(
        f"{run.name}/{CASES} cannot be read: copy it again, or train again with a new "
        "--out."
    )


def _told(one: PreparedCase) -> dict[str, Any]:
    files = {
        column: sorted({content, one.contents.get(column, content)})
        for column, content in one.sources.items()
    }
    return {"pcr": one.case.pcr, "files": files}


def _change(
    was: Mapping[str, Any], now: Mapping[str, Any], images: Collection[str]
) -> str:
    """Return what differs; a file that was only packed anew is the same."""
    if was["pcr"] != now["pcr"]:
        return "another label"
    before, after = (
        {
            column: contents
            for column, contents in one["files"].items()
            if ("mri" if column in ROLES else "wsi") in images
        }
        for one in (was, now)
    )
    alike = before.keys() == after.keys() and all(
        set(before[column]) & set(after[column]) for column in before
    )
    return "" if alike else "other files"
