"""Other people's folders become cohort tables, and what is in doubt is refused."""

import json

import numpy as np
import pytest

from napari_harm3.cohort.importers.bids import list_bids
from napari_harm3.cohort.importers.config import (
    BidsOptions,
    FolderOptions,
    NnunetOptions,
)
from napari_harm3.cohort.importers.folders import list_folders
from napari_harm3.cohort.importers.listing import read_clinical
from napari_harm3.cohort.importers.nnunet import list_nnunet
from napari_harm3.errors import CohortError
from napari_harm3.mri.volume import write_volume


@pytest.fixture
def make(tmp_path):
    """Return a function that makes small volumes under a folder."""
    source = tmp_path / "source"
    source.mkdir()

    def made(*names):
        for name in names:
            path = source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith(".nii.gz"):
                write_volume(path, np.ones((2, 2, 2), np.uint8), np.eye(4))
            else:
                path.touch()
        return source

    return made


def bids(make, *names):
    """Make ``01_pre_T1w`` as ``sub-01/ses-pre/anat/sub-01_ses-pre_T1w.nii.gz``."""
    for name in names:
        subject, session, rest = name.split("_", 2)
        folder = f"sub-{subject}/" + (f"ses-{session}/" if session else "") + "anat"
        start = f"sub-{subject}_" + (f"ses-{session}_" if session else "")
        source = make(f"{folder}/{start}{rest}.nii.gz")
    return source


def cells(listing, case):
    (row,) = [row for row in listing.rows if row["case_id"] == case]
    return {k: getattr(v, "name", v) for k, v in row.items() if k != "case_id"}


