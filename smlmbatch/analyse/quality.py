"""Traffic lights: what the stage quality measured, held against the limits of `[quality]`, with a sentence for who took the data.

Green: as it should be. Amber: look at it. Red: results of this field are in doubt. Grey: could not be judged, and why. Every check is
one row of a table: what it is held against and what to say. The limits judge only; changing them measures nothing anew.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from smlmbatch.analyse.results import LIGHTS, Light, QualityCheck
from smlmbatch.config import Config, PrepareConfig
from smlmbatch.store.arrays import UnitReader
from smlmbatch.work import FieldResult

Numbers = Mapping[str, float]  # of one channel, by name; NaN where unknown


@dataclass(frozen=True, slots=True)
class Rule:
    """How one quantity is judged.

    Attributes
    ----------
    bad : "above" or "below" the limits; "either" = a ratio or its inverse above them
    good_text, bad_text : for one value; {names} are those of `Numbers`, and `share` is the value in percent
    whole_field : a value of the field, not of a channel
    """

    unit: str
    bad: str
    good_text: str
    bad_text: str
    whole_field: bool = False


RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        "nena_over_precision": Rule(
            "1",
            "either",
            "NeNA finds a precision of {nena_nm:.1f} nm from molecules seen in following frames{before_merging}; {stated_nm:.1f} nm are "
            "stated.",
            "NeNA finds a precision of {nena_nm:.1f} nm from molecules seen in following frames{before_merging}, but the file states "
            "{stated_nm:.1f} nm (median). {nena_advice}",
        ),
        "drift_nm": Rule(
            "nm",
            "above",
            "The second half of the recording lies {drift_nm:.0f} ± {drift_error_nm:.0f} nm from the first: no drift that matters is left.",
            "The second half of the recording lies {drift_nm:.0f} ± {drift_error_nm:.0f} nm from the first (x {drift_x_nm:+.0f}, "
            "y {drift_y_nm:+.0f}): structures are smeared by as much. Correct the drift (fiducials or cross-correlation) and export again.",
        ),
        "fading": Rule(
            "1",
            "below",
            "The last quarter of the recording has {share:.0f} % of the locs per frame of the first.",
            "Locs per frame fall to {share:.1f} % from the first to the last quarter of the recording: molecules bleach, or activation "
            "was not raised. Counts depend on how long was recorded: compare fields of equal length only.",
        ),
        "gaps": Rule(
            "1",
            "above",
            "Locs come all through the recording.",
            "{share:.0f} % of the recording has no loc where some were to be expected: a closed shutter, lost focus, or frames filtered "
            "out. Look at the locs over time, and leave such fields out of comparisons of counts.",
        ),
        "duplicates": Rule(
            "1",
            "above",
            "{share:.2g} % of the locs lie within 1 nm of another of the same frame.",
            "{share:.2g} % of the locs lie within 1 nm of another of the same frame: the table holds them twice, or spots were fitted "
            "twice. Counts and clusters are inflated: remove duplicates in the fitting program and export again.",
        ),
        "blinks": Rule(
            "1",
            "above",
            "{share:.1f} % of the locs go on in the next frame: already linked, or short blinks. Later blinks of the same molecule are "
            "not seen by this check.",
            "{share:.0f} % of the locs go on in the next frame{though_merged}: molecules count several times, so counts are too high and "
            "each molecule looks like a small cluster. {blinks_advice}",
        ),
        "crowding": Rule(
            "1",
            "above",
            "{share:.1f} % of the locs have another of the same frame within {crowded_nm:.0f} nm: spots are well apart.",
            "{share:.0f} % of the locs have another of the same frame within {crowded_nm:.0f} nm: overlapping spots are fitted in between "
            "or lost, unless a fit of several emitters was used. Record with fewer active molecules per frame (less activation).",
        ),
        "illumination": Rule(
            "1",
            "below",
            "Molecules in the darkest tenth of the field are {share:.0f} % as bright as in the brightest: even enough.",
            "Molecules in the darkest tenth of the field are only {share:.0f} % as bright as in the brightest: detection and precision "
            "differ over the field. Compare regions of the same part of the field, or flatten the illumination.",
        ),
        "cut": Rule(
            "1",
            "above",
            "{share:.0f} % of the outline runs along the field's edge, which matters for numbers per cell only.",
            "{share:.0f} % of the outline runs along the field's edge: cells are cut. Numbers per region hold; only numbers and areas per "
            "cell don't.",
            whole_field=True,
        ),
        "rois": Rule(
            "",
            "below",
            "{rois:.0f} regions are kept.",
            "{kept} {rois_advice}",
            whole_field=True,
        ),
    }
)


def checks_of(result: FieldResult, config: Config) -> list[QualityCheck]:
    """All checks of one field, checks in the order of `RULES`, channels in ascending order; none before its stage quality is done.

    Raises
    ------
    SmlmbatchError
        the unit is damaged
    """
    path = result.units.get("quality")
    if path is None:
        return []
    with UnitReader(path) as unit:
        return judge(result, unit.attrs, config)


def judge(result: FieldResult, attrs: Mapping[str, Any], config: Config) -> list[QualityCheck]:
    """The same from the attributes of the field's quality unit."""
    of_channel = {int(channel): _numbers(attrs, place) for place, channel in enumerate(attrs["channels"])}
    of_field = {name: _number(value) for name, value in attrs["field_values"].items()}
    checks = []
    for name, rule in RULES.items():
        judged: Iterable[tuple[int | None, Numbers]] = [(None, of_field)] if rule.whole_field else of_channel.items()
        checks += [_check(result, name, channel, numbers, attrs, config) for channel, numbers in judged]
    return checks


