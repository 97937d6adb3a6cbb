"""Node lists against a second way of writing them out, and against scontrol itself where it is installed."""

import os
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smlmbatch.errors import ConfigError
from smlmbatch.hpc.hosts import MAX_HOSTS, expand_hosts

words = st.text("abxyz.-_07", min_size=1, max_size=4)
ranges = st.tuples(st.integers(0, 130), st.integers(0, 12), st.integers(1, 4))  # first, how many more, digits


@st.composite
def pieces(draw, *, last=True):
    """A name: words and groups of ranges by turns; scontrol wants a group last."""
    groups = draw(st.lists(st.lists(ranges, min_size=1, max_size=3), min_size=0, max_size=4 if last else 3))
    name = [draw(words)]
    for group in groups:
        name += [group, draw(words)]
    return name if last and draw(st.booleans()) else name[: max(1, 2 * len(groups))]


def render(name):
    """The structure in SLURM's form."""

    def one(first, more, digits):
        return f"{first:0{digits}d}-{first + more:0{digits}d}" if more else f"{first:0{digits}d}"

    return "".join(piece if isinstance(piece, str) else f"[{','.join(one(*r) for r in piece)}]" for piece in name)


def written_out(name):
    """Names in scontrol's order, by sorting all combinations: third, second, first group, then the last counts least."""
    found = [((), "")]
    for piece in name:
        choices = [piece] if isinstance(piece, str) else [f"{n:0{d}d}" for f, more, d in piece for n in range(f, f + more + 1)]
        marked = [(() if isinstance(piece, str) else (i,), text) for i, text in enumerate(choices)]
        found = [(key + k, head + tail) for key, head in found for k, tail in marked]
    return [text for key, text in sorted(found, key=lambda one: (tuple(reversed(one[0][:-1])), one[0][-1:]))]


def few(names, most=3000):
    sizes = 0
    for name in names:
        size = 1
        for piece in name:
            size *= 1 if isinstance(piece, str) else sum(more + 1 for _, more, _ in piece)
        sizes += size
    return sizes <= most


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("node1", "node1"),
        ("node[008-011,20]", "node008 node009 node010 node011 node20"),
        ("r[1-2]n[01-03]", "r1n01 r1n02 r1n03 r2n01 r2n02 r2n03"),
        ("n[9-011]", "n9 n10 n11"),
        ("n[098-102]", "n098 n099 n100 n101 n102"),
        ("gpu[1-2]-ib.site.org", "gpu1-ib.site.org gpu2-ib.site.org"),
        ("n[1-2]x[3-4]y[5-6]", "n1x3y5 n1x3y6 n2x3y5 n2x3y6 n1x4y5 n1x4y6 n2x4y5 n2x4y6"),  # scontrol 22.05.8
        ("n[1-2][3-4]", "n13 n14 n23 n24"),
        ("b2,b1,b2", "b2 b1 b2"),
        (" a , b\tc\n", "a b c"),
        ("a,,b,", "a b"),
        ("[1-3]", "1 2 3"),
        ("n1-3", "n1-3"),
    ],
)
def test_known_lists(text, names):
    assert expand_hosts(text) == tuple(names.split())


@given(st.lists(pieces(), min_size=1, max_size=3).filter(few), st.sampled_from([",", ", ", " ", "\n"]))
@settings(max_examples=150, deadline=None)
def test_any_list(names, between):
    assert expand_hosts(between.join(map(render, names))) == tuple(host for name in names for host in written_out(name))


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("", "empty"),
        (" , ", "empty"),
        ("n[1-2", r"unbalanced '\['"),
        ("n1-2]", r"unbalanced '\]'"),
        ("n[[1-2]]", "unbalanced"),
        ("a,n[1-2]]", "unbalanced"),
        ("n[]", "'' in brackets"),
        ("n[1,]", "'' in brackets"),
        ("n[1-]", "'1-' in brackets"),
        ("n[-3]", "'-3' in brackets"),
        ("n[a-b]", "'a-b' in brackets"),
        ("n[1-2-3]", "'1-2-3' in brackets"),
        ("n[1, 2]", "' 2' in brackets"),
        ("n[\N{ARABIC-INDIC DIGIT ONE}]", "in brackets"),
        ("n[3-1]", "3-1 runs backwards"),
        ("n[1-100001]", "100001 hosts"),
        ("n[1-999999999999999999]", "more than 100000"),
        ("n[0-999]m[0-999]", "1000000 hosts"),
        ("n[" + "9" * 5000 + "]", "in brackets"),
    ],
)
def test_refused(text, finding):
    with pytest.raises(ConfigError, match=finding) as caught:
        expand_hosts(text)
    assert str(caught.value).startswith(f"node list {text[:200]!r}")


def test_the_largest_is_taken():
    assert len(expand_hosts(f"n[1-{MAX_HOSTS}]")) == MAX_HOSTS


@pytest.mark.skipif(shutil.which("scontrol") is None, reason="SLURM isn't installed")
def test_as_scontrol(tmp_path):
    conf = tmp_path / "slurm.conf"  # no daemon is needed, only a file to read
    conf.write_text("ClusterName=x\nSlurmctldHost=localhost\nNodeName=DEFAULT CPUs=1\n")
    texts = []

    @given(st.lists(pieces(last=False), min_size=1, max_size=3).filter(few))
    @settings(max_examples=60, deadline=None, derandomize=True)
    def collect(names):
        texts.append(",".join(map(render, names)))

    collect()
    texts += ["node[008-011,20]", "b2,b1,b2", "n[9-011]", " a , b\tc\n", "a,,b,", "n[1,1-2]", "[1-3]", "n1-3"]
    environ = os.environ | {"SLURM_CONF": str(conf)}
    found = subprocess.run(["scontrol", "show", "hostnames", ",".join(texts)], capture_output=True, text=True, env=environ, timeout=60)
    assert found.returncode == 0, found.stderr
    assert not found.stderr
    assert tuple(found.stdout.split()) == tuple(host for text in texts for host in expand_hosts(text))