class TestBids:
    def test_named_sessions_and_enhanced_t1_fill_the_four_roles(self, make):
        source = bids(
            make,
            "01_baseline_T1w",
            "01_baseline_ce-gd_T1w",
            "01_baseline_T2w",
            "01_followup_ce-gd_T1w",
            "01_followup_T2w",
        )

        listing = list_bids(source)

        assert cells(listing, "01") == {
            "t1_pre": "sub-01_ses-baseline_ce-gd_T1w.nii.gz",
            "t1_post": "sub-01_ses-followup_ce-gd_T1w.nii.gz",
            "t2_pre": "sub-01_ses-baseline_T2w.nii.gz",
            "t2_post": "sub-01_ses-followup_T2w.nii.gz",
            "contrast": "yes",
        }
        assert listing.notes == []

    def test_sessions_without_meaning_go_by_number_and_it_is_said(self, make):
        listing = list_bids(bids(make, "01_10_T2w", "01_9_T2w"))

        assert cells(listing, "01")["t2_pre"] == "sub-01_ses-9_T2w.nii.gz"
        assert any("by order" in note for note in listing.notes)

    def test_the_time_of_acquisition_wins_over_the_label(self, make):
        source = bids(make, "01_A_T2w", "01_B_T2w")
        (source / "sub-01" / "sub-01_sessions.tsv").write_text(
            "session_id\tacq_time\nses-A\t2021-05-01\nses-B\t2021-01-01\n"
        )
        assert cells(list_bids(source), "01")["t2_pre"] == "sub-01_ses-B_T2w.nii.gz"

    def test_a_lone_session_is_what_the_other_subjects_show(self, make):
        source = bids(make, "01_1_T2w", "01_2_T2w", "02_2_T2w", "03_1_T2w")
        make("sub-04/ses-1/dwi/sub-04_ses-1_dwi.nii.gz")

        listing = list_bids(source)

        assert list(cells(listing, "02")) == ["t2_post"]
        assert list(cells(listing, "03")) == ["t2_pre"]
        assert listing.notes == [
            "sub-01: ses-1 and ses-2 taken as pre, post by order.",
            "sub-02: ses-2 taken as post by order.",
            "sub-03: ses-1 taken as pre by order.",
        ]
        told = list_bids(source, BidsOptions(pre="2"))
        assert list(cells(told, "02")) == ["t2_pre"]

    def test_a_lone_session_follows_the_others_dates(self, make):
        source = bids(make, "01_A_T2w", "01_B_T2w", "02_A_T2w")
        (source / "sub-01" / "sub-01_sessions.tsv").write_text(
            "session_id\tacq_time\nses-A\t2021-05-01\nses-B\t2021-01-01\n"
        )
        assert list(cells(list_bids(source), "02")) == ["t2_post"]

    def test_the_sessions_of_all_subjects_make_the_order(self, make):
        listing = list_bids(bids(make, "01_1_T2w", "02_2_T2w", "03__T2w"))
        roles = {case: list(cells(listing, case)) for case in ("01", "02", "03")}
        assert roles == {"01": ["t2_pre"], "02": ["t2_post"], "03": ["t2_pre"]}

    def test_a_lone_session_that_no_other_subject_has_is_refused(self, make):
        source = bids(make, "01_1_T2w", "01_2_T2w", "02_9_T2w")
        with pytest.raises(CohortError, match=r"sub-02 has only ses-9.*--pre or"):
            list_bids(source)

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("dataset_description.json", b"[]"),
            ("dataset_description.json", b"{"),
            ("sub-01/sub-01_sessions.tsv", b"session_id\tacq_time\nses-1\t\xff\n"),
            ("sub-01/sub-01_sessions.tsv", b"session\tacq_time\nses-1\t2021\n"),
        ],
    )
    def test_a_damaged_file_beside_the_images_is_named(self, make, name, content):
        source = bids(make, "01_1_T2w")
        (source / name).write_bytes(content)
        with pytest.raises(CohortError, match=name.rpartition("/")[2]):
            list_bids(source)

    def test_three_sessions_are_refused_until_two_are_named(self, make):
        source = bids(make, "01_1_T2w", "01_2_T2w", "01_3_T2w")

        with pytest.raises(CohortError, match=r"sub-01 has 3 sessions.*--pre and"):
            list_bids(source)

        row = cells(list_bids(source, BidsOptions(pre="1", post="3")), "01")
        assert row == {
            "t2_pre": "sub-01_ses-1_T2w.nii.gz",
            "t2_post": "sub-01_ses-3_T2w.nii.gz",
        }

    def test_two_runs_are_refused_by_name_until_one_is_preferred(self, make):
        source = bids(make, "01_pre_run-1_T2w", "01_pre_run-2_T2w")

        with pytest.raises(CohortError) as told:
            list_bids(source)

        for name in ("run-1_T2w.nii.gz", "run-2_T2w.nii.gz", "--prefer"):
            assert name in str(told.value)
        row = cells(list_bids(source, BidsOptions(prefer=("run-2",))), "01")
        assert row["t2_pre"] == "sub-01_ses-pre_run-2_T2w.nii.gz"

    def test_a_t1_without_contrast_is_taken_and_told(self, make):
        listing = list_bids(bids(make, "01_pre_T1w"))
        assert cells(listing, "01")["contrast"] == "no"
        assert any("1 T1 volumes do not say" in note for note in listing.notes)

    def test_a_sidecar_may_say_that_contrast_was_given(self, make):
        source = bids(make, "01_pre_T1w")
        sidecar = source / "sub-01/ses-pre/anat/sub-01_ses-pre_T1w.json"
        sidecar.write_text(json.dumps({"ContrastBolusIngredient": "GADOLINIUM"}))
        assert cells(list_bids(source), "01")["contrast"] == "yes"

    def test_participants_bring_their_columns_and_no_path(self, make):
        source = bids(make, "01_pre_T2w", "02_pre_T2w")
        (source / "participants.tsv").write_text(
            "participant_id\tage\tpcr\tsex\tt1_post\n"
            "sub-01\t61\tyes\tn/a\tx.nii\nsub-02\t50\t0\tF\t\n"
        )

        listing = list_bids(source)

        one, two = (cells(listing, case) for case in ("01", "02"))
        assert (one["age"], one["pcr"], one["sex"]) == ("61", "1", "")
        assert (two["pcr"], two["sex"]) == ("0", "F")
        assert "t1_post" not in one

    def test_masks_of_derivatives_go_to_what_their_name_says(self, make):
        source = bids(make, "01_pre_T2w", "01_pre_ce-gd_T1w")
        anat = "derivatives/manual/sub-01/ses-pre/anat/sub-01_ses-pre"
        make(
            f"{anat}_space-T2w_label-GTVp_mask.nii.gz",
            f"{anat}_ce-gd_dseg.nii.gz",
            f"{anat}_label-brain_mask.nii.gz",
        )

        row = cells(list_bids(source), "01")

        assert row["mask_t2_pre"].endswith("space-T2w_label-GTVp_mask.nii.gz")
        assert row["mask_t1_pre"].endswith("ce-gd_dseg.nii.gz")

    def test_a_mask_that_says_no_sequence_is_refused_until_told(self, make):
        source = bids(make, "01_pre_T2w", "01_pre_ce-gd_T1w")
        make("derivatives/m/sub-01/ses-pre/anat/sub-01_ses-pre_label-L_mask.nii.gz")

        with pytest.raises(CohortError, match=r"label-L_mask\.nii\.gz.*--mask-of"):
            list_bids(source)

        row = cells(list_bids(source, BidsOptions(mask_of="both")), "01")
        assert row["mask_t1_pre"] == row["mask_t2_pre"]

    def test_masks_that_say_too_little_are_left_out_and_told(self, make):
        source = bids(make, "01_pre_T2w", "01_post_T2w")
        make(
            "derivatives/m/sub-01/anat/sub-01_label-lesion_mask.nii.gz",
            "derivatives/m/sub-01/ses-pre/anat/sub-01_ses-pre_desc-x_mask.nii.gz",
            "derivatives/m/sub-01/ses-pre/anat/sub-01_ses-pre_desc-brain_mask.nii.gz",
        )

        listing = list_bids(source)

        assert sorted(cells(listing, "01")) == ["t2_post", "t2_pre"]
        told = " ".join(listing.notes)
        assert "sub-01_label-lesion_mask.nii.gz left out" in told
        assert "sub-01_ses-pre_desc-x_mask.nii.gz left out" in told
        assert "brain" not in told

    @pytest.mark.parametrize("post", ["2", "y"])
    def test_a_session_that_no_subject_has_is_refused(self, make, post):
        source = bids(make, "01_1_T2w", "01_2_T2w")
        with pytest.raises(CohortError, match=r"No subject has ses-01.*are 1, 2"):
            list_bids(source, BidsOptions(pre="01", post=post))

    def test_a_subject_without_the_sessions_given_is_told(self, make):
        source = bids(make, "01_1_T2w", "01_2_T2w", "02_3_T2w")
        listing = list_bids(source, BidsOptions(pre="1", post="2"))
        assert listing.notes == ["sub-02 left out: it has no session given."]

    def test_a_phase_image_is_no_volume(self, make):
        source = bids(make, "01_pre_part-phase_T2w", "01_pre_part-mag_T2w")
        row = cells(list_bids(source), "01")
        assert row["t2_pre"] == "sub-01_ses-pre_part-mag_T2w.nii.gz"

    def test_a_folder_without_subjects_is_refused(self, make):
        with pytest.raises(CohortError, match="is it a BIDS data set"):
            list_bids(make("t1.nii.gz"))


