"""Of a model that looks at slides alone, the picture is of slides."""

import numpy as np

from napari_harm3.explain.case import Explanation
from napari_harm3.explain.config import ExplainConfig
from napari_harm3.explain.patch_places import PatchPlaces
from napari_harm3.explain.slide_maps import SlideMaps
from napari_harm3.report.map_figures import explanation_figure


def explained(*, slides):
    """Return an explanation of two patches a slide, beside each other."""
    shares = np.tile([0.25, 0.5], slides)
    places = PatchPlaces(
        names=tuple(f"slide-{number}.svs" for number in range(slides)),
        slide=np.repeat(np.arange(slides), 2),
        corners=np.tile([[0.0, 0.0], [100.0, 0.0]], (slides, 1)),
        sides=np.full((slides, 2), 100.0),
        sizes=np.full((slides, 2), [200.0, 100.0]),
        mpp=np.full((slides, 2), 0.5),
    )
    maps = {"attention": shares, "gradient_attention": np.zeros_like(shares)}
    return Explanation(
        case_id="HN-0042",
        probability=0.25,
        seen="new",
        folds=(0,),
        volumes={},
        slide=SlideMaps(maps=maps, places=places),
        link=None,
        config=ExplainConfig(),
        threshold=0.5,
        made_up=True,
    )


def words_of(figure):
    return [
        text.get_text() for text in figure.findobj(lambda one: hasattr(one, "get_text"))
    ]


def test_each_map_of_each_slide_is_drawn_over_its_highest_patch():
    figure = explanation_figure(explained(slides=2))

    drawn = [image for axis in figure.axes for image in axis.get_images()]
    assert len(drawn) == 4
    first = np.asarray(drawn[0].get_array())
    assert first.shape[1] == 2 * first.shape[0]
    assert (first[0, 0], first[0, -1]) == (0.5, 1)
    said = " ".join(words_of(figure))
    for words in ("HN-0042", "phantom", "slide-1.svs", "looks at no volume"):
        assert words in said
    assert said.count("nothing on the slide speaks for the target") == 2
    assert "missing" not in said


def test_slides_that_find_no_room_are_counted():
    figure = explanation_figure(explained(slides=6))

    assert "2 more slides are not shown" in " ".join(words_of(figure))
