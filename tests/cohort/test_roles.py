"""A role, its parts and its place along the tensor's axes are one thing."""

from napari_harm3.cohort.case import AXES, BEFORE, PARTS, ROLES, SEQUENCES, TIMES


def test_a_role_is_told_by_its_parts_and_by_its_place() -> None:
    assert ROLES == ("t1_pre", "t1_post", "t2_pre", "t2_post")
    for number, role in enumerate(ROLES):
        sequence, time = PARTS[role]
        assert role == f"{sequence}_{time}"
        assert AXES[role] == (SEQUENCES.index(sequence), TIMES.index(time))
        assert len(TIMES) * AXES[role][0] + AXES[role][1] == number
    assert BEFORE == {"t1_post": "t1_pre", "t2_post": "t2_pre"}