class TestNnunet:
    def dataset(self, make, channels, **more):
        source = make(
            "imagesTr/A_0000.nii.gz",
            "imagesTr/A_0001.nii.gz",
            "imagesTr/B_x_0000.nii.gz",
            "labelsTr/A.nii.gz",
            "imagesTr/notes.txt",
        )
        about = {
            "channel_names": channels,
            "labels": {"background": 0, "GTVp": 1, "GTVn": 2},
            "file_ending": ".nii.gz",
        }
        (source / "dataset.json").write_text(json.dumps(about | more))
        return source

    def test_channels_with_clear_names_become_roles(self, make):
        source = self.dataset(make, {"0": "T1 baseline", "1": "T2w_pre"})

        listing = list_nnunet(source)

        assert cells(listing, "A") == {
            "t1_pre": "A_0000.nii.gz",
            "t2_pre": "A_0001.nii.gz",
            "mask_t1_pre": "A.nii.gz",
            "mask_t2_pre": "A.nii.gz",
        }
        assert cells(listing, "B_x") == {"t1_pre": "B_x_0000.nii.gz"}
        told = " ".join(listing.notes)
        assert "GTVp (1) as primary, GTVn (2) as nodes" in told
        assert "notes.txt" in told
        assert "1 cases lack a channel: B_x" in told

    @pytest.mark.parametrize("name", ["T1", "T1 post contrast", "ADC_pre"])
    def test_a_channel_in_doubt_is_refused_until_its_role_is_given(self, make, name):
        source = self.dataset(make, {"0": name, "1": "T2_post"})

        with pytest.raises(CohortError, match=f"'{name}'.*--channels"):
            list_nnunet(source)

        row = cells(list_nnunet(source, NnunetOptions(channels="t1_pre,-")), "A")
        assert row == {"t1_pre": "A_0000.nii.gz", "mask_t1_pre": "A.nii.gz"}

    @pytest.mark.parametrize(
        "labels", [{"nodes": 1, "primary": 2}, {"0": "bg", "1": "nodes", "2": "tumor"}]
    )
    def test_labels_numbered_the_other_way_round_are_refused(self, make, labels):
        source = self.dataset(make, {"0": "T1_pre", "1": "T2_pre"}, labels=labels)
        with pytest.raises(CohortError, match="calls label 1 'nodes'"):
            list_nnunet(source)

    def test_a_case_to_train_and_to_test_is_refused(self, make):
        source = self.dataset(make, {"0": "T1_pre", "1": "T2_pre"})
        make("imagesTs/A_0000.nii.gz")
        with pytest.raises(CohortError, match="'A' stands in imagesTr and imagesTs"):
            list_nnunet(source)

    def test_labels_of_two_times_are_refused_until_told(self, make):
        source = self.dataset(make, {"0": "T2_pre", "1": "T2_post"})

        with pytest.raises(CohortError, match="--label-of"):
            list_nnunet(source)

        row = cells(list_nnunet(source, NnunetOptions(label_of="post")), "A")
        assert row["mask_t2_post"] == "A.nii.gz"
        assert "mask_t2_pre" not in row

    def test_test_images_are_cases_that_are_never_fitted(self, make):
        source = self.dataset(make, {"0": "T1_pre", "1": "T2_pre"})
        make("imagesTs/C_0000.nii.gz", "imagesTs/C_0001.nii.gz")

        listing = list_nnunet(source)

        assert [(r["case_id"], r["split"]) for r in listing.rows] == [
            ("A", "train"),
            ("B_x", "train"),
            ("C", "test"),
        ]

    @pytest.mark.parametrize("channels", ["t1_pre", "t1_pre,t1_pre", "t1,-", "-,-"])
    def test_roles_that_make_no_sense_are_refused(self, make, channels):
        source = self.dataset(make, {"0": "a", "1": "b"})
        with pytest.raises(CohortError, match="--channels"):
            list_nnunet(source, NnunetOptions(channels=channels))

    @pytest.mark.parametrize(
        "more", [{"channel_names": ["T2_pre"]}, {"labels": ["background", "GTVp"]}]
    )
    def test_a_list_where_names_belong_is_refused(self, make, more):
        source = self.dataset(make, {"0": "T1_pre", "1": "T2_pre"}, **more)
        with pytest.raises(
            CohortError, match=rf"'{next(iter(more))}' in dataset\.json"
        ):
            list_nnunet(source)

    def test_a_channel_of_thousands_of_digits_is_none(self, make):
        source = self.dataset(make, {"0": "T1_pre", "1" * 5000: "T2_pre"})
        assert cells(list_nnunet(source), "B_x") == {"t1_pre": "B_x_0000.nii.gz"}

    @pytest.mark.parametrize("text", [None, "[]", "{"])
    def test_a_folder_without_a_sound_dataset_json_is_refused(self, make, text):
        source = make("imagesTr/A_0000.nii.gz")
        if text is not None:
            (source / "dataset.json").write_text(text)
        with pytest.raises(CohortError, match=r"dataset\.json"):
            list_nnunet(source)


