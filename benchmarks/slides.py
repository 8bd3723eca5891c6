"""Slides: our reading against OpenSlide's, one core, CPU time, interleaved.

    python benchmarks/slides.py [FOLDER]

prints the table of docs/benchmarks.md. The slide of 60,000 pixels is made in FOLDER
(a temporary one if not given) by `big_slide`.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import big_slide
import cv2
import numpy as np
import openslide

from napari_harm3.wsi.config import PRESETS, PatchConfig, TissueConfig
from napari_harm3.wsi.contours import Contour
from napari_harm3.wsi.layout import lay_out
from napari_harm3.wsi.patch_pixels import read_patches
from napari_harm3.wsi.patches import Patches, clam_patches
from napari_harm3.wsi.pyramid import SlideLevel, overview, pyramid
from napari_harm3.wsi.slide import open_slide
from napari_harm3.wsi.tissue import find_tissue

ROUNDS = 5
TURNS = 40
SCREEN = 1080, 1920
EVERYTHING = slice(None), slice(None)
HERE = Path(__file__).parent


def main() -> None:
    if len(sys.argv) > 2 and sys.argv[1] == "--part":
        return print(json.dumps(PARTS[sys.argv[2]](Path(sys.argv[3]))))
    given = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory() as temporary:
        folder = given or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        truth = _slides(folder)
        print("| what | measured | bar |\n|---|---|---|")
        print(f"| tissue found against the drawn truth | {truth} | - |")
        for row in (coordinates, command, native, half, memory, single, view):
            for what, measured, bar in row(folder):
                print(f"| {what} | {measured} | {bar} |", flush=True)
    return None


def _slides(folder: Path) -> str:
    paths = folder / "big.tif", folder / "single.tif"
    for path, levels in zip(paths, (3, 1), strict=True):
        if not path.exists():
            big_slide.write(path, levels=levels)
    drawn = big_slide.truth(-(-60_000 // big_slide.TILE))
    with open_slide(paths[0]) as slide:
        tissue = find_tissue(slide, PRESETS["harm3"])
    found = cv2.resize(
        tissue.mask.astype(np.float32), drawn.shape, interpolation=cv2.INTER_AREA
    )
    both = np.minimum(found, drawn).sum()
    return f"Dice {2 * both / (found.sum() + drawn.sum()):.3f}"


def coordinates(folder: Path) -> list[tuple[str, str, str]]:
    """CLAM's four points, by our rows and by asking for every point."""
    with open_slide(folder / "big.tif") as slide:
        tissue = find_tissue(slide, TissueConfig())
    side = 448.0, 448.0
    ours, theirs, same = [], [], True
    for _ in range(3):
        seconds, quick = _timed(lambda: clam_patches(tissue, side, every=False))
        ours.append(seconds)
        seconds, slow = _timed(lambda: _point_by_point(tissue, 448))
        theirs.append(seconds)
        same &= {tuple(one) for one in quick.tolist()} == slow
    ratio = statistics.median(np.divide(theirs, ours))
    took = statistics.median(ours) * 1e3
    return [
        (
            "coordinates from contours, 60,000 px slide, against point by point",
            f"{ratio:.0f}x ({took:.0f} ms, {len(slow)} patches, identical: {same})",
            ">= 50x",
        )
    ]


def _point_by_point(tissue: object, side: int) -> set[tuple[int, int]]:
    """Four points a quarter in from the edges, per piece, each asked by itself."""
    kept = set()
    quarter = side // 2 // 2
    for contour in tissue.contours:
        piece: Contour = contour.scaled(tissue.level0_per_pixel)
        left, top, width, height = cv2.boundingRect(piece.outer)
        for x in range(left, left + width, side):
            for y in range(top, top + height, side):
                cx, cy = x + side // 2, y + side // 2
                corners = [
                    (cx + a * quarter, cy + b * quarter)
                    for a in (-1, 1)
                    for b in (-1, 1)
                ]
                if not any(
                    cv2.pointPolygonTest(piece.outer, point, False) >= 0
                    for point in corners
                ):
                    continue
                middle = (x + side / 2, y + side / 2)
                if not any(
                    cv2.pointPolygonTest(hole, middle, False) > 0
                    for hole in piece.holes
                ):
                    kept.add((x, y))
    return kept


