"""Keys, in one place: shown by F1, chosen to keep off napari's own."""

from collections.abc import Callable

from napari.utils.notifications import show_info
from napari.viewer import Viewer

from napari_harm3.plugin.widgets.cases import CasesWidget
from napari_harm3.plugin.widgets.explain import ExplainWidget
from napari_harm3.plugin.widgets.explain_link import KEY

STEP = 0.05


def bind_keys(viewer: Viewer, cases: CasesWidget, explain: ExplainWidget) -> None:
    """Bind every key of the two panels to the viewer."""
    hanging = cases.session.hanging
    actions: dict[str, tuple[str, Callable[[], object]]] = {
        "Shift-Down": ("next case", lambda: cases.step(1)),
        "Shift-Up": ("previous case", lambda: cases.step(-1)),
        "Shift-H": ("heat maps on or off", hanging.toggle_heat),
        "Shift-B": ("as scanned or aligned", cases.align_button.swap),
        "Shift-R": ("annotations on or off", hanging.toggle_annotations),
        KEY: ("click through between slide and MRI", explain.link.toggle),
        "Shift-E": ("compute the explanation", explain.compute),
        "Shift-Escape": ("cancel", explain.cancel),
        "PageUp": ("higher heat threshold", lambda: _move(explain.threshold, STEP)),
        "PageDown": ("lower heat threshold", lambda: _move(explain.threshold, -STEP)),
        "Shift-PageUp": ("more opaque heat", lambda: _move(explain.opacity, STEP)),
        "Shift-PageDown": ("less opaque heat", lambda: _move(explain.opacity, -STEP)),
    }
    for key, (_, act) in actions.items():
        viewer.bind_key(key, _ignoring_viewer(act), overwrite=True)
    sheet = "\n".join(f"{key}: {what}" for key, (what, _) in actions.items())
    viewer.bind_key("F1", lambda _: show_info(sheet), overwrite=True)


def _ignoring_viewer(act: Callable[[], object]) -> Callable[[Viewer], None]:
    def called(_: Viewer) -> None:
        act()

    return called


def _move(slider: object, by: float) -> None:
    slider.setValue(slider.value() + by)  # type: ignore[attr-defined]  # a Qt slider