class TestClinical:
    def read(self, tmp_path, text):
        path = tmp_path / "clinical.csv"
        path.write_text(text)
        return read_clinical(path, ("case_id", "id"))

    def test_no_way_to_write_a_columns_name_makes_it_a_file_or_case(self, tmp_path):
        table = self.read(tmp_path, "id,Case_ID, WSI,T1_PRE,Age\nA,X,s.svs,t.nii,61\n")
        assert table == {"A": {"Age": "61"}}

    def test_a_known_column_counts_however_it_is_written(self, tmp_path):
        assert self.read(tmp_path, "id, PCR\nA,yes\n") == {"A": {"pcr": "1"}}

    def test_two_rows_that_differ_are_refused_and_equal_ones_are_one(self, tmp_path):
        text = "id,pcr\nA,1\nB,0\nB,0.0\n,1\n,0\n"

        assert self.read(tmp_path, text) == {"A": {"pcr": "1"}, "B": {"pcr": "0"}}
        with pytest.raises(CohortError, match=r"clinical\.csv, rows 2 and 7 .*'A'"):
            self.read(tmp_path, text + "A,0\n")

    def test_a_column_that_stands_twice_is_refused(self, tmp_path):
        with pytest.raises(CohortError, match="two columns 'pcr'"):
            self.read(tmp_path, "id,pcr, PCR\nA,1,0\n")


