"""Which slides lie in a folder."""

from pathlib import Path

from napari_harm3.wsi.slide import dicom_series, is_dicom_slide

SUFFIXES = (
    ".svs",
    ".tif",
    ".tiff",
    ".ndpi",
    ".mrxs",
    ".scn",
    ".bif",
    ".vms",
    ".vmu",
    ".svslide",
    ".czi",
    ".dcm",
)
"""What files of slides end in."""


def slides_at(path: Path) -> list[Path]:
    """Return the slides that a path stands for: those of a folder, or itself.

    What cannot be looked at stands for itself, so that opening it tells why.
    """
    try:
        return (slides_in(path) if path.is_dir() else []) or [path]
    except OSError:
        return [path]


def slides_in(folder: Path) -> list[Path]:
    """Return the slides in a folder and its subfolders, in order of their names.

    Files are known by their suffix, so that a damaged one is not passed over. A
    folder of one DICOM slide stands for its files, whose names may lack a suffix.
    """
    try:
        entries = sorted(e for e in folder.iterdir() if not e.name.startswith("."))
    except OSError:
        return [folder]
    dicom = [entry for entry in entries if _seems_dicom(entry)]
    found: list[Path] = []
    for entry in entries:
        if entry.is_dir():
            if not entry.with_suffix(".mrxs").exists():
                found += slides_in(entry)
        elif entry.suffix.lower() in SUFFIXES and entry not in dicom:
            found.append(entry)
    series = _by_series(dicom)
    if len(series) == 1 and not found:
        return [folder]
    return sorted([*series, *found])


def _seems_dicom(entry: Path) -> bool:
    return entry.suffix.lower() == ".dcm" or (
        not entry.suffix and entry.is_file() and is_dicom_slide(entry)
    )


def _by_series(files: list[Path]) -> list[Path]:
    """Return one file of each DICOM series; what cannot be opened stands alone."""
    first: dict[str, Path] = {}
    for file in files:
        first.setdefault(dicom_series(file) or file.name, file)
    return list(first.values())
