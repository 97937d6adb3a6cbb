"""How the model was made that found the clusters, and whether comparisons between conditions may be its own doing.

A model tuned to marked clusters finds the likes of them, and others less well. Where it was tuned to fewer conditions than are compared, a
difference may so be the model's and not the sample's, in any number of replicates: no test can see it.
"""

from collections.abc import Sequence

from smlmbatch.analyse.results import Comparison
from smlmbatch.methods.origin import Origin
from smlmbatch.report.cluster_data import ClusterFacts

_MOST_NAMED = 6
_MEND = (
    "Mark clusters of every condition that is compared, tune again (a column `condition` in the table of marked clusters puts it on the "
    "model\u2019s card), and hold the result against the shipped model\u2019s."
)


def tuned_said(origin: Origin) -> str:
    """What a tuned model was tuned to.

    >>> tuned_said(Origin(tuned=True, material="fields drawn from 9 marked clusters", conditions=("ctrl",)))
    'tuned to marked clusters of condition ctrl: trained on fields drawn from 9 marked clusters'
    """
    whose = _named("condition", origin.conditions) if origin.conditions else "conditions that its card doesn\u2019t tell"
    return f"tuned to marked clusters of {whose}" + (f": trained on {origin.material}" if origin.material else "")


def learned_said(facts: ClusterFacts) -> str:
    """The sentence on what a network learned from, and what follows for what it finds."""
    origin = facts.origin
    if origin is not None and origin.tuned:
        return f"The network was {tuned_said(origin)}. Clusters unlike the marked ones may be missed, cut or run together."
    if facts.model != facts.method and (origin is None or not origin.material):
        return "What the network has learned from stands on its card: structures unlike that may be cut or run together."
    return "The network has learned from simulated clusters: structures unlike these and clusters that touch may be cut or run together."


def tuned_cautions(facts: ClusterFacts | None, comparisons: Sequence[Comparison]) -> list[str]:
    """A sentence where a model was tuned to other or fewer conditions than are compared, or where nobody knows to which."""
    if facts is None or facts.origin is None or not facts.origin.tuned:
        return []
    compared = list(dict.fromkeys(name for c in comparisons for name in (c.reference, c.condition)))
    known = facts.origin.conditions
    missing = [name for name in compared if name not in known]
    if not missing:
        return []
    found_by = f"Clusters were found by a model tuned to marked clusters (MIRO, model {facts.model})"
    if not known:
        return [
            f"{found_by}, and its card doesn\u2019t say of which conditions. If these were fewer than are compared, a difference in "
            f"clusters may be the model\u2019s and not the sample\u2019s. {_MEND}"
        ]
    return [
        f"{found_by} of {_named('condition', known)}, and none of {_named('', missing)}, with which it is compared. A difference in "
        f"clusters may be the model\u2019s and not the sample\u2019s: it finds best what looks like the marked ones. {_MEND}"
    ]


def _named(what: str, names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    plural = f"{what}s " if len(names) > 1 else f"{what} "
    return (plural if what else "") + ", ".join(names[:_MOST_NAMED]) + more
