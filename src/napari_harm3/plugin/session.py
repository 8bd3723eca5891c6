"""What the panels of one viewer share: the cohort, the case, the model, the worker."""

from pathlib import Path
from typing import Any

from napari.viewer import Viewer
from qtpy.QtCore import (  # type: ignore[attr-defined]  # Signal, per binding
    QEvent,
    QObject,
    Qt,
    QTimer,
    Signal,
)
from qtpy.QtWidgets import QDockWidget

from napari_harm3.cohort.case import Case
from napari_harm3.cohort.table import Cohort, read_cohort
from napari_harm3.plugin.client import Client
from napari_harm3.plugin.hanging import Hanging
from napari_harm3.plugin.layers import Transforms
from napari_harm3.plugin.slide_view import SlideView
from napari_harm3.wsi.files import shown_name, unique_names
from napari_harm3.wsi.slide import Slide

WORK = ".harm3"
SLIDE_DOCK = "HARM3 biopsy"
SLIDE_SHARE = 0.3


class Leaving:
    """Asks every panel whether the case at hand may be left."""

    allowed = True
    """A panel that cannot keep what it holds of the case sets it to False."""


class Session(QObject):
    """One per viewer; panels talk to it, never to each other.

    It belongs to the viewer's window, and ends with it.
    """

    leaving = Signal(object)
    """A `Leaving`: another case or cohort is to be opened, or the window closed."""

    cohort_changed = Signal(object)
    case_changed = Signal(object)
    case_drawn = Signal(object)
    """The case's layers are in the viewer."""

    explained = Signal(object)
    """What an explanation folder says of the case, and ``folder``."""

    reviewed = Signal()
    """A reader said something of a case, and it is kept."""

    slide_opened = Signal(object)
    """The slide's dock shows another slide, or None."""

    slide_clicked = Signal(float, float)
    """Level-0 x and y of a click on the slide."""

    moved = Signal()
    """The case is drawn as `transforms` say now."""

    def __init__(self, viewer: Viewer) -> None:
        window = viewer.window._qt_window
        super().__init__(window)
        window.destroyed.connect(self.end)
        window.installEventFilter(self)
        self.viewer = viewer
        self.cohort: Cohort | None = None
        self.allow_external = False
        """Whether the cohort's files may lie outside its folder."""

        self.case: Case | None = None
        self.listed: tuple[str, ...] = ()
        """The cases that a reader goes through, of those of the cohort."""

        self.model: Path | None = None
        self.explanation: dict[str, Any] | None = None
        self.transforms: Transforms = {}
        """Of the roles that are drawn in the common space; empty as scanned."""

        self.hanging = Hanging(viewer)
        self._work: Path | None = None
        self._client: Client | None = None
        self._slide: SlideView | None = None

    @classmethod
    def of(cls, viewer: Viewer) -> "Session":
        """Return the session of a viewer, begun on first need."""
        viewer = getattr(viewer, "__wrapped__", viewer)  # a panel is given a proxy
        own = Qt.FindChildOption.FindDirectChildrenOnly
        found: Session | None = viewer.window._qt_window.findChild(cls, "", own)
        return cls(viewer) if found is None else found

    @property
    def work(self) -> Path:
        """Where things made once are kept: beside the cohort table, if not given."""
        folder = Path.cwd() if self.cohort is None else self.cohort.folder
        return self._work or folder / WORK

    @property
    def access(self) -> dict[str, Any]:
        """What every job that reads the cohort is told."""
        return {"work": str(self.work), "allow_external": self.allow_external}

    @property
    def client(self) -> Client:
        """The worker, for this cohort."""
        if self._client is None:
            self._client = Client(self.work, self)
        return self._client

    def open_cohort(
        self, path: Path, *, work: Path | None = None, allow_external: bool = False
    ) -> None:
        """Read a cohort table.

        Parameters
        ----------
        path
            The table.
        work
            Folder for everything made once; ``.harm3`` beside the table if not given.
        allow_external
            Accept files outside the table's folder.

        Raises
        ------
        CohortError
            If the table is not in order; the cohort at hand stays.
        """
        cohort = read_cohort(path, allow_external=allow_external)
        if not self.may_leave():
            return
        self.cohort, self.case, self.explanation = cohort, None, None
        self.transforms = {}
        self.listed = tuple(case.case_id for case in cohort.cases)
        self.allow_external = allow_external
        self._work = None if work is None else work.resolve()
        self.close()
        self.cohort_changed.emit(cohort)

    def open_case(self, case_id: str) -> None:
        """Make a case of the cohort the one that every panel shows.

        None is opened where a panel must stay on the case at hand.
        """
        if self.cohort is not None and self.may_leave():
            self._show(self.cohort.case(case_id))

    def open_anew(self) -> None:
        """Show the case at hand as it is on disk; no panel is asked before."""
        if self.case is not None:
            self._show(self.case)

    def _show(self, case: Case) -> None:
        self.case = case
        self.explanation, self.transforms = None, {}
        self.case_changed.emit(case)

    def eventFilter(  # noqa: N802 - Qt's name
        self, watched: QObject | None, event: QEvent | None
    ) -> bool:
        """Keep the window open where a panel must stay on the case at hand."""
        closing = event is not None and event.type() == QEvent.Type.Close
        if event is None or not closing or self.may_leave():
            return super().eventFilter(watched, event)
        event.ignore()
        return True

    def may_leave(self) -> bool:
        """Ask every panel whether the case at hand may be left; none is where not."""
        leaving = Leaving()
        self.leaving.emit(leaving)
        return leaving.allowed

    def step(self, by: int) -> None:
        """Open the next listed case after the one at hand (1), or that before (-1).

        After the last comes the first. The case at hand need not be listed.
        """
        if self.cohort is None or not self.listed:
            return
        names = [case.case_id for case in self.cohort.cases]
        at = -by if self.case is None else names.index(self.case.case_id)
        order = [names[(at + by * n) % len(names)] for n in range(1, len(names) + 1)]
        self.open_case(next(name for name in order if name in self.listed))

    def slide_view(self) -> SlideView:
        """Return the slide's dock, made on first need."""
        if self._slide is None:
            self._slide = SlideView(name_of=self._slide_name)
            dock = self.viewer.window.add_dock_widget(
                self._slide, name=SLIDE_DOCK, area="right"
            )
            # Qt gives docks their size when the window is laid out, so that is after.
            QTimer.singleShot(0, lambda: self._make_room(dock))
            self._slide.clicked.connect(self.slide_clicked)
            self._slide.opened.connect(self.slide_opened)
            self._slide.destroyed.connect(self._forget_slide)
            self.viewer.events.theme.connect(self._dress_slide)
            self._dress_slide()
        return self._slide

    def _dress_slide(self) -> None:
        """Give the slide's canvas the theme that the other canvas has."""
        if self._slide is not None:
            self._slide.model.theme = self.viewer.theme

    def _make_room(self, dock: QDockWidget) -> None:
        """Give the slide its share of the window; else it takes what volumes need."""
        if self._slide is not None:
            window = self.viewer.window._qt_window
            width = round(SLIDE_SHARE * window.width())
            window.resizeDocks([dock], [width], Qt.Orientation.Horizontal)
            QTimer.singleShot(0, self._slide.model.reset_view)

    def _slide_name(self, slide: Slide) -> str:
        """Return what explanations of the case call a slide."""
        slides = () if self.case is None else self.case.slides
        names = unique_names([shown_name(path) for path in slides])
        return dict(zip(slides, names, strict=True)).get(slide.path, slide.name)

    def _forget_slide(self) -> None:
        self._slide = None

    def move(self, transforms: Transforms) -> None:
        """Tell every panel where the volumes of the case are drawn now."""
        self.transforms = transforms
        self.moved.emit()

    def show_explanation(self, explanation: dict[str, Any]) -> None:
        """Tell every panel of an explanation of the case."""
        self.explanation = explanation
        self.hanging.uncover_heat()  # asked for, it is to be seen
        self.explained.emit(explanation)

    def close(self) -> None:
        """End the worker; the next question starts one."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def end(self) -> None:
        """End what would outlive the window: the worker and the slide's thread.

        No panel is told, as each may be half gone.
        """
        self.case = None  # what is still being read of it hangs no more
        if self._client is not None:
            self._client.end()
            self._client = None
        if self._slide is not None:
            self._slide.blockSignals(True)
            self._slide.shutdown()
            self._slide = None