COMMAND = """
import sys, time
from pathlib import Path
from napari_harm3.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as done:
    assert not done.code
peak = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
print(time.process_time(), int(peak) / 1024, "torch" in sys.modules)
"""


def command(folder: Path) -> list[tuple[str, str, str]]:
    seconds, peak, torch = [], [], False
    for turn in range(ROUNDS):
        out = folder / f"tissue{turn}"
        shutil.rmtree(out, ignore_errors=True)
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, "tissue", folder / "big.tif", "--out", out],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        took, most, loaded = done.stdout.splitlines()[-1].split()
        seconds.append(float(took))
        peak.append(float(most))
        torch |= loaded == "True"
    took = statistics.median(seconds)
    return [
        (
            "`harm3 tissue`, whole command, 60,000 px slide, cold start",
            f"{took:.2f} CPU-s, {max(peak):.0f} MB, torch imported: {torch}",
            "<= 1.5 CPU-s, <= 350 MB, no torch",
        )
    ]


def native(folder: Path) -> list[tuple[str, str, str]]:
    return [_batches(folder, 0.25, "at native mpp", ">= 5x, bit-equal")]


def half(folder: Path) -> list[tuple[str, str, str]]:
    return [_batches(folder, 0.5, "of 0.5 mpp from 0.25 mpp", ">= 4x")]


def _batches(folder: Path, mpp: float, what: str, bar: str) -> tuple[str, str, str]:
    """Batches of 64 patches, ours and OpenSlide's turn by turn over the same places."""
    path = folder / "big.tif"
    with open_slide(path) as slide, openslide.OpenSlide(path) as rival:
        layout = lay_out(slide, PRESETS["harm3"], PatchConfig(mpp=mpp))
        patches = layout.patches
        side = round(patches.level0_px[0])
        ours, theirs = [], []
        equal, worst = True, 0
        for turn in range(TURNS):
            rows = slice(1000 + 64 * turn, 1000 + 64 * (turn + 1))
            seconds, (pixels, _) = _timed(
                lambda rows=rows: read_patches(slide, patches, rows)
            )
            ours.append(seconds)
            seconds, reference = _timed(
                lambda rows=rows: _by_openslide(rival, patches, rows, side)
            )
            theirs.append(seconds)
            equal &= np.array_equal(pixels, reference)
            worst = max(worst, int(cv2.absdiff(pixels, reference).max()))
    same = "bit-equal" if equal else f"differ by up to {worst}"
    ratio = statistics.median(np.divide(theirs, ours))
    rate = 64 / statistics.median(ours)
    return (
        f"uint8 patch batches {what}, JPEG slide, against `openslide.read_region`",
        f"{ratio:.1f}x ({rate:.0f} patches a core-second, {same})",
        bar,
    )


def _by_openslide(
    rival: openslide.OpenSlide, patches: Patches, rows: slice, side: int
) -> np.ndarray:
    out = []
    for x, y in patches.coords[rows].tolist():
        region = np.asarray(rival.read_region((x, y), 0, (side, side)).convert("RGB"))
        if side != patches.size:
            region = cv2.resize(
                region, (patches.size,) * 2, interpolation=cv2.INTER_AREA
            )
        out.append(region)
    return np.stack(out)


def memory(folder: Path) -> list[tuple[str, str, str]]:
    few, many = (_part(f"extract-{count}", folder)["peak_mb"] for count in (1000, 6000))
    return [
        (
            "memory of extraction, model apart, 1,000 and 6,000 patches",
            f"{few:.0f} MB and {many:.0f} MB",
            "<= 700 MB, flat",
        )
    ]


def single(folder: Path) -> list[tuple[str, str, str]]:
    found = _part("overview", folder)
    return [
        (
            "overview of a single-level 60,000 px JPEG slide",
            f"{found['seconds']:.1f} CPU-s, {found['peak_mb']:.0f} MB",
            "<= 8 CPU-s, <= 600 MB",
        )
    ]


