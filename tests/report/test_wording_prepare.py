"""The sentences on filters and merging are true for every setting: what is on stands there with its value, what is off as off."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smlmbatch.config import Config, override
from smlmbatch.report.wording_prepare import prepared

THIN = "\u202f"


def said(**settings):
    return prepared(override(Config(), {"prepare": settings}))


def test_the_default():
    text = said()
    assert text.startswith(f"Locs with a lateral precision above 30{THIN}nm were dropped; locs of which this is not known were kept.")
    assert "There was no filter by photons, PSF width or frame." in text
    assert text.endswith("Repeated blinks of one molecule were not merged.")


def test_everything_on():
    text = said(
        max_precision_nm=12.5,
        min_photons=500.0,
        max_photons=2_000_000.0,
        min_psf_nm=80.0,
        max_psf_nm=1200.0,
        first_frame=1000,
        last_frame=20_000,
        merge_nm=40.0,
        merge_dark_frames=3,
    )
    for words in (
        f"precision above 12.5{THIN}nm, fewer than 500 or more than 2,000,000 photons",
        f"a PSF width below 80{THIN}nm or above 1.2{THIN}µm or a frame number below 1,000 or above 20,000 (counted from 0) were dropped",
        f"up to 3 frames without a loc between two of them, each within 40{THIN}nm of the one before",
    ):
        assert words in text
    assert "no filter" not in text
    assert "not merged" not in text
    assert "NeNA" not in text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"last_frame": 0}, "a frame number above 0 (counted from 0)"),
        ({"min_photons": 1.5}, "fewer than 1.5 photons"),
        ({"max_psf_nm": 200.0}, f"a PSF width above 200{THIN}nm"),
        ({"merge_nm": 5.0}, "with no frame without a loc between them"),
        (
            {"merge_nena": 1.0, "merge_dark_frames": 1},
            "up to 1 frame without a loc between two of them, each within the precision measured",
        ),
        ({"merge_nena": 2.5}, "Channels in which NeNA finds no precision, as in exports whose blinks are merged already, were left"),
        ({"merge_nena": 2.5}, "within 2.5 times the precision measured in its field and channel (NeNA [endesfelder])"),
    ],
)
def test_one_by_one(settings, words):
    assert words in said(**settings)


@settings(deadline=None)
@given(
    max_precision_nm=st.sampled_from([0.0, 20.0]),
    min_photons=st.sampled_from([0.0, 300.0]),
    max_psf_nm=st.sampled_from([0.0, 300.0]),
    last_frame=st.sampled_from([-1, 500]),
    merge_nm=st.sampled_from([0.0, 25.0]),
)
def test_each_quantity_is_named_once_as_on_or_off(max_precision_nm, min_photons, max_psf_nm, last_frame, merge_nm):
    text = said(max_precision_nm=max_precision_nm, min_photons=min_photons, max_psf_nm=max_psf_nm, last_frame=last_frame, merge_nm=merge_nm)
    filters, merging = text.split(" Repeated" if " Repeated" in text else " Blinks")
    on, _, off = filters.rpartition("filter" if "filter" in filters else "\0")
    on, off = (filters, "") if "filter" not in filters else (on, off)
    for name, word, is_on in (
        ("precision", "a lateral precision above", max_precision_nm > 0),
        ("photons", "fewer than", min_photons > 0),
        ("PSF width", "a PSF width above", max_psf_nm > 0),
        ("frame", "a frame number above", last_frame >= 0),
    ):
        assert (word in on) == is_on
        assert (name in off) != is_on
    assert ("were not merged" in merging) == (merge_nm == 0)
