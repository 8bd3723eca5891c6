"""An explanation folder whose every link is set by hand, for a case of the phantom.

Patch p asks the cell ASKS[p] alone, and each patch has a pooled token of its own.
"""

import json

import numpy as np

from napari_harm3.cohort.case import ROLES
from napari_harm3.explain.link import CaseLink
from napari_harm3.explain.patch_places import PatchPlaces
from napari_harm3.mri.reading import read_volume
from napari_harm3.mri.volume import write_volume

GRID = (2, 2, 3)
SIDE = 224
CORNERS = np.array([[224, 224], [448, 224], [672, 448]], float)
ASKS = [("t1_pre", (0, 1, 2)), ("t2_post", (1, 0, 0)), ("t1_pre", (1, 1, 1))]
CELL_MM = (30.0, 40.0, 50.0)
FIRST_MM = (45.0, 20.0, -20.0)
"""RAS mm of the first cell's centre; x and y of the cells run to the left and back."""

PATIENT = np.array(
    [
        [0, 0, -CELL_MM[2], FIRST_MM[0]],
        [0, -CELL_MM[1], 0, FIRST_MM[1]],
        [CELL_MM[0], 0, 0, FIRST_MM[2]],
        [0, 0, 0, 1],
    ]
)


def centre(cell):
    """Return the centre of a cell in LPS mm, Z Y X, of the volume as scanned."""
    z, y, x = cell
    right, front, up = FIRST_MM
    return (
        up + z * CELL_MM[0],
        -(front - y * CELL_MM[1]),
        -(right - x * CELL_MM[2]),
    )


def layout():
    cells = list(np.ndindex(GRID))
    return np.array([(s, t, *c) for s in range(2) for t in range(2) for c in cells])


def known_link(case_id, *, slide="biopsy.tif", **fields):
    tokens = layout()
    cross = np.zeros((len(ASKS), len(tokens)), np.float32)
    for row, (role, cell) in enumerate(ASKS):
        stream = divmod(ROLES.index(role), 2)
        cross[row, (tokens == (*stream, *cell)).all(axis=1)] = 1
    return CaseLink(
        case_id=case_id,
        pooling=np.eye(len(ASKS), dtype=np.float32),
        cross=cross,
        layout=tokens,
        available=np.ones((2, 2), bool),
        affine=PATIENT,
        view=np.array([[-0.5] * 3, [n - 0.5 for n in GRID]]),
        places=PatchPlaces(
            names=(slide,),
            slide=np.zeros(len(CORNERS), int),
            corners=CORNERS,
            sides=np.full((1, 2), SIDE, float),
            sizes=np.full((1, 2), 2048.0),
            mpp=np.full((1, 2), 0.5),
        ),
        **fields,
    )


def measures(value, **labels):
    entry = {"value": value, "chance": 0.1, "ceiling": 0.9}
    names = ("pointing_game", "pointing_game_half_cell", "energy", "energy_gain")
    more = ("dice", "auc", "ap", "peak_distance_mm", "iou")
    found = dict.fromkeys((*names, *more), entry)
    even = dict.fromkeys(found, (value - 0.1) / 0.8) | {"ap": None}
    return found | {"normalised": even} | ({"labels": labels} if labels else {})


def write_folder(out, case, *, link=None, kinds=("cam",)):
    """Write an explanation of a case: maps that are one number everywhere, and a link.

    The number is one more than the place of its kind in `kinds`.
    """
    out.mkdir()
    maps = {kind: {} for kind in kinds}
    for number, kind in enumerate(kinds, start=1):
        for role, path in case.volumes.items():
            volume = read_volume(path)
            heat = np.full(volume.shape, number, np.float32)
            maps[kind][role] = f"{role}_{kind}.nii.gz"
            write_volume(out / maps[kind][role], heat, volume.affine)
    if link is not None:
        link.to_npz(out / "link.npz")
    nodes = {"nodes": {"not_applicable": "no voxel has this label"}}
    agreement = {role: {"not_applicable": "not annotated"} for role in case.volumes}
    if agreement:
        agreement["t2_pre"] = measures(0.5, primary=measures(0.7), **nodes)
    files = {
        "explanation.json": {
            "case_id": case.case_id,
            "probability": 0.25,
            "seen": "held-out",
            "model": "run-of-may",
            "trained_on": "phantom",
            "made_up": True,
            "cell_mm": list(CELL_MM),
            "messages": {},
            "files": {
                "maps": maps.pop("cam"),
                "also": maps,
                "attention": "slide_attention.geojson",
                "link": None if link is None else "link.npz",
            },
        },
        "agreement.json": agreement,
        "slide_attention.geojson": {"type": "FeatureCollection", "features": squares()},
    }
    if maps:
        compared = {"t2_pre": measures(0.3)}
        also = {"occlusion": compared} if "occlusion" in maps else {}
        files["also_agreement.json"] = also
    for name, content in files.items():
        (out / name).write_text(json.dumps(content))
    return out


def squares():
    return [
        {
            "type": "Feature",
            "geometry": {
                "type": "Polygon",
                "coordinates": [
                    [
                        [x + i * SIDE, y + j * SIDE]
                        for i, j in ((0, 0), (1, 0), (1, 1), (0, 1), (0, 0))
                    ]
                ],
            },
            "properties": {"slide": "biopsy.tif", "measurements": {"relative": 1.0}},
        }
        for x, y in CORNERS.tolist()
    ]