def worst(lights: Iterable[Light]) -> Light:
    """The worst of several; grey never hides green.

    >>> worst(["grey", "green"]), worst(["green", "amber", "grey"]), worst(["grey"])
    ('green', 'amber', 'grey')
    """
    found = set(lights)
    return "green" if found == {"grey", "green"} else max(found, key=LIGHTS.index, default="grey")


def _check(result: FieldResult, name: str, channel: int | None, numbers: Numbers, attrs: Mapping[str, Any], config: Config) -> QualityCheck:
    limits, value = config.quality, numbers.get(name, math.nan)
    amber, red = float(getattr(limits, f"{name}_amber")), float(getattr(limits, f"{name}_red"))
    light, text = _light(name, value, amber, red), ""
    if light == "green" and name == "rois" and attrs.get("no_field"):
        light = "amber"
    if light == "grey":
        text = f"Not judged: {_reason(attrs, name, channel)}."
    elif name == "drift_nm" and value < _DRIFT_ERRORS * numbers["drift_error_nm"]:
        light, text = _unsure_drift(numbers, amber)
    if not text:
        text = _say(name, numbers, light, attrs, config.prepare)
    field = result.field
    return QualityCheck(
        key=field.key,
        field=field.name,
        check=name,
        channel=channel,
        value=value,
        unit=RULES[name].unit,
        amber=amber,
        red=red,
        light=light,
        text=text,
    )


# The error is itself estimated, from two pairs of numbers: squared, offset over error follows F(2, 4), which is above 9 in 3 of 100
# fields without drift.
_DRIFT_ERRORS = 3.0


def _light(name: str, value: float, amber: float, red: float) -> Light:
    if math.isnan(value):
        return "grey"
    bad = RULES[name].bad
    if bad == "below":
        return "red" if value < red else "amber" if value < amber else "green"
    if bad == "either":
        value = max(value, 1 / value) if value else math.inf
    return "red" if value > red else "amber" if value > amber else "green"


def _unsure_drift(numbers: Numbers, amber: float) -> tuple[Light, str]:
    """Where the offset found is no larger than its error allows."""
    found = f"{numbers['drift_nm']:.0f} ± {numbers['drift_error_nm']:.0f} nm"
    if max(numbers["drift_error_nm"], numbers["drift_nm"] - numbers["drift_error_nm"]) <= amber:
        return "green", f"No drift is seen: {found} between the first and the second half of the recording."
    return "grey", f"Not judged: {found} between the halves of the recording is too uncertain; there is too little fine structure to go by."