def view(folder: Path) -> list[tuple[str, str, str]]:
    found = _part("view", folder)
    return [
        (f"cold full-HD view, p95: {what}", f"{found[what] * 1e3:.0f} ms", bar)
        for what, bar in (
            ("1:1", "<= 40 ms"),
            ("any other zoom, coarse", "<= 60 ms"),
            ("any other zoom, sharp", "<= 200 ms"),
            ("first pixels after opening", "<= 150 ms"),
        )
    ]


def _extract(folder: Path, count: int) -> dict[str, float]:
    """Everything of an extraction but the encoder, whose place an empty one takes."""
    import torch  # noqa: F401 - part of what runs beside, not of what is measured

    from napari_harm3.wsi import extraction

    class Nothing:
        dim, batch = 384, 64
        attributes = {"encoder": "none"}  # noqa: RUF012

        def encode(self, pixels: np.ndarray) -> np.ndarray:
            return np.zeros((len(pixels), self.dim), np.float32)

    before = _peak_mb()
    with open_slide(folder / "big.tif") as slide:
        layout = lay_out(slide, PRESETS["harm3"], PatchConfig())
        keep = slice(0, count)
        layout = type(layout)(
            slide=slide,
            tissue=layout.tissue,
            patches=Patches(
                coords=layout.patches.coords[keep],
                tissue=layout.patches.tissue[keep],
                level0_px=layout.patches.level0_px,
                size=layout.patches.size,
            ),
            attributes=layout.attributes,
        )
        for _ in extraction.extract(layout, folder / f"{count}.harm3.h5", Nothing()):
            pass
    return {"peak_mb": _peak_mb() - before}


def _overview(folder: Path) -> dict[str, float]:
    with open_slide(folder / "single.tif") as slide:
        seconds, _ = _timed(lambda: overview(slide, 8.0))
    return {"seconds": seconds, "peak_mb": _peak_mb()}


def _view(folder: Path) -> dict[str, float]:
    """What the viewer asks for: the level that is just fine enough, a screen of it."""
    rng = np.random.default_rng(0)
    path = folder / "big.tif"
    found: dict[str, list[float]] = {}

    def note(what: str, level: SlideLevel, zoom: float) -> None:
        rows, columns = (
            min(int(pixels * zoom), size)
            for pixels, size in zip(SCREEN, level.shape[:2], strict=True)
        )
        top = int(rng.integers(0, level.shape[0] - rows + 1))
        left = int(rng.integers(0, level.shape[1] - columns + 1))
        seconds, _ = _timed(lambda: level[top : top + rows, left : left + columns])
        found.setdefault(what, []).append(seconds)

    for _ in range(40):
        opened, slide = _timed(lambda: open_slide(path))
        with slide:
            levels = pyramid(slide)
            first, _ = _timed(partial(levels[-1].__getitem__, EVERYTHING))
            found.setdefault("first pixels after opening", []).append(opened + first)
            note("1:1", levels[0], 1.0)
            for number in range(1, len(levels) - 2):
                slide.tiff.cache.clear()
                note("any other zoom, sharp", levels[number], rng.uniform(1, 2))
                slide.tiff.cache.clear()
                note("any other zoom, coarse", levels[number + 2], 0.5)
    return {what: float(np.percentile(times, 95)) for what, times in found.items()}


PARTS: dict[str, Callable[[Path], dict[str, float]]] = {
    "extract-1000": lambda folder: _extract(folder, 1000),
    "extract-6000": lambda folder: _extract(folder, 6000),
    "overview": _overview,
    "view": _view,
}


def _part(name: str, folder: Path) -> dict[str, float]:
    """Run a part in a process of its own, so that its memory is its own."""
    done = subprocess.run(
        [sys.executable, HERE / "slides.py", "--part", name, folder],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def _peak_mb() -> float:
    """Most memory of this process so far.

    getrusage would count what its parent held before it began.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _timed(call: Callable[[], object]) -> tuple[float, object]:
    started = time.process_time()
    result = call()
    return time.process_time() - started, result


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    cv2.setNumThreads(1)
    main()
