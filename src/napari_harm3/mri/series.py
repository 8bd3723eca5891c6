"""What a DICOM series is: whose, of which day, where it lies, how it was acquired."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

Weighting = Literal["t1", "t2"]
Plane = Literal["axial", "coronal", "sagittal", "oblique"]

SALT = secrets.token_bytes(16)
"""Drawn anew by each process, so that a patient's key can be looked up nowhere."""

PLANE_COSINE = 0.9
"""A plane within 26 degrees of a patient's plane bears its name."""

SEXES = ("F", "M")
"""Other entries say nothing: anonymisers write them into a blank."""


@dataclass(frozen=True, kw_only=True)
class Patient:
    """Whose a series is: sums that are equal within one run, and say nothing else.

    What is not stated is empty.
    """

    key: str
    """Of the patient's id; without one, of name, birth date and study."""

    name: str
    """However its parts are ordered and written."""

    birth_date: str
    sex: str


@dataclass(frozen=True, kw_only=True)
class SeriesInfo:
    """One group of images that can become one volume."""

    uid: str
    study_uid: str
    number: int | None
    """As the scanner counts the series of a study."""

    files: tuple[Path, ...]
    frames: tuple[int, ...] = ()
    """Which images of a multi-frame file, counted from 1; none named means all."""

    modality: str
    description: str
    """Free text: to guess from and to show to its own user, never to be exported."""

    study_date: date | None
    patient: Patient
    image_type: tuple[str, ...] = ()
    """What the scanner calls this kind of image, word by word."""

    sequence: Weighting | None
    sequence_reason: str
    contrast: bool | None
    """Whether a contrast agent was given; None where nothing tells."""

    echo_ms: float | None
    repetition_ms: float | None
    inversion_ms: float | None
    plane: Plane
    fat_saturation: bool | None
    field_tesla: float | None
    frame_of_reference: str | None
    slices: int
    spacing_mm: tuple[float, float, float] | None
    """Along columns, rows and slices; None for slices that make no volume."""

    fault: str | None = None
    """Why the slices make no volume."""

    phase: tuple[float, ...] = ()
    """What orders the times of one series; of no meaning elsewhere."""

    refers_to: tuple[str, ...] = ()
    """The series, and the studies, that an annotation says it was drawn on."""

    @property
    def localizer(self) -> bool:
        """Whether the scanner made it to plan the others."""
        return "LOCALIZER" in self.image_type

    @property
    def derived(self) -> bool:
        """Whether it was computed of images."""
        return self.image_type[:1] == ("DERIVED",)

    @property
    def title(self) -> str:
        """What tells the series from others, without its free text."""
        echo = "" if self.echo_ms is None else f", TE {self.echo_ms:.4g} ms"
        number = "" if self.number is None else f" {self.number}"
        slices = "1 slice" if self.slices == 1 else f"{self.slices} slices"
        slices += f" from frame {self.frames[0]}" if self.frames else ""
        return f"series{number} ({self.modality}, {self.plane}, {slices}{echo})"


def find(header: Any, keyword: str) -> Any:
    """Return an attribute, wherever a classic or an enhanced object keeps it."""
    if header.get(keyword) not in (None, ""):
        return header.get(keyword)
    groups = [*header.get("SharedFunctionalGroupsSequence", [])[:1]]
    groups += header.get("PerFrameFunctionalGroupsSequence", [])[:1]
    for group in groups:
        for element in group:
            inner = element.value[0] if element.VR == "SQ" and element.value else None
            if inner is not None and inner.get(keyword) not in (None, ""):
                return inner.get(keyword)
    return None


def number_of(header: Any, *keywords: str) -> float | None:
    """Return the first of several attributes that is a finite number."""
    for keyword in keywords:
        value = find(header, keyword)
        if value is not None and not isinstance(value, str | bytes):
            many = np.atleast_1d(np.asarray(value))
            value = many[0] if many.size else None
        try:
            number = float(value)
        except (TypeError, ValueError):
            continue
        if np.isfinite(number):
            return number
    return None


def plane_of(normal: Float[np.ndarray, "3"]) -> Plane:
    """Return the patient's plane in which slices lie, by their normal in LPS."""
    planes: tuple[Plane, ...] = ("sagittal", "coronal", "axial")
    axis = int(np.argmax(np.abs(normal)))
    straight = abs(normal[axis]) >= PLANE_COSINE * np.linalg.norm(normal)
    return planes[axis] if straight else "oblique"


def study_date_of(header: Any) -> date | None:
    """Return the day of the examination, if it is stated."""
    for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate"):
        try:
            return datetime.strptime(str(header.get(keyword)), "%Y%m%d").date()
        except ValueError:
            continue
    return None


def patient_of(header: Any) -> Patient:
    """Return whose a header says that its image is; without an id, whose study."""

    def said(*keywords: str) -> list[str]:
        return [str(header.get(keyword) or "").strip() for keyword in keywords]

    patient_id, issuer = said("PatientID", "IssuerOfPatientID")
    name, born, sex = said("PatientName", "PatientBirthDate", "PatientSex")
    study = str(header.get("StudyInstanceUID") or "")
    known = [patient_id, issuer] if patient_id else [name, born, study]
    words = sorted(re.findall(r"\w+", name.casefold()))
    return Patient(
        key=_sum(*known),
        name=_sum(*words),
        birth_date=_sum(born),
        sex=_sum(sex.upper() if sex.upper() in SEXES else ""),
    )


def _sum(*said: str) -> str:
    """Return what stands for words of a header; nothing for none."""
    if not any(said):
        return ""
    return hashlib.sha256(SALT + "\0".join(said).encode()).hexdigest()[:16]
