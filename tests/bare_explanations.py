"""An explanation without any map, for what is drawn or written beside the maps."""

from napari_harm3.explain.case import Explanation
from napari_harm3.explain.config import ExplainConfig


def explained(*, made_up=True):
    return Explanation(
        case_id="HN-0042",
        probability=0.25,
        seen="held-out",
        folds=(0,),
        volumes={},
        slide=None,
        link=None,
        config=ExplainConfig(),
        threshold=0.5,
        made_up=made_up,
    )
