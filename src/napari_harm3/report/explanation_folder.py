"""The explanation folder, read: what it says of a case, and where its files lie.

It needs neither torch nor matplotlib, so that the window reads with it too.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ABOUT = "explanation.json"
AGREEMENT, FIGURE = "agreement.json", "figure.png"
ATTENTION, SLIDE_MAPS = "slide_attention.geojson", "slide_maps.geojson"
TOP_PATCHES = "top_patches.csv"
LINK, LINKS = "link.npz", "links.csv"
CHECKS, CHECKS_FIGURE = "checks.json", "checks.png"
ALSO_AGREEMENT, ALSO_FIGURE = "also_agreement.json", "also.png"

TRIALS = ("randomisation", "faithfulness")


def read_result(folder: Path) -> dict[str, Any] | None:
    """Return what ``--json`` prints of a whole explanation folder, else None."""
    try:
        about = read_explanation(folder)
        files = about.pop("files", None)
        there = sizes_of(folder, files)
    except (OSError, ValueError):
        return None
    # Earlier versions noted no files, or no sizes.
    if files is None or about.pop("sizes", there) != there:
        return None
    return about | {name: _located(folder, entry) for name, entry in files.items()}


def read_explanation(folder: Path) -> dict[str, Any]:
    """Return what an explanation folder says, without its maps.

    Raises
    ------
    OSError, ValueError
        If it cannot be read, or holds no explanation of a case.
    """
    about = _json(folder / ABOUT)
    files = about.get("files", {}) if isinstance(about, dict) else None
    if not isinstance(files, dict) or "case_id" not in about:
        raise ValueError(f"{ABOUT} holds no explanation.")
    about["agreement"] = _json(folder / AGREEMENT)
    if files.get("also"):
        about["also_agreement"] = _json(folder / ALSO_AGREEMENT)
    return dict(about)


def withdraw(folder: Path) -> None:
    """Take away an explanation that is none of its case any more, whole or not."""
    # Trials took long, and know what they are of. What names the files goes last.
    for name in (*(files_of(folder) - {CHECKS}), ABOUT):
        (folder / name).unlink(missing_ok=True)


def verdicts(checks: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return of each trial whether the map passed, None if that could not be judged."""
    found = {}
    for name in TRIALS:
        if name in checks:
            trial = checks[name]
            words = trial.get("verdict") or trial["not_applicable"]
            found[name] = {"passed": trial.get("passed"), "verdict": words}
    return found


def files_of(folder: Path) -> set[str]:
    """Return the names of the files that a folder says are of its explanation."""
    try:
        files = _json(folder / ABOUT)["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    return {Path(name).name for name in names_in(files)}


def sizes_of(folder: Path, files: Any) -> dict[str, int]:
    """Return how many bytes each file of ``files`` has.

    Raises
    ------
    OSError
        If one is missing.
    """
    return {name: (folder / name).stat().st_size for name in names_in(files)}


def names_in(entry: Any) -> Iterator[str]:
    """Yield every name of ``files``: there is one, or they go by role, or in a list."""
    if isinstance(entry, str):
        yield entry
    elif isinstance(entry, (dict, list)):
        for one in entry.values() if isinstance(entry, dict) else entry:
            yield from names_in(one)


def _located(folder: Path, entry: Any) -> Any:
    """Return names within a folder as absolute paths."""
    if isinstance(entry, dict):
        return {key: _located(folder, one) for key, one in entry.items()}
    if isinstance(entry, list):
        return [_located(folder, one) for one in entry]
    return None if entry is None else str((folder / entry).resolve())


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
