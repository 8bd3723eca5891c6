"""What a user can ask about slides: where the tissue is, and its features."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_harm3.artifacts import write_bytes, write_json
from napari_harm3.errors import FeatureError
from napari_harm3.jobs.device import gpu_count, resolve_device
from napari_harm3.jobs.encoders import encoder_for, untrained
from napari_harm3.jobs.parallel import core_count
from napari_harm3.jobs.progress import Job, Progress, finished
from napari_harm3.jobs.slide_batch import (
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
    if workers is None:
        workers = core_count() if len(tasks) >= WORTH_PROCESSES else 1
    work = Work(
        open=partial(_laid_out, tissue=tissue, patches=patches),
        finish=partial(_outline, out=out),
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
    source_mpp: float | None = None,
    device: str = "auto",
    workers: int | None = None,
    scheduler: str | None = None,
    allow_external: bool = False,
) -> Job:
    """Turn slides into bags of patch features, ``<stem>.harm3.h5``, resumably.

    With several workers every one has a GPU, or a core, to itself.
    """
    tasks = tasks_of(slides, source_mpp=source_mpp, allow_external=allow_external)
    resolve_device(device)
    # What is wrong with the encoder is wrong for every slide.
    encoder_for(encoder, device)
    if encoder.untrained:
        yield Progress(stage="features", warning=untrained(encoder))
    if workers is None:
        workers = gpu_count(device) or core_count()
    work = Work(
        open=partial(
            _unless_made,
            out=out,
            tissue=tissue,
            patches=patches,
            encoder=encoder,
            device=device,
        ),
        finish=partial(_encode, out=out, encoder=encoder, device=device),
    )
    yield from run_batch(
        "features",
        tasks,
        work,
        out=out,
        workers=min(workers, max(len(tasks), 1)),
        scheduler=scheduler,
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
    from napari_harm3.wsi.patches import lost_patches
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
    """A slide that is open, laid out unless its bag is made already."""

    slide: "Slide"
    layout: "Layout | None"


def _laid_out(
    task: SlideTask, tissue: AnyTissueConfig, patches: PatchConfig
) -> _Opened:
    from napari_harm3.wsi.layout import lay_out
    from napari_harm3.wsi.slide import open_slide

    slide = open_slide(task.slide, source_mpp=task.mpp)
    try:
        return _Opened(slide=slide, layout=lay_out(slide, tissue, patches))
    except BaseException:
        slide.close()
        raise


def _outline(task: SlideTask, opened: Callable[[], _Opened], *, out: Path) -> Steps:
    from napari_harm3.wsi.features import bag_summary, has_features
    from napari_harm3.wsi.layout import is_made, write_layout
    from napari_harm3.wsi.tissue import mask_png

    ready = opened()
    with ready.slide as slide:
        layout = ready.layout
        assert layout is not None
        yield 0, 1
        bag = bag_of(out, task)
        if not has_features(bag):
            write_layout(layout, bag)
        elif not is_made(bag, layout.attributes):
            raise FeatureError(
                f"{bag.name} holds features of other patches, which would be lost: "
                "choose another folder with --out."
            )
        write_json(out / f"{task.stem}.tissue.geojson", layout.tissue.polygons)
        write_bytes(out / f"{task.stem}.mask.png", mask_png(layout.tissue))
        slide.require_unchanged()
    return _row(bag_summary(bag))


def _unless_made(
    task: SlideTask,
    *,
    out: Path,
    tissue: AnyTissueConfig,
    patches: PatchConfig,
    encoder: EncoderConfig,
    device: str,
) -> _Opened:
    from napari_harm3.wsi.features import is_sound
    from napari_harm3.wsi.layout import describe, is_made
    from napari_harm3.wsi.slide import open_slide

    bag = bag_of(out, task)
    with open_slide(task.slide, source_mpp=task.mpp) as slide:
        about = describe(slide, tissue, patches)
        wanted = {**about, **encoder_for(encoder, device).attributes}
        if is_made(bag, wanted) and is_sound(bag):
            return _Opened(slide=slide, layout=None)
    return _laid_out(task, tissue, patches)


def _encode(
    task: SlideTask,
    opened: Callable[[], _Opened],
    *,
    out: Path,
    encoder: EncoderConfig,
    device: str,
) -> Steps:
    from napari_harm3.wsi.extraction import extract
    from napari_harm3.wsi.features import bag_summary

    loaded = encoder_for(encoder, device)
    ready = opened()
    with ready.slide:
        if ready.layout is not None:
            yield from extract(ready.layout, bag_of(out, task), loaded)
    return _row(bag_summary(bag_of(out, task)))


def bag_of(out: Path, task: SlideTask) -> Path:
    """Return where a slide's bag lies."""
    return out / f"{task.stem}.harm3.h5"


def _row(bag: Mapping[str, Any]) -> Row:
    """Return what a row says of a slide whose bag is written."""
    status, said = "done", [bag["notes"]] if bag["notes"] else []
    if not bag["patches"]:
        status = "empty"
        said.insert(0, "No tissue was found.")
    if bag["damaged"] or bag["unseen"]:
        status = "damaged"
    if bag["damaged"]:
        said.append(f"{bag['damaged']} of {bag['patches']} patches could not be read.")
    shown = ("mpp", "mpp_source", "tissue_fraction", "patches", "damaged", "dim")
    return {
        "status": status,
        "message": " ".join(said),
        **{name: bag[name] for name in shown},
    }