class TestFolders:
    def listed(self, source, *template, **more):
        return list_folders(source, FolderOptions(template=template, **more))

    def test_a_template_reads_case_time_and_sequence(self, make):
        source = make(
            "P_1/before/T1ce.nii.gz", "P_1/Post-RT/t2w.nii.gz", "P_1/before/dwi.nii.gz"
        )

        listing = self.listed(source, "{id}/{time}/{seq}.nii.gz")

        assert cells(listing, "P_1") == {
            "t1_pre": "T1ce.nii.gz",
            "t2_post": "t2w.nii.gz",
        }
        assert listing.notes == ["1 files match no template: P_1/before/dwi.nii.gz."]

    def test_the_folders_own_words_count(self, make):
        source = make("A/Visit1/KM.nii.gz", "A/Visit2/KM.nii.gz")
        row = cells(
            self.listed(
                source,
                "{id}/{time}/{seq}.nii.gz",
                words=("Visit1=pre", "Visit2=post", "km=t1"),
            ),
            "A",
        )
        assert row == {"t1_pre": "KM.nii.gz", "t1_post": "KM.nii.gz"}

    def test_what_a_template_does_not_say_stands_before_it(self, make):
        source = make("a_b_pre_seg.nii.gz", "a_b_pre.nii.gz", "deep/c_pre.nii.gz")
        listing = self.listed(
            source, "mask_t2={id}_{time}_seg.nii.gz", "t2={id}_{time}.nii.gz"
        )
        assert cells(listing, "a_b") == {
            "mask_t2_pre": "a_b_pre_seg.nii.gz",
            "t2_pre": "a_b_pre.nii.gz",
        }

    def test_other_fields_and_stars_match_anything(self, make):
        source = make("North/7/scan_99/t2_post.nii.gz")
        listing = self.listed(source, "{center}/{id}/scan_*/{role}.nii.gz")
        assert cells(listing, "7") == {"t2_post": "t2_post.nii.gz"}

    def test_folders_of_dicom_match_a_template_with_a_slash_at_its_end(self, make):
        source = make("7/pre/T1/1.dcm", "7/pre/T1/2.dcm")
        listing = self.listed(source, "{id}/{time}/{seq}/")
        assert listing.rows[0]["t1_pre"] == source / "7/pre/T1"

    def test_two_files_for_one_cell_are_refused_by_name(self, make):
        source = make("A/pre/T2.nii.gz", "A/pre/T2w.nii.gz")
        with pytest.raises(CohortError, match=r"T2\.nii\.gz and T2w\.nii\.gz"):
            self.listed(source, "{id}/{time}/{seq}.nii.gz")

    @pytest.mark.parametrize(
        "template",
        [
            *("{time}/{seq}.nii.gz", "{id}/{seq}.nii.gz", "{id}/{time}.nii.gz"),
            *("x={id}/", "t1_pre={id}/{1}.nii.gz", "t1_pre={id}/{1a}.nii.gz"),
        ],
    )
    def test_a_template_that_cannot_work_is_refused(self, make, template):
        with pytest.raises(CohortError, match=r"template|does not say"):
            self.listed(make("a.nii.gz"), template)

    def test_the_case_of_a_suffix_does_not_count(self, make):
        listing = self.listed(make("A/pre/T1.NII.GZ"), "{id}/{time}/{seq}.nii.gz")
        assert cells(listing, "A") == {"t1_pre": "T1.NII.GZ"}

    def test_nothing_found_names_what_was_looked_at(self, make):
        with pytest.raises(CohortError, match=r"1 files were looked at.*A\.nii\.gz"):
            self.listed(make("A.nii.gz"), "{id}/{time}/{seq}.nii.gz")

    def test_clinical_columns_come_by_the_name_of_the_case(self, make, tmp_path):
        table = tmp_path / "clinical.csv"
        table.write_text("id,pcr,hpv\nA,1.0,pos\nB,0,neg\n")
        source = make("A/pre/T2.nii.gz", "C/pre/T2.nii.gz")
        listing = self.listed(source, "{id}/{time}/{seq}.nii.gz", clinical=table)
        assert cells(listing, "A") == {"t2_pre": "T2.nii.gz", "pcr": "1", "hpv": "pos"}
        assert listing.notes == ["1 cases are not in the clinical table: C."]

    def test_hnts_mrg_is_ready(self, make):
        source = make(
            "2/preRT/2_preRT_T2.nii.gz",
            "2/preRT/2_preRT_mask.nii.gz",
            "2/midRT/2_midRT_T2.nii.gz",
            "2/midRT/2_midRT_mask.nii.gz",
            "2/midRT/2_preRT_T2_registered.nii.gz",
            "2/midRT/2_preRT_mask_registered.nii.gz",
        )

        own = self.listed(source, "hnts-mrg")
        registered = self.listed(source, "hnts-mrg-registered")

        assert cells(own, "2") == {
            "t2_pre": "2_preRT_T2.nii.gz",
            "mask_t2_pre": "2_preRT_mask.nii.gz",
            "t2_post": "2_midRT_T2.nii.gz",
            "mask_t2_post": "2_midRT_mask.nii.gz",
        }
        assert cells(registered, "2")["t2_pre"] == "2_preRT_T2_registered.nii.gz"
        assert cells(registered, "2")["mask_t2_pre"].endswith("mask_registered.nii.gz")
        for listing in (own, registered):
            assert len(listing.notes) == 1
            assert "midRT" in listing.notes[0]

    def test_real_annotations_are_listed_and_the_rest_is_named(self, real_data):
        listing = self.listed(
            real_data / "masks" / "hnts_mrg", "mask_t2={id}_{time}_mask.nii.gz"
        )
        assert len(listing.rows) == 8
        assert cells(listing, "2") == {
            "mask_t2_pre": "2_preRT_mask.nii.gz",
            "mask_t2_post": "2_midRT_mask.nii.gz",
        }
        assert any("7 files match no template" in note for note in listing.notes)
        assert any("annotation without its volume" in note for note in listing.notes)
