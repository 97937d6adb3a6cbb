"""What was done to the locs before anything was measured, in words: filters and merging, and which of them were off.

`[endesfelder]` cites NeNA by the key that `methods` numbers.
"""

from collections.abc import Sequence

from smlmbatch.config import Config, PrepareConfig
from smlmbatch.report.wording import count, counted, length

_NOT_MERGED = "Repeated blinks of one molecule were not merged."


def prepared(config: Config) -> str:
    """Sentences for a methods section, true for every setting.

    >>> from smlmbatch.config import override
    >>> prepared(override(Config(), {"prepare": {"max_precision_nm": 0}}))
    'Locs were not filtered by precision, photons, PSF width or frame. Repeated blinks of one molecule were not merged.'
    """
    return f"{_filters(config.prepare)} {_merging(config.prepare)}"


def _filters(settings: PrepareConfig) -> str:
    dropped = {
        "precision": _beyond("a lateral precision", "", length(settings.max_precision_nm) if settings.max_precision_nm else ""),
        "photons": _photons(settings),
        "PSF width": _beyond(
            "a PSF width",
            length(settings.min_psf_nm) if settings.min_psf_nm else "",
            length(settings.max_psf_nm) if settings.max_psf_nm else "",
        ),
        "frame": _frames(settings),
    }
    off = _listed([name for name, words in dropped.items() if not words])
    on = _listed([words for words in dropped.values() if words])
    if not on:
        return f"Locs were not filtered by {off}."
    text = f"Locs with {on} were dropped; locs of which this is not known were kept."
    return f"{text} There was no filter by {off}." if off else text


def _photons(settings: PrepareConfig) -> str:
    low, high = (f"{value:,.10g}" if value else "" for value in (settings.min_photons, settings.max_photons))
    unit = " photons (or the file\u2019s own unit of intensity)"
    if low and high:
        return f"fewer than {low} or more than {high}{unit}"
    return f"fewer than {low}{unit}" if low else f"more than {high}{unit}" if high else ""


def _frames(settings: PrepareConfig) -> str:
    first, last = settings.first_frame, settings.last_frame
    words = _beyond("a frame number", count(first) if first else "", count(last) if last >= 0 else "")
    return f"{words} (counted from 0)" if words else ""


def _beyond(what: str, low: str, high: str) -> str:
    sides = " or ".join([f"below {low}"] * bool(low) + [f"above {high}"] * bool(high))
    return f"{what} {sides}" if sides else ""


def _merging(settings: PrepareConfig) -> str:
    if not (settings.merge_nm or settings.merge_nena):
        return _NOT_MERGED
    reach = length(settings.merge_nm)
    if settings.merge_nena:
        times = "" if settings.merge_nena == 1 else f"{settings.merge_nena:g} times "
        reach = f"{times}the precision measured in its field and channel (NeNA [endesfelder])"
    dark = settings.merge_dark_frames
    gap = f"with up to {counted(dark, 'frame')} without a loc between two of them" if dark else "with no frame without a loc between them"
    unmerged = " Channels in which NeNA finds no precision, as in exports whose blinks are merged already, were left as they were."
    return (
        f"Blinks were merged: locs of one channel in successive frames, {gap}, each within {reach} of the one before (laterally, the "
        "nearest pairs first), became one loc. Its position is their mean weighted by 1/precision² (the plain mean where no precision is "
        "given), its precision 1/√Σ(1/precision²); photons and background were summed, PSF widths averaged."
        f"{unmerged if settings.merge_nena else ''}"
    )


def _listed(words: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
