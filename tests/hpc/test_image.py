"""An image says what it is, and its runtime may know better."""

import pytest

from smlmbatch.hpc.image import image_of

ABOUT = {"name": "smlmbatch-cpu", "version": "1.2.3", "revision": "abc"}


def test_an_image_tells_of_itself(tmp_path):
    (tmp_path / "image.json").write_text('{"name": "smlmbatch-cpu", "version": "1.2.3", "revision": "abc", "more": 1}')
    assert image_of({}, tmp_path) == ABOUT
    named = f"smlmbatch@sha256:{'ab' * 32}"
    assert image_of({"SMLMBATCH_IMAGE": named, "APPTAINER_CONTAINER": "/x.sif"}, tmp_path) == ABOUT | {"name": named, "file": "/x.sif"}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"name": ""}'])
def test_what_an_image_doesn_t_say_isn_t_invented(tmp_path, text):
    (tmp_path / "image.json").write_text(text)
    assert image_of({}, tmp_path) == {}
