"""A raw nnU-Net (v2) data set as a cohort table."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_harm3.cohort.case import ROLES
from napari_harm3.cohort.importers.config import NnunetOptions
from napari_harm3.cohort.importers.listing import (
    KEYS,
    Listing,
    Row,
    case_ids,
    clinical_notes,
    few,
    meaning,
    read_clinical,
    read_object,
)
from napari_harm3.errors import CohortError
from napari_harm3.mri.labels import label_named

CHANNEL = re.compile(r"[0-9]{1,4}")
"""Number of a channel: the names of images end in four digits."""

NOT_USED = {"", "-"}
PARTS = (("imagesTr", "labelsTr", "train"), ("imagesTs", "labelsTs", "test"))


def list_nnunet(source: Path, options: NnunetOptions | None = None) -> Listing:
    """Return the cases of a raw nnU-Net data set.

    Raises
    ------
    CohortError
        If it is none, or a channel's role or a label's time is in doubt.
    """
    options = options or NnunetOptions()
    about = _about(source)
    roles = _roles(about, options.channels)
    ending = str(about.get("file_ending", ".nii.gz"))
    times = _label_times(source, roles, options.label_of)
    parts = [part for part in PARTS if (source / part[0]).is_dir()]
    rows: list[Row] = []
    labelled = any((source / labels).is_dir() for _, labels, _ in parts)
    notes = _notes(about) if labelled else []
    for images, labels, split in parts:
        found = _cases(source / images, roles, ending, notes)
        for name, row in found.items():
            mask = source / labels / f"{name}{ending}"
            if mask.exists():
                marked = [r for r in row if r.partition("_")[2] in times]
                row |= {f"mask_{role}": mask for role in marked}
            rows.append({"case_id": name, **row})
            if len(parts) > 1:
                rows[-1]["split"] = split
    if not rows:
        raise CohortError(
            f"{source.name} holds no imagesTr/CASE_0000{ending}: is it a raw nnU-Net "
            "data set?"
        )
    _check_once(rows)
    ids = case_ids(str(row["case_id"]) for row in rows)
    others = read_clinical(options.clinical, KEYS) if options.clinical else {}
    notes += clinical_notes(ids, others)
    for row in rows:
        name = str(row["case_id"])
        row |= {"case_id": ids[name], **others.get(name, {})}
    title = str(about.get("name") or source.resolve().name)
    return Listing(rows=rows, name=title, notes=notes)


def _about(source: Path) -> dict[str, Any]:
    path = source / "dataset.json"
    if not path.exists():
        raise CohortError(
            f"{source.name} has no dataset.json: give the folder DatasetXXX_NAME of "
            "nnUNet_raw."
        )
    return read_object(path)


def _part(about: Mapping[str, Any], key: str) -> dict[str, Any]:
    part = about.get(key, {})
    if not isinstance(part, dict):
        raise CohortError(
            f"'{key}' in dataset.json is no object: make the file again with nnU-Net."
        )
    return part


def _roles(about: Mapping[str, Any], channels: str) -> dict[int, str]:
    """Return the role of each channel that is used."""
    given = [role.strip() for role in channels.split(",")] if channels else []
    named = _part(about, "channel_names" if "channel_names" in about else "modality")
    names = {int(k): str(v) for k, v in named.items() if CHANNEL.fullmatch(k)}
    if given:
        if names and len(given) != len(names):
            raise CohortError(
                f"{len(given)} roles for {len(names)} channels: --channels takes one "
                "a channel, - for one that is not used."
            )
        roles = {n: role for n, role in enumerate(given) if role not in NOT_USED}
    else:
        roles = {number: _role(number, name) for number, name in names.items()}
    wrong = [role for role in roles.values() if role not in ROLES]
    twice = len(set(roles.values())) < len(roles)
    if wrong or twice or not roles:
        told = f"'{wrong[0]}' is no role" if wrong else "A role stands twice or nowhere"
        raise CohortError(f"{told}: --channels takes {', '.join(ROLES)} or -.")
    return roles


def _role(number: int, name: str) -> str:
    words = [word for word in re.split(r"[^A-Za-z0-9]+", name) if word]
    # "T1 post contrast" speaks of the agent and not of the treatment.
    agent = any(w.lower() in ("contrast", "gd", "gadolinium", "ce") for w in words)
    sequence = next(filter(None, (meaning(w, ("t1", "t2"), {}) for w in words)), None)
    time = next(filter(None, (meaning(w, ("pre", "post"), {}) for w in words)), None)
    if sequence is None or time is None or agent:
        raise CohortError(
            f"Channel {number} is called '{name}', which does not say both the "
            "sequence and whether it is before or after treatment: name the "
            "channels' roles, for example --channels t1_pre,t1_post,-,t2_pre."
        )
    return f"{sequence}_{time}"


def _label_times(source: Path, roles: Mapping[int, str], given: str) -> set[str]:
    """Return at which times the labels were drawn."""
    times = {role.partition("_")[2] for role in roles.values()}
    if given:
        return times if given == "both" else {given}
    if len(times) > 1 and any((source / part[1]).is_dir() for part in PARTS):
        raise CohortError(
            f"The labels of {source.name} could be drawn before or after treatment: "
            "say --label-of pre, post or both."
        )
    return times


def _cases(
    folder: Path, roles: Mapping[int, str], ending: str, notes: list[str]
) -> dict[str, Row]:
    channel = re.compile(rf"(.+)_(\d{{4}}){re.escape(ending)}")
    found: dict[str, Row] = {}
    odd = []
    for path in sorted(folder.iterdir()):
        match = channel.fullmatch(path.name)
        if match is None:
            odd.append(path.name)
        elif int(match[2]) in roles:
            found.setdefault(match[1], {})[roles[int(match[2])]] = path
    if odd:
        notes.append(
            f"{len(odd)} files of {folder.name} are no CASE_0000{ending}: {few(odd)}."
        )
    short = [name for name, row in found.items() if len(row) < len(roles)]
    if short:
        notes.append(f"{len(short)} cases lack a channel: {few(short)}.")
    return found


def _check_once(rows: Sequence[Row]) -> None:
    """Refuse a case that is trained on and tested."""
    for name, times in Counter(str(row["case_id"]) for row in rows).items():
        if times > 1:
            folders = " and ".join(images for images, *_ in PARTS)
            raise CohortError(
                f"'{name}' stands in {folders}: take it out of one of them, or rename "
                "one if they are two cases."
            )


def _notes(about: Mapping[str, Any]) -> list[str]:
    """Say what the labels will be taken for.

    Raises
    ------
    CohortError
        If their names say otherwise.
    """
    labels = _part(about, "labels").items()
    values = {value: name for name, value in labels if isinstance(value, int)}
    # The first nnU-Net wrote them the other way round.
    values |= {int(key): str(name) for key, name in labels if key.isdecimal()}
    told = []
    for value, word in ((1, "primary"), (2, "nodes")):
        if value not in values:
            continue
        if label_named(values[value]) not in (None, value):
            raise CohortError(
                f"dataset.json calls label {value} '{values[value]}', but masks are "
                f"read by number, and {value} is {word}: renumber the labels to 1 "
                "primary and 2 nodes, or take their folders away."
            )
        told.append(f"{values[value]} ({value}) as {word}")
    return [f"Labels are read by number: {', '.join(told)}."] if told else []
