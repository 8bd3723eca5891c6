"""What a DICOM series is, told from its header: sequence, contrast, fat, plane.

Hospitals name their series as they like, so a name and the physics must not contradict
each other, and what is not clear stays open for the user to say.
"""

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

SHORT_ECHO_MS = 30.0
LONG_ECHO_MS = 60.0
SHORT_REPETITION_MS = 1000.0
LONG_REPETITION_MS = 1500.0
FLUID_INVERSION_MS = 1500.0
"""An inversion this long or longer darkens fluid: it makes a FLAIR of a T2."""

OTHER_WORDS = r"flair|dwi|dti|adc|diff|ep2d|epi|swi|swan|t2 ?star|t2 s|perf|dce|dsc|tof"
T1_WORDS = r"t1\w*|mprage|mpr|vibe|spgr|bravo|lava|thrive|tfl"
T2_WORDS = r"t2\w*|stir|tirm|haste|ciss|fiesta|space t2"
CONTRAST_WORDS = (
    r"(post|with|plus) ?(contrast|gad\w*|gd|km|cm)|contrast|gad\w*|gd|ce|km"
)
NATIVE_WORDS = (
    r"(pre|non|no|without|wo|w o) ?(contrast|gad\w*|gd|km|cm)|native?|unenhanced"
)
FAT_WORDS = r"\w*fs|fat ?sat\w*|fatsat|spair|spir|stir|tirm|chess|fat ?supp?\w*"


@dataclass(frozen=True, kw_only=True)
class SeriesInfo:
    """One group of images that can become one volume."""

    uid: str
    number: int | None
    """As the scanner counts the series of a study."""

    files: tuple[Path, ...]
    frames: tuple[int, ...] = ()
    """Which images of a multi-frame file, counted from 1; none named means all."""

    modality: str
    description: str
    """Free text: to guess from and to show to its own user, never to be exported."""

    study_date: date | None
    patient_key: str
    """Equal for the series of one patient, within one run; says nothing else."""

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

    localizer: bool = False
    """Whether the scanner made it to plan the others."""

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


def words_of(header: Any) -> str:
    """Return a series' own names, in small letters, words apart by one blank."""
    keywords = ("SeriesDescription", "ProtocolName", "SequenceName")
    text = " ".join(str(find(header, keyword) or "") for keyword in keywords)
    text = text.lower().replace("t2*", "t2 star ").replace("+c", " contrast ")
    return " ".join(re.sub(r"[^a-z0-9]+", " ", text).split())


def guessed_sequence(header: Any) -> tuple[Weighting | None, str]:
    """Return T1 or T2 where name and timing leave no doubt, and the reason."""
    named, timed = _named(words_of(header)), _timed(header)
    if named == "other":
        return None, "its name says neither T1 nor T2"
    if named and timed and named != timed:
        return None, f"its name says {named.upper()}, its timing {timed.upper()}"
    if named:
        return named, "its name" + (" and its timing" if timed else "")
    if timed:
        return timed, "its timing (TE, TR)"
    return None, "neither its name nor its timing tells"


def guessed_contrast(header: Any) -> bool | None:
    """Return whether a contrast agent was given, as header or name say it."""
    agent = str(find(header, "ContrastBolusAgent") or "").strip().lower()
    if agent:
        return agent not in ("no", "none", "n", "without", "0")
    if header.get("ContrastBolusAgentSequence"):
        return True
    words = words_of(header)
    if _says(words, NATIVE_WORDS):
        return False
    return True if _says(words, CONTRAST_WORDS) or "t1c" in words.split() else None


def guessed_fat_saturation(header: Any) -> bool | None:
    """Return whether fat is suppressed, as header or name say it."""
    suppression = str(find(header, "SpectrallySelectedSuppression") or "")
    if suppression:
        return "FAT" in suppression.upper()
    options = header.get("ScanOptions")
    listed = [options] if isinstance(options, str) else list(options or [])
    if any("FS" in one or "FAT" in one for one in listed):
        return True
    if _says(words_of(header), FAT_WORDS):
        return True
    return False if listed else None


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


def patient_key_of(header: Any) -> str:
    """Return a key that groups the series of one patient; without one, of a study."""
    patient = [str(header.get(k) or "") for k in ("PatientID", "IssuerOfPatientID")]
    if not patient[0]:
        keywords = ("PatientName", "PatientBirthDate", "StudyInstanceUID")
        patient = [str(header.get(keyword) or "") for keyword in keywords]
    return hashlib.sha256(SALT + "\0".join(patient).encode()).hexdigest()[:16]


def _named(words: str) -> Literal["t1", "t2", "other"] | None:
    if _says(words, OTHER_WORDS):
        return "other"
    t1, t2 = _says(words, T1_WORDS), _says(words, T2_WORDS)
    if t1 == t2:
        return None
    return "t1" if t1 else "t2"


def _timed(header: Any) -> Weighting | None:
    """Return what echo, repetition and inversion time say.

    A gradient echo with an inversion pulse (MPRAGE) is T1 at any repetition time.
    """
    echo = number_of(header, "EchoTime", "EffectiveEchoTime")
    repetition = number_of(header, "RepetitionTime")
    inversion = number_of(header, "InversionTime", "InversionTimes") or 0.0
    if echo is None or repetition is None:
        return None
    if echo <= SHORT_ECHO_MS:
        prepared = 0 < inversion < FLUID_INVERSION_MS and echo <= SHORT_ECHO_MS / 3
        return "t1" if repetition <= SHORT_REPETITION_MS or prepared else None
    fluid = inversion >= FLUID_INVERSION_MS
    if echo >= LONG_ECHO_MS and repetition >= LONG_REPETITION_MS and not fluid:
        return "t2"
    return None


def _says(words: str, pattern: str) -> bool:
    return re.search(rf"\b(?:{pattern})\b", words) is not None
