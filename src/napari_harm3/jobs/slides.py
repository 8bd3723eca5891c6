"""What a user can ask about slides: where the tissue is, and its features."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from napari_harm3.artifacts import write_bytes, write_json
from napari_harm3.errors import FeatureError
from napari_harm3.jobs.device import gpu_count, resolve_device
from napari_harm3.jobs.encoders import encoder_for, untrained_warning
from napari_harm3.jobs.parallel import core_count
from napari_harm3.jobs.progress import Job, Progress, finished
from napari_harm3.jobs.slide_batch import (
    FIELDS,
    Row,
    SlideTask,
    Steps,
    Work,
    run_batch,
    tasks_of,
)
from napari_harm3.wsi.config import AnyTissueConfig, EncoderConfig, PatchConfig

if TYPE_CHECKING:
    from napari_harm3.wsi.layout import Layout
    from napari_harm3.wsi.slide import Slide

Program = Literal["clam", "trident"]
"""Other programs that bags can be written for."""

WORTH_PROCESSES = 4
"""Fewer slides are outlined sooner than processes start."""


def find_tissue(
    slides: Sequence[Path],
    *,
    out: Path,
    tissue: AnyTissueConfig,
    patches: PatchConfig,
    source_mpp: float | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    allow_external: bool = False,
) -> Job:
    """Outline the tissue of slides and lay the patch grid.

    Writes ``<stem>.tissue.geojson`` (level-0 pixels), ``<stem>.mask.png`` and
    ``<stem>.harm3.h5`` with coordinates only, and ``summary.json`` at the end.
    Features that were extracted already are kept.
    """
    tasks = tasks_of(slides, source_mpp=source_mpp, allow_external=allow_external)
    out = out.absolute()
    if workers is None:
        workers = core_count() if len(tasks) >= WORTH_PROCESSES else 1
    is_done = partial(_is_outlined, out)
    work = Work(
        open=partial(_opened, tissue=tissue, patches=patches, is_done=is_done),
        finish=partial(_outline, out=out),
        close=_closed,
    )
    yield from run_batch(
        "tissue", tasks, work, out=out, workers=workers, scheduler=scheduler
    )


def extract_features(
    slides: Sequence[Path],
    *,
    out: Path,
    tissue: AnyTissueConfig,
    patches: PatchConfig,
    encoder: EncoderConfig,
    also: tuple[Program, ...] = (),
    source_mpp: float | None = None,
    device: str = "auto",
    workers: int | None = None,
    scheduler: str | None = None,
    allow_external: bool = False,
) -> Job:
    """Turn slides into bags of patch features, ``<stem>.harm3.h5``, resumably.

    With several workers every one has a GPU, or a core, to itself. ``also`` names
    programs for which the bags are written in their own format too.
    """
    tasks = tasks_of(slides, source_mpp=source_mpp, allow_external=allow_external)
    out = out.absolute()
    if encoder.weights is not None:
        encoder = replace(encoder, weights=encoder.weights.absolute())
    if scheduler is None:
        resolve_device(device)
    if workers is None:
        workers = gpu_count(device) or core_count()
    # What is wrong with the encoder is wrong for every slide.
    encoder_for(encoder, device if workers == 1 and scheduler is None else "cpu")
    if encoder.untrained:
        yield Progress(stage="features", warning=untrained_warning(encoder))
    is_done = partial(_is_extracted, out, encoder, device)
    work = Work(
        open=partial(_opened, tissue=tissue, patches=patches, is_done=is_done),
        finish=partial(_encode, out=out, encoder=encoder, device=device, also=also),
        close=_closed,
    )
    yield from run_batch(
        "features", tasks, work, out=out, workers=workers, scheduler=scheduler
    )


def preview_tissue(
    slide: Path,
    *,
    tissue: AnyTissueConfig,
    patches: PatchConfig,
    source_mpp: float | None = None,
) -> Job:
    """Find tissue and patches of one slide, writing nothing; arrays in the result."""
    from napari_harm3.wsi.layout import lay_out
    from napari_harm3.wsi.patch_pixels import lost_patches
    from napari_harm3.wsi.slide import open_slide

    with open_slide(slide, source_mpp=source_mpp) as opened:
        yield Progress(stage="tissue", step=0, of=1, text=slide.name)
        layout = lay_out(opened, tissue, patches)
        result = {
            "polygons": layout.tissue.polygons,
            "fraction": layout.tissue.fraction,
            "coords": layout.patches.coords,
            "tissue": layout.patches.tissue,
            "damaged": lost_patches(opened, layout.patches),
            "level0_px": list(layout.patches.level0_px),
            "mpp": list(opened.require_mpp()),
            "mpp_source": opened.mpp_source,
            "notes": layout.notes,
        }
    yield finished("tissue", result)


@dataclass(frozen=True, kw_only=True)
class _Opened:
    """A slide that is open, laid out unless all is made of it already."""

    slide: "Slide"
    about: Mapping[str, Any]
    layout: "Layout | None"
    is_done: Callable[[], bool]
    """Whether all is made of it by now; asked again by whoever holds its lock."""


def _opened(
    task: SlideTask,
    *,
    tissue: AnyTissueConfig,
    patches: PatchConfig,
    is_done: Callable[[SlideTask, Mapping[str, Any]], bool],
) -> _Opened:
    from napari_harm3.wsi.layout import describe, lay_out
    from napari_harm3.wsi.slide import open_slide

    slide = open_slide(task.slide, source_mpp=task.mpp)
    try:
        about = describe(slide, tissue, patches)
        done = is_done(task, about)
        return _Opened(
            slide=slide,
            about=about,
            layout=None if done else lay_out(slide, tissue, patches),
            is_done=partial(is_done, task, about),
        )
    except BaseException:
        slide.close()
        raise


def _closed(opened: _Opened) -> None:
    opened.slide.close()


def _outline(task: SlideTask, opened: Callable[[], _Opened], *, out: Path) -> Steps:
    from napari_harm3.wsi.features import bag_summary, has_features
    from napari_harm3.wsi.layout import is_made, write_layout
    from napari_harm3.wsi.tissue import mask_png

    bag, ready = bag_of(out, task), opened()
    with ready.slide as slide:
        layout = ready.layout
        if layout is not None and not ready.is_done():
            yield 0, 1
            kept = has_features(bag)
            if kept and not is_made(bag, ready.about):
                raise FeatureError(
                    f"{bag.name} holds features of other patches, which would be "
                    "lost: choose another folder with --out."
                )
            slide.require_unchanged()
            write_json(outline_of(out, task), layout.tissue.polygons)
            write_bytes(mask_of(out, task), mask_png(layout.tissue))
            # The bag is written last: where it stands, so do the others.
            if not kept:
                write_layout(layout, bag)
    return _row(bag_summary(bag))


def _is_outlined(out: Path, task: SlideTask, about: Mapping[str, Any]) -> bool:
    from napari_harm3.wsi.features import has_features, is_sound
    from napari_harm3.wsi.layout import is_made

    bag = bag_of(out, task)
    written = outline_of(out, task).exists() and mask_of(out, task).exists()
    # Beside features the outline may be an older one: whoever extracts writes none.
    return written and is_made(bag, about) and not has_features(bag) and is_sound(bag)


def _encode(
    task: SlideTask,
    opened: Callable[[], _Opened],
    *,
    out: Path,
    encoder: EncoderConfig,
    device: str,
    also: tuple[Program, ...],
) -> Steps:
    from napari_harm3.wsi.extraction import extract
    from napari_harm3.wsi.features import bag_summary
    from napari_harm3.wsi.interchange import write_also

    loaded = encoder_for(encoder, device)
    bag, ready = bag_of(out, task), opened()
    with ready.slide:
        if ready.layout is not None and not ready.is_done():
            yield from extract(ready.layout, bag, loaded)
    for program in also:
        write_also(program, bag, out / program, task.stem)
    return _row(bag_summary(bag))


def _is_extracted(
    out: Path,
    encoder: EncoderConfig,
    device: str,
    task: SlideTask,
    about: Mapping[str, Any],
) -> bool:
    from napari_harm3.data.slides import is_extracted

    wanted = {**about, **encoder_for(encoder, device).attributes}
    return is_extracted(bag_of(out, task), wanted)


def bag_of(out: Path, task: SlideTask) -> Path:
    """Return where a slide's bag lies."""
    return out / f"{task.stem}.harm3.h5"


def outline_of(out: Path, task: SlideTask) -> Path:
    """Return where the outline of a slide's tissue lies."""
    return out / f"{task.stem}.tissue.geojson"


def mask_of(out: Path, task: SlideTask) -> Path:
    """Return where the picture of a slide's tissue lies."""
    return out / f"{task.stem}.mask.png"


def _row(bag: Mapping[str, Any]) -> Row:
    """Return what a row says of a slide whose bag is written."""
    status, said = "done", [bag["notes"]] if bag["notes"] else []
    if not bag["patches"]:
        status = "empty"
        none = (
            "No patch fits on it." if bag["tissue_fraction"] else "No tissue was found."
        )
        said.insert(0, none)
    if bag["damaged"] or bag["unseen"]:
        status = "damaged"
    if bag["damaged"]:
        said.append(f"{bag['damaged']} of {bag['patches']} patches could not be read.")
    return {
        "status": status,
        "message": " ".join(said),
        **{name: bag[name] for name in FIELDS},
    }
