"""The analysis as a whole: on made-up campaigns with units, and on whatever labels and vectors there can be."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smlmbatch.analyse import embeddings
from smlmbatch.analyse.digest import table_digest
from smlmbatch.analyse.embedding_rows import EmbeddedRois, Settings
from smlmbatch.analyse.embeddings import analyse, read_records, write_embeddings
from smlmbatch.analyse.fingerprint import EMBEDDING_NAMES, table_path, tables_fingerprint
from smlmbatch.analyse.grouping import channels_joined, group_rois, labels_of
from smlmbatch.analyse.tables import write_tables
from smlmbatch.config import CompareConfig, Config, EmbedConfig, EmbeddingsConfig
from smlmbatch.errors import InputError, SmlmbatchError
from smlmbatch.work import Campaign, FieldResult
from tests.analyse import drawn
from tests.analyse.embedded_campaigns import FEATURES, embedded, write_unit

QUICK = EmbeddingsConfig(repeats=2, n_locs=50, bootstrap=200)
PLAIN = CompareConfig()
SMALL = {"side_um": 14.0, "n_locs": 1200}  # so few ROIs that no UMAP is drawn, which compiles for 20 s


def written(campaign: Campaign, *, compare: CompareConfig = PLAIN, own: EmbeddingsConfig = QUICK) -> Campaign:
    campaign = replace(campaign, config=replace(campaign.config, compare=compare, embeddings=own))
    write_tables(campaign, fingerprint="tables")
    write_embeddings(campaign, fingerprint="own")
    return campaign


def rows_of(campaign: Campaign, name: str = "embeddings") -> pa.Table:
    return pq.ParquetFile(table_path(campaign.output, name)).read()


@pytest.fixture(scope="module")
def study(made, tmp_path_factory):
    """Three conditions far apart, the descriptors of all alike."""
    output = tmp_path_factory.mktemp("study")
    doses = ("0 nM", "5 nM", "50 nM")
    campaign = made.study(output, conditions=doses, replicates=2, channels=(0, 3), **SMALL)
    return written(embedded(campaign, apart=30.0), compare=CompareConfig(reference="0 nM"))


def test_every_embedded_roi_is_a_row_with_its_own_vector(study):
    from smlmbatch.store.arrays import UnitReader

    table = rows_of(study)
    vectors = table["embedding"].combine_chunks().flatten().to_numpy().reshape(-1, FEATURES)
    start = 0
    for result in study.fields:
        with UnitReader(result.units["embed"]) as unit:
            n = unit.length("roi")
            own = table.slice(start, n)
            assert set(own["key"].to_pylist()) == {result.field.key}
            assert set(own["condition"].to_pylist()) == {result.field.condition}
            for name in ("roi", "channel", "n_locs"):
                np.testing.assert_array_equal(own[name].to_numpy(), unit.read(name))
            np.testing.assert_array_equal(vectors[start : start + n], unit.read("embedding"))
            start += n
    assert start == len(table)


def test_channels_are_analysed_by_themselves(study):
    table = rows_of(study)
    for channel in (0, 3):
        own = table.filter(pa.compute.equal(table["channel"], channel))
        clusters = [set(own.filter(pa.compute.equal(own["condition"], c))["kmeans"].to_pylist()) for c in ("0 nM", "5 nM", "50 nM")]
        assert sorted(map(tuple, clusters)) == [(0,), (1,), (2,)]
    assert {score.channel for score in read_records(study.output, "embedding_scores")} == {0, 3, None}


def test_conditions_far_apart_are_told_apart_and_by_nothing_else(study):
    found = {(s.representation, s.n_locs, s.measure, s.label): s for s in read_records(study.output, "embedding_scores") if s.channel == 0}
    for measure in ("ARI k-means", "ARI Ward"):
        assert found["embedding", 0, measure, "condition"].value == 1
        assert found["embedding", 0, measure, "condition without 0 nM"].value == 1
        for other in ("log N", "random encoder"):
            assert abs(found[other, 0, measure, "condition"].value) < 0.35
    # thinned ROIs are embedded by the network that is there, which knows nothing of the vectors drawn
    assert found["embedding", 50, "ARI k-means", "condition"].repeats == 2
    assert abs(found["embedding", 50, "ARI k-means", "condition"].value) < 0.35
    assert found["embedding", 0, "accuracy nearest", "condition"].value == 1
    assert found["descriptors", 0, "ARI k-means", "condition"].n_locs == 0


def test_clusters_distances_and_order(study):
    clusters = [row for row in read_records(study.output, "embedding_clusters") if row.channel == 0]
    assert len(clusters) == 9
    assert sum(row.n for row in clusters) == sum(row.n_condition for row in clusters) / 3
    assert {row.entropy for row in clusters} == {0.0}
    distances = [row for row in read_records(study.output, "embedding_distances") if row.channel == 0]
    assert [(row.condition, row.other) for row in distances] == [("0 nM", "5 nM"), ("0 nM", "50 nM"), ("5 nM", "50 nM")]
    for row in distances:
        assert row.distance == pytest.approx(30, rel=0.1)
        assert row.low > 20
    orders = [flag for flag in read_records(study.output, "embedding_flags") if flag.kind == "order"]
    assert [flag.channel for flag in orders] == [0, 3]


def test_fingerprint_and_again_the_same(study, tmp_path):
    assert tables_fingerprint(study.output, EMBEDDING_NAMES) == "own"
    assert tables_fingerprint(study.output) == "tables"
    before = {name: table_digest(table_path(study.output, name)) for name in EMBEDDING_NAMES}
    write_embeddings(study, fingerprint="own")
    assert {name: table_digest(table_path(study.output, name)) for name in EMBEDDING_NAMES} == before


def test_regions_embedded_with_an_equal_number_of_locs(made, tmp_path):
    """All is said of that number; another normalisation is drawn from all locs that a ROI has."""
    campaign = embedded(made.study(tmp_path, replicates=2, **SMALL), apart=30.0, n_locs=50)
    written(campaign, own=replace(QUICK, n_locs=50))
    found = {(s.representation, s.n_locs) for s in read_records(tmp_path, "embedding_scores") if s.measure == "ARI k-means"}
    tenth = max(n for _, n in found)
    assert tenth > 50
    everywhere = {("embedding", 50), ("log N", 50), ("random encoder", 50), ("descriptors", 0)}
    assert found == everywhere | {("embedding", tenth), ("random encoder", tenth)}
    assert set(rows_of(campaign)["n_locs"].to_pylist()) == {50}
    scores = read_records(tmp_path, "embedding_scores")
    drawn_with = {(s.representation, s.measure): s.n_locs for s in scores if s.n_locs != tenth}
    assert {key: n for key, n in drawn_with.items() if n != 50} == {("descriptors", s.measure): 0 for s in scores if s.label == "condition"}


def test_joint_conditions_over_channels(made, tmp_path):
    campaign = embedded(made.study(tmp_path, replicates=2, channels=(0, 1), **SMALL), apart=30.0)
    written(campaign, compare=CompareConfig(conditions="condition,channel"))
    assert {row.channel for row in read_records(tmp_path, "embedding_distances")} == {None}
    conditions = set(rows_of(campaign)["condition"].to_pylist())
    assert conditions == {f"{name} \u00d7 channel {c}" for name in ("ctrl", "egf") for c in (0, 1)}
    scores = read_records(tmp_path, "embedding_scores")
    assert {score.channel for score in scores} == {None}
    assert {score.groups for score in scores if score.measure == "ARI k-means"} == {4}


def test_without_a_model_tables_are_empty_and_say_why(made, tmp_path):
    campaign = written(embedded(made.study(tmp_path, **SMALL), with_model=False))
    for name in EMBEDDING_NAMES[:-1]:
        assert rows_of(campaign, name).num_rows == 0, name
    (flag,) = read_records(tmp_path, "embedding_flags")  # and not one more of each channel
    assert 'embed.model = "none"' in flag.text
    assert tables_fingerprint(tmp_path, EMBEDDING_NAMES) == "own"


def test_fields_not_embedded_yet_are_said(made, tmp_path):
    campaign = embedded(made.study(tmp_path, **SMALL), apart=30.0)
    first = replace(campaign.fields[0], units={k: v for k, v in campaign.fields[0].units.items() if k != "embed"})
    written(replace(campaign, fields=(first, *campaign.fields[1:])))
    texts = [flag.text for flag in read_records(tmp_path, "embedding_flags")]
    assert any("1 of 6 fields are measured but not embedded" in text for text in texts)
    assert first.field.key not in set(rows_of(campaign)["key"].to_pylist())


@pytest.mark.parametrize("n_fields", [0, 1])
def test_campaigns_with_next_to_nothing(made, tmp_path, n_fields):
    campaign = made.build(tmp_path, [made.Cell(field=made.field("a/1.csv", "a", "r"), empty=True)] * n_fields)
    campaign = written(embedded(campaign) if n_fields else campaign)
    assert rows_of(campaign).num_rows == 0
    assert any("o ROI was embedded" in flag.text or "No field" in flag.text for flag in read_records(tmp_path, "embedding_flags"))


def test_a_roi_that_the_table_does_not_have_is_refused(made, tmp_path):
    campaign = made.study(tmp_path, replicates=1, **SMALL)
    campaign = embedded(campaign)
    write_tables(campaign, fingerprint="tables")
    path = campaign.fields[0].units["embed"]
    path.unlink()
    unit = {"roi": [9999], "channel": [0], "n_locs": [60], "vectors": np.zeros((1, FEATURES)), "channels": [0], "skipped": [0]}
    write_unit(path, **unit, model=("mine", "0" * 64))
    with pytest.raises(SmlmbatchError, match="has ROIs that the table"):
        write_embeddings(campaign, fingerprint="own")


def test_a_model_that_is_gone_is_named(made, tmp_path):
    campaign = embedded(made.study(tmp_path, replicates=1, **SMALL))
    campaign = replace(campaign, config=replace(campaign.config, embed=EmbedConfig(model="mine", sha256="1" * 64)))
    write_tables(campaign, fingerprint="tables")
    with pytest.raises(InputError, match="mine"):
        write_embeddings(campaign, fingerprint="own")


# ---- whatever there can be

WORDS = st.sampled_from(["a", "b", "0 nM", "5 nM", "50 nM", "(empty)", "", "é\udce9"])
ROW = st.tuples(WORDS, st.sampled_from(["1", "2", "3"]), st.sampled_from(["", "mon", "tue"]), st.integers(0, 2), st.integers(1, 400))


def campaign_of(
    rows, vectors, *, label: list[str], compare: CompareConfig, own: EmbeddingsConfig
) -> tuple[EmbeddedRois, Campaign, pa.Table]:
    table, fields = drawn.tables(
        [
            {"condition": c or "none", "replicate": r, "batch": b, "channel": ch, "n_locs": n, "roi": i, "cell": "1", "field": "f"}
            for i, (c, r, b, ch, n) in enumerate((c.encode("ascii", "replace").decode(), *rest) for c, *rest in rows)
        ]
    )
    fields = fields.append_column("label_dose", pa.array((label * len(fields))[: len(fields)], pa.string()))
    fields = fields.append_column("format", pa.array(["csv"] * len(fields))).append_column("batch", pa.array([""] * len(fields)))
    rois = EmbeddedRois(
        rows=table,
        grouped=group_rois(table, fields, config=compare),
        vectors=np.asarray(vectors, dtype=np.float32),
        n_locs=table["n_locs"].to_numpy(),
        settings=Settings(model="m", features=4),
        joined=channels_joined(labels_of(fields), config=compare),
        skipped={0: 3, 2: 0},
    )
    return rois, Campaign(output=None, config=Config(compare=compare, embeddings=own), fields=()), fields


@settings(max_examples=60)
@given(st.data())
def test_nothing_is_raised_for_odd_campaigns(data):
    rows = data.draw(st.lists(ROW, max_size=40))
    kind = data.draw(st.sampled_from(["normal", "alike", "two places", "huge", "not finite"]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    vectors = rng.normal(size=(len(rows), 4))
    vectors = {"alike": 0 * vectors, "two places": np.sign(vectors), "huge": 1e15 * vectors}.get(kind, vectors)
    if kind == "not finite" and len(rows):
        vectors[0] = np.nan
    columns = data.draw(st.sampled_from(["condition", "condition,channel", "batch", "replicate", "condition,batch", "dose"]))
    compare = CompareConfig(conditions=columns, reference=data.draw(st.sampled_from(["", "a", "5 nM"])))
    label = data.draw(st.sampled_from([[""], ["0", "1", "2"], ["low", "high"], ["1e400", "2", "3"]]))
    own = EmbeddingsConfig(bootstrap=200, clusters=data.draw(st.sampled_from([0, 0, 2, 7])), max_rois=100)
    rois, campaign, fields = campaign_of(rows, vectors, label=label, compare=compare, own=own)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embeddings, "_embedder", lambda rois, campaign: None)  # no locs are there to be embedded again
        found = analyse(rois, campaign, fields)
    _check(found, rois)


def _check(found: embeddings.Analysis, rois: EmbeddedRois) -> None:
    """What must hold of any campaign."""
    for family, result in found.families:
        n = len(family.rows)
        assert [len(a) for a in (result.kmeans, result.ward, result.axis_1, result.place)] == [n] * 4
        if (result.kmeans >= 0).any():
            sizes = np.bincount(result.kmeans)
            assert (result.kmeans >= 0).all()
            assert (np.diff(sizes) <= 0).all()
            assert sum(row.n for row in result.clusters) == n
            assert all(0 <= row.n <= min(row.n_cluster, row.n_condition) for row in result.clusters)
        n_names = len(family.names)
        assert len(result.distances) in (n_names * (n_names - 1) // 2, 0)
        assert all(row.distance >= 0 for row in result.distances)
    for score in found.scores:
        assert np.isfinite(score.value) or score.note, score
        assert not score.low > score.high
    for name, rows in found.records().items():
        assert all(isinstance(embeddings._with_nulls(row), dict) for row in rows), name
    assert all(isinstance(values, pa.Array) and len(values) == len(rois) for values in embeddings._spread(found).values())


def test_too_many_conditions_are_not_clustered(monkeypatch):
    rows = [(f"folder {i % 27}", str(i // 27), "", 0, 100) for i in range(54)]
    vectors = np.random.default_rng(0).normal(size=(54, 4))
    monkeypatch.setattr(embeddings, "_embedder", lambda rois, campaign: None)
    for clusters in (0, 3):
        own = EmbeddingsConfig(bootstrap=200, clusters=clusters)
        found = analyse(*campaign_of(rows, vectors, label=[""], compare=CompareConfig(), own=own))
        _, result = found.families[0]
        assert result.kmeans.max() + 1 == clusters
        assert not result.distances
        assert any("27 conditions" in flag.text for flag in found.flags)


def test_one_condition_is_clustered_at_the_elbow(monkeypatch):
    rng = np.random.default_rng(0)
    vectors = 20 * np.eye(4)[np.arange(54) % 3] + rng.normal(size=(54, 4))
    monkeypatch.setattr(embeddings, "_embedder", lambda rois, campaign: None)
    rows = [("a", str(i % 2), "", 0, 100) for i in range(54)]
    _, result = analyse(*campaign_of(rows, vectors, label=[""], compare=CompareConfig(), own=QUICK)).families[0]
    assert np.bincount(result.kmeans).tolist() == [18, 18, 18]
    assert all(np.isnan(row.entropy) for row in result.clusters)


def test_an_order_is_said_once_and_by_name(monkeypatch):
    """A column of doses that says what conditions' names say already is left out; another order is not."""
    monkeypatch.setattr(embeddings, "_embedder", lambda rois, campaign: None)
    vectors = np.random.default_rng(0).normal(size=(54, 4)) + 3.0 * (np.arange(54) % 3)[:, None]
    rows = [(f"{dose} nM", str(i // 18), "", 0, 100) for i, dose in zip(range(54), [0, 5, 50] * 18, strict=True)]
    for label, said in ((["0", "1", "2"], ["conditions"]), (["2", "0", "1"], ["conditions", "dose"])):
        rois, campaign, fields = campaign_of(rows, vectors, label=[""], compare=CompareConfig(), own=QUICK)
        own = [label[("0 nM", "5 nM", "50 nM").index(name)] for name in fields["condition"].to_pylist()]
        fields = fields.set_column(fields.column_names.index("label_dose"), "label_dose", pa.array(own))
        found = analyse(rois, campaign, fields)
        texts = [flag.text for flag in found.flags if flag.kind == "order"]
        assert [s.label for s in found.scores if s.measure == "Spearman ROIs"] == [f"order of {name}" for name in said]
        assert "follow the order of the numbers in conditions' names" in texts[0]
        assert len(texts) == len(said)


def test_one_condition_is_not_embedded_again_thinned(made, tmp_path):
    campaign = made.study(tmp_path, conditions=("a",), replicates=2, **SMALL)
    written(embedded(campaign), own=replace(QUICK, n_locs=50))
    scores = read_records(tmp_path, "embedding_scores")
    assert {score.n_locs for score in scores} == {0}
    assert {score.representation for score in scores} >= {"embedding", "log N", "descriptors", "random encoder", "cell means"}


def test_units_without_the_embed_stage(made, tmp_path):
    campaign = written(made.study(tmp_path, replicates=1, **SMALL))
    texts = [flag.text for flag in read_records(tmp_path, "embedding_flags")]
    assert texts[0].startswith("Nothing was embedded. No field is embedded yet")
    assert isinstance(campaign.fields[0], FieldResult)
