import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smlmbatch.config import Config, config_from_dict
from smlmbatch.methods.origin import Origin
from smlmbatch.report.cluster_data import ClusterFacts
from smlmbatch.report.embedding_data import ModelFacts
from smlmbatch.report.methods import methods


def text_of(settings, **software):
    paragraphs, sources = methods(config_from_dict(settings), software=software)
    return " ".join(paragraphs).replace("\u202f", " "), sources


def test_methods_follow_the_settings():
    text, _ = text_of(
        {"measure": {"dbscan_eps_nm": 33.0, "dbscan_min_locs": 7}, "tile": {"roi_nm": 2000.0, "outline": "field"}}, smlmbatch="9.8"
    )
    assert "ε = 33 nm, at least 7 locs" in text
    assert "ROIs with fewer than 50 locs of a channel enter only that channel\u2019s density" in text
    assert "up to 500 nm" in text  # a quarter of the side
    assert "smlmbatch 9.8" in text
    assert "The whole field was taken as the cell" in text


@pytest.mark.parametrize(("prepare", "merged"), [({}, False), ({"merge_nm": 40.0}, True), ({"merge_nena": 1.0}, True)])
def test_blinks_are_said_to_be_left_only_where_they_are(prepare, merged):
    text, _ = text_of({"prepare": prepare})
    assert ("not merged" in text) == (not merged)
    assert ("Blinks were merged" in text) == merged


@pytest.mark.parametrize(
    ("compare", "said"),
    [
        ({}, "compared with each other by Welch\u2019s t test"),
        ({"reference": "ctrl"}, "compared with ctrl by"),
        ({"paired": "batch"}, "a t test paired by batch"),
        ({"conditions": "condition,region", "periphery_nm": 500.0}, "(each combination of condition, region)"),
        ({"conditions": "condition,region", "periphery_nm": 500.0}, "within 500 nm of the outline are periphery"),
        ({"alpha": 0.01}, "p below 0.01 counts"),
        ({"draws": 5000, "seed": 3}, "5,000 resamples, seed 3"),
    ],
)
def test_comparisons_are_told_as_they_are_set(compare, said):
    text, _ = text_of({"compare": compare})
    assert said in text


@given(st.sampled_from(["found", "field"]), st.sampled_from([0.0, 1.5]), st.sampled_from(["", "replicate"]))
def test_sources_are_numbered_as_they_come_and_each_is_cited(outline, merge_nena, paired):
    settings = {"tile": {"outline": outline}, "prepare": {"merge_nena": merge_nena}, "compare": {"paired": paired}}
    text, sources = text_of(settings)
    cited = [int(n) for n in re.findall(r"\[(\d+)\]", text)]
    assert list(dict.fromkeys(cited)) == list(range(1, len(sources) + 1))
    assert [int(re.match(r"\[(\d+)\] ", source)[1]) for source in sources] == list(range(1, len(sources) + 1))
    assert any("Otsu" in source for source in sources) == (outline == "found")
    assert any("Welch" in source for source in sources) == (not paired)
    assert not re.search(r"\[[a-z]{3,}\]", text.replace("[quality]", ""))  # no citation left without its number


MODEL = ModelFacts(name="contrastive", sha256="ab" * 32, side_px=64, pixel_nm=46.875, features=128, turned=True, n_locs=0, device="cpu")


