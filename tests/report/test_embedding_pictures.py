import base64
import io
from collections import Counter

import matplotlib.image
import numpy as np
import pytest

from smlmbatch.report.embedding_map import HEIGHTS, WIDTH, _to_px, map_height
from smlmbatch.report.embedding_pictures import choose_places, examples, small_pictures


@pytest.fixture(scope="module")
def cells(made, tmp_path_factory):
    """A sparse field, and one of three times as many locs; by key."""
    fields = [made.Cell(field=made.field(f"{n}.csv", str(n), "r"), n_locs=n, side_um=12.0) for n in (3000, 9000)]
    campaign = made.build(tmp_path_factory.mktemp("cells"), fields)
    return {result.field.key: result for result in campaign.fields}


def picture(uri):
    return matplotlib.image.imread(io.BytesIO(base64.b64decode(uri.partition(",")[2])), format="png")[..., :3]


def places_of(cells, *, channel=0):
    return [(key, roi, channel) for key in cells for roi in (5, 6)]


def test_small_pictures_lie_where_the_sheet_says(cells):
    places = places_of(cells)
    sheet = small_pictures(cells, places, side_px=64)
    image = picture(sheet.image)
    assert image.shape[:2] == (64, 4 * 64)
    assert [sheet.number[place] for place in places] == [0, 1, 2, 3]
    for place in places:
        alone = picture(small_pictures(cells, [place, *places], side_px=64).image)[:, :64]
        at = 64 * sheet.number[place]
        assert ((image[:, at : at + 64] > 0.1) == (alone > 0.1)).all()


def test_a_finer_raster_is_shown_by_whole_parts(cells):
    assert small_pictures(cells, places_of(cells)[:1], side_px=128).side_px == 64
    assert small_pictures(cells, places_of(cells)[:1], side_px=256).side_px == 64
    assert small_pictures(cells, places_of(cells)[:1], side_px=48).side_px == 48


def test_dense_regions_look_denser(cells):
    """One scale of brightness for all pictures."""
    drawn = examples(cells, places_of(cells))
    sparse, dense = ([picture(drawn[place]).mean() for place in places_of({key: None})] for key in cells)
    assert min(dense) > 1.3 * max(sparse)


def test_no_place_is_no_picture(cells):
    assert small_pictures(cells, [], side_px=64).image == ""
    assert examples(cells, []) == {}


def test_a_channel_without_locs_is_dark(cells):
    sheet = small_pictures(cells, places_of(cells, channel=3), side_px=64)
    assert picture(sheet.image).max() == 0


def test_places_are_chosen_evenly_over_groups_and_fields():
    places = [(f"f{i // 50}", i % 50, 0) for i in range(2000)]
    group = ["rare" if i < 50 else "common" for i in range(2000)]
    chosen = choose_places(places, group, most=200)
    counted = Counter(group[places.index(place)] for place in chosen)
    assert counted == {"rare": 50, "common": 150}
    assert len(set(chosen)) == 200
    many = [(f"f{i}", 0, 0) for i in range(3000)]
    assert len(choose_places(many, [i % 2 for i in range(3000)], most=2000)) == 400  # no more fields are opened


@pytest.mark.parametrize("n", [0, 1, 2, 500])
@pytest.mark.parametrize("stretch", [0.0, 0.1, 1.0, 9.0])
def test_all_dots_lie_on_the_map_on_one_scale(n, stretch):
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=n) * 30 + 1e4, stretch * 30 * rng.normal(size=n)
    height = map_height(x, y)
    x_px, y_px = _to_px(x, y, height)
    assert HEIGHTS[0] <= height <= HEIGHTS[1]
    assert ((x_px >= 0) & (x_px <= WIDTH) & (y_px >= 0) & (y_px <= height)).all()
    if n == 500 and stretch:
        assert np.ptp(x_px) / np.ptp(x) == pytest.approx(np.ptp(y_px) / np.ptp(y))
        assert y_px[np.argmax(y)] == y_px.min()
