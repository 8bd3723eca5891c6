"""How a series was acquired, as its DICOM header tells: sequence, contrast, fat.

Hospitals name their series as they like, so a name and the physics must not contradict
each other, and what is not clear stays open for the user to say.
"""

import re
from typing import Any

from napari_harm3.mri.series import Weighting, find, number_of

SHORT_ECHO_MS = 30.0
LONG_ECHO_MS = 60.0
SHORT_REPETITION_MS = 1000.0
LONG_REPETITION_MS = 1500.0
FLUID_INVERSION_MS = 1500.0
"""An inversion this long or longer darkens fluid: it makes a FLAIR of a T2."""

OTHER_WORDS = (
    r"flair|swi|swan|t2 ?star|t2 s|tof|mra|angio\w*|mrcp|cest|asl|bold"
    r"|dwi|dti|ivim|resolve|ep2d|epi|diff\w*|e?adc|trace\w*|b ?(0|[1-9]\d{1,3})"
    r"|perf\w*|dce|dsc|ktrans|wash ?(in|out)"
    r"|map\w*|sub(?! ?\d)|subtr\w*|mip|minip|max ip|min ip|projection"
    r"|fat frac\w*|pdff|dixon (\w+ )*(f|fat)(?! ?(s\b|sat|sup))"
    r"|loc|locali[sz]\w*|scout|survey|3 ?plane"
)
"""Weightings of another kind, and what is computed of images or made to plan them."""

OTHER_TYPES = (
    rf"{OTHER_WORDS}|p|(?<!in )(?<!out )(?<!of )(?<!opposed )phase|r|real|i|imag\w*"
    r"|velocity|m pca|flow encoded"
    r"|fluid attenuated|proton density|f|fat|metabolite map|temperature|tagging|fmri"
    r"|ttp|maximum|minimum|std deviation|division|multiplication"
)
"""The same as words of an image type, and images that show no plain magnitude."""

T1_WORDS = r"t1\w*|mprage|mpr|vibe|spgr|bravo|lava|thrive|tfl"
T2_WORDS = r"t2\w*|stir|tirm|haste|ciss|fiesta|space t2"
AGENTS = r"(contrast\w*|kontrast\w*|gad\w*|gd|km|cm|mdc)"
CONTRAST_WORDS = rf"(post|with|plus|mit|avec) ?{AGENTS}|{AGENTS}|ce"
WITHOUT = r"(no|non|not|none|without|w o|ohne|keine?|sans|senza|sin|zonder)"
NATIVE_WORDS = rf"(pre|{WITHOUT}) ?{AGENTS}|nativ\w*|(un|{WITHOUT} ?)enhanced"
NO_AGENT = (
    rf"({WITHOUT}(?! ionic)|n|nil|nein|aucun|nessuno|false|0( 0)?( ?(ml|cc|mmol))?$)\b"
)
"""How an entry begins that names no agent."""

NOT_STATED = {"", "n a", "na", "unknown", "not known", "not stated", "unbekannt"}
FAT_WORDS = r"\w*fs|fat ?sat\w*|fatsat|spair|spir|stir|tirm|chess|fat ?supp?\w*"


def words_of(header: Any) -> str:
    """Return a series' own names, in small letters, words apart by one blank."""
    keywords = ("SeriesDescription", "ProtocolName", "SequenceName")
    text = " ".join(str(find(header, keyword) or "") for keyword in keywords)
    return _plain(text.lower().replace("t2*", "t2 star ").replace("+c", " contrast "))


def image_type_of(header: Any) -> tuple[str, ...]:
    """Return the words by which a scanner says what kind of image it made."""
    said = find(header, "FrameType") or find(header, "ImageType") or ()
    words = [said] if isinstance(said, str) else said
    return tuple(str(word).strip().upper() for word in words)


def guessed_sequence(header: Any) -> tuple[Weighting | None, str]:
    """Return T1 or T2 where name, image type and timing leave no doubt; the reason."""
    neither = _neither(header)
    if neither:
        return None, neither
    named, timed = _named(words_of(header)), _timed(header)
    if named and timed and named != timed:
        return None, f"its name says {named.upper()}, its timing {timed.upper()}"
    if named:
        return named, "its name" + (" and its timing" if timed else "")
    if timed:
        return timed, "its timing (TE, TR)"
    return None, "neither its name nor its timing tells"


def guessed_contrast(header: Any) -> bool | None:
    """Return whether a contrast agent was given, as header or name say it."""
    agent = _plain(str(find(header, "ContrastBolusAgent") or "").lower())
    if agent not in NOT_STATED:
        return not (re.match(NO_AGENT, agent) or _says(agent, NATIVE_WORDS))
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
    options = header.get("ScanOptions") or []
    listed = [options] if isinstance(options, str) else list(filter(None, options))
    if any("FS" in one or "FAT" in one for one in listed):
        return True
    if _says(words_of(header), FAT_WORDS):
        return True
    return False if listed else None


def _neither(header: Any) -> str:
    """Return what tells that an image is neither T1 nor T2, or nothing."""
    words = words_of(header)
    if _says(words, OTHER_WORDS):
        return "its name says neither T1 nor T2"
    if _says(_plain(" ".join(image_type_of(header)[2:]).lower()), OTHER_TYPES):
        return "its image type says neither T1 nor T2"
    if (number_of(header, "DiffusionBValue") or 0.0) > 0:
        return "it is diffusion-weighted"
    # A T1 with an inversion pulse is timed alike, where the header leaves that out.
    if _named(words) != "t1" and _proton_density(header):
        return "its timing (TE, TR) is that of proton density"
    return ""


def _named(words: str) -> Weighting | None:
    t1, t2 = _says(words, T1_WORDS), _says(words, T2_WORDS)
    if t1 == t2:
        return None
    return "t1" if t1 else "t2"


def _timed(header: Any) -> Weighting | None:
    """Return what echo, repetition and inversion time say.

    A gradient echo with an inversion pulse (MPRAGE) is T1 at any repetition time.
    """
    echo, repetition, inversion = _timing(header)
    if echo is None or repetition is None:
        return None
    if echo <= SHORT_ECHO_MS:
        prepared = 0 < inversion < FLUID_INVERSION_MS and echo <= SHORT_ECHO_MS / 3
        return "t1" if repetition <= SHORT_REPETITION_MS or prepared else None
    fluid = inversion >= FLUID_INVERSION_MS
    if echo >= LONG_ECHO_MS and repetition >= LONG_REPETITION_MS and not fluid:
        return "t2"
    return None


def _proton_density(header: Any) -> bool:
    echo, repetition, inversion = _timing(header)
    if echo is None or repetition is None or inversion:
        return False
    return echo <= SHORT_ECHO_MS and repetition >= LONG_REPETITION_MS


def _timing(header: Any) -> tuple[float | None, float | None, float]:
    """Return echo and repetition time, and the time of inversion, 0 for none; in ms."""
    return (
        number_of(header, "EchoTime", "EffectiveEchoTime"),
        number_of(header, "RepetitionTime"),
        number_of(header, "InversionTime", "InversionTimes") or 0.0,
    )


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^a-z0-9]+", " ", text).split())


def _says(words: str, pattern: str) -> bool:
    return re.search(rf"\b(?:{pattern})\b", words) is not None