@pytest.mark.parametrize(
    ("change", "settings", "said"),
    [
        ({}, {}, "64 \u00d7 64 pixels of 46.9 nm over 3 µm"),
        ({}, {}, "averaged over its 8 flips and quarter turns"),
        ({"turned": False}, {}, "without averaging over flips and turns"),
        (
            {"n_locs": 900},
            {"embed": {"seed": 4}},
            "at least 900 locs of a channel were embedded: exactly 900 locs of each, drawn at random (seed 4)",
        ),
        ({"device": "cuda"}, {}, "It ran on a GPU."),
        ({}, {"embeddings": {"clusters": 7}}, "7 clusters"),
        ({}, {"embeddings": {"n_locs": 450, "repeats": 5}}, "to 450 locs"),
    ],
)
def test_the_embedding_is_told_as_it_was_made(change, settings, said):
    paragraphs, sources = methods(config_from_dict(settings), software={}, model=replace(MODEL, **change))
    text = " ".join(paragraphs).replace("\u202f", " ")
    assert said in text
    assert f"sha256 {'ab' * 32}" in text
    assert "it has seen no experimental data" in text
    assert not re.search(r"\[[a-z]{3,}\]", text.replace("[quality]", ""))
    for name in ("Shirgill", "Chen", "Pedregosa", "Hubert", "McInnes"):
        assert sum(name in source for source in sources) == 1


def test_of_a_model_of_one_s_own_nothing_is_claimed():
    paragraphs, sources = methods(Config(), software={}, model=replace(MODEL, name="mine"))
    assert "model mine" in " ".join(paragraphs)
    assert "was trained as its card says" in " ".join(paragraphs)
    assert not any("Shirgill" in source for source in sources)


def test_sources_of_all_defaults_are_complete():
    _, sources = methods(Config(), software={})
    for name in ("Endesfelder", "Lord", "Hesterberg", "Otsu", "Ester", "Ripley", "Ohser", "Hedges", "Welch"):
        assert sum(name in source for source in sources) == 1


MIRO = ClusterFacts(method="miro", model="miro", model_sha256="cd" * 32)

TUNED = replace(MIRO, model="mine", origin=Origin(tuned=True, material="fields drawn from 9 marked clusters", conditions=("ctrl",)))


@pytest.mark.parametrize(
    ("facts", "settings", "said", "cited"),
    [
        (MIRO, {}, f"(model miro, sha256 {'cd' * 32}, trained on simulated fields of clusters alone)", "Pineda"),
        (MIRO, {}, "found in a first pass were given to it in a second", "Pineda"),
        (replace(MIRO, model="mine"), {}, "trained as its card says", "Pineda"),
        (replace(MIRO, model="mine", origin=Origin(tuned=False, material="3 fields")), {}, "trained on 3 fields)", "Pineda"),
        (TUNED, {}, "tuned to marked clusters of condition ctrl: trained on fields drawn from 9 marked clusters)", "Pineda"),
        (TUNED, {}, "It knew the size of the marked clusters, and whether molecules blink", "Pineda"),
        (MIRO, {"cluster": {"cluster_radius_nm": 40.0, "locs_per_cluster": 25.0}}, "radius (40.0 nm) and number of locs (25.0)", "Pineda"),
        (
            ClusterFacts(method="dbscan", model="", model_sha256=""),
            {"cluster": {"method": "dbscan", "eps_nm": 35.0, "min_locs": 9}},
            "In whole fields, clusters were found channel by channel with DBSCAN [1] (ε = 35 nm, at least 9 locs within ε",
            "Ester",
        ),
        (MIRO, {"cluster": {"calibration_locs_per_molecule": 6.5}}, "Copy numbers are locs over 6.50, the locs of one molecule.", "Pineda"),
    ],
)
def test_clusters_of_whole_fields_are_told_as_they_were_found(facts, settings, said, cited):
    paragraphs, sources = methods(config_from_dict(settings), software={}, clusters=facts)
    text = " ".join(paragraphs).replace("\u202f", " ")
    assert re.sub(r"\[\d+\]", "[1]", said) in re.sub(r"\[\d+\]", "[1]", text)
    assert sum(cited in source for source in sources) == 1
    assert not re.search(r"\[[a-z]{3,}\]", text.replace("[quality]", ""))


def test_without_clusters_nothing_is_told_of_them():
    paragraphs, sources = methods(Config(), software={})
    assert "In whole fields" not in " ".join(paragraphs)
    assert not any("Pineda" in source for source in sources)