def _say(name: str, numbers: Numbers, light: Light, attrs: Mapping[str, Any], settings: PrepareConfig) -> str:
    rule, value = RULES[name], numbers[name]
    words: dict[str, Any] = {"share": 100 * value}
    if name == "nena_over_precision":
        words |= {
            "before_merging": " before merging" if attrs["merged"] else "",
            "stated_nm": numbers.get("precision_unmerged_nm", numbers["precision_median_nm"]),
            "nena_advice": _NENA_HIGH if value > 1 else _NENA_LOW,
        }
    elif name == "blinks":
        words |= _blinks_words(numbers["nena_nm"], settings, merged=bool(attrs["merged"]))
    elif name == "rois":
        words |= _rois_words(round(value), str(attrs.get("no_field", "")))
    return (rule.good_text if light == "green" else rule.bad_text).format(**{**numbers, **words})


def _blinks_words(nena_nm: float, settings: PrepareConfig, *, merged: bool) -> dict[str, str]:
    """What to do about blinks that go on; after merging, whether its distance can have linked them.

    Two sightings of a molecule lie within k x NeNA with the probability 1 - exp(-k^2 / 4): the first term of NeNA's own model.
    """
    wide = f"prepare.merge_nena = 4 in the settings{f', or --merge-nm {4 * nena_nm:.0f}' if nena_nm > 0 else ''}"
    if not merged:
        return {"though_merged": "", "blinks_advice": f"Merge them ({wide}) before densities or cluster sizes are compared."}
    reach = settings.merge_nm / nena_nm if settings.merge_nm and nena_nm > 0 else settings.merge_nena
    if not 0 < reach < _WIDE_NENA:
        advice = "Widen the distance (prepare.merge_nena in the settings, or --merge-nm)."
        return {"though_merged": " although blinks were merged", "blinks_advice": advice}
    share = -100 * math.expm1(-(reach**2) / 4)
    advice = (
        f"Only {share:.0f} % of two sightings of a molecule lie so near: widen the distance ({wide}) where molecules are farther apart."
    )
    return {"though_merged": f" although blinks were merged over {reach:.2g} x NeNA", "blinks_advice": advice}


def _rois_words(n: int, no_field: str) -> dict[str, str]:
    kept = {0: "No region is kept: nothing of the field enters the results.", 1: "1 region is kept: too few to stand for the field."}
    few = f"{n} regions are kept" + (", but they mean nothing." if no_field else ": few to stand for the field.")
    return {"kept": kept.get(n, few), "rois_advice": f"The file is {no_field}." if no_field else _ROIS_DROPPED}


_WIDE_NENA: Final = 3.0  # times NeNA lie 90 % of the sightings of a molecule in two frames
_ROIS_DROPPED: Final = (
    "See in the field's picture why regions were dropped: the outline found (--outline field takes the whole field), too little of a "
    "region inside it (--min-coverage), too few locs (--min-locs), or regions too large for these cells (--roi-nm)."
)

_NENA_HIGH: Final = (
    "Distances are less certain than stated: drift or vibration within frames, moving molecules, or camera settings (gain, offset, "
    "pixel size) wrong in the fit. Rely on NeNA's value for the resolution."
)
_NENA_LOW: Final = (
    "The stated one is too pessimistic, or not what it seems: a variance, a full width, another unit, or photons too low by a wrong "
    "camera gain. A filter by precision drops good locs."
)


def _reason(attrs: Mapping[str, Any], name: str, channel: int | None) -> str:
    """Why a value is null: the note, or its part on this channel where channels differ."""
    note = str(attrs["notes"].get(name, "it could not be measured"))
    for part in note.split("; "):
        if part.startswith(f"channel {channel}: "):
            return part.removeprefix(f"channel {channel}: ")
    return note


def _numbers(attrs: Mapping[str, Any], place: int) -> Numbers:
    """Values of one channel."""
    crowded = attrs["crowded_nm"]
    values = {name: _number(per_channel[place]) for name, per_channel in attrs["values"].items()}
    return values | {"crowded_nm": float(crowded[place]) if crowded else math.nan}


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
