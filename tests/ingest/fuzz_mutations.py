"""Damage, drawn from a generator keyed by reader and number: the same number gives the same file, on any machine."""

import pickle
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from tests.ingest.fuzz_seeds import Seed, all_seeds, gzipped, npy_bytes, zipped

_BOMBED = ("table", "elyra")  # a second each, and all text is unpacked in one place
CANARY = "canary"  # a file that hostile content tries to make
_LARGEST = 1 << 20
_NUMBER = re.compile(rb"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_WORDS = (
    *(b"-1", b"0", b"-0.0", b"1", b"256", b"2147483647", b"2147483648", b"-2147483649", b"4294967296", b"9223372036854775807"),
    *(b"9223372036854775808", b"18446744073709551616", b"1" * 40, b"1e308", b"-1e308", b"1e309", b"1e-320", b"1e10", b"1.5"),
    *(b"NaN", b"nan", b"inf", b"-Infinity", b"\xe2\x88\x9e", b"", b"?", b'"', b'""', b"1,5", b"1.234,5", b"1'000", b"0x1F", b"1_000"),
    *(b"null", b"true", b"\x00", b"\xff\xfe", b"=1+1", b"\xef\xbb\xbf1", b" 7 ", b"+7", b"7e", b"[]", b"{}"),
)
_INTEGERS = (0, 1, -1, 2, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
_FLOATS = (np.nan, np.inf, -np.inf, 1e308, -1e308, 1e30, 1e-320, -0.0, 0.5)
_NAMES = ("../../escape.csv", "/tmp/../escape.csv", "C:\\escape.csv", "a" * 300, "f.csv\0.npy", ".", "f.npy", "f.hdf5", "a/", "\u202e.csv")
HOSTILE_YAML = (
    f"Pixelsize: !!python/object/apply:os.system ['touch {CANARY}']\n",
    f"!!python/object/new:subprocess.Popen [['touch', '{CANARY}']]\n",
    f"Pixelsize: !!python/object/apply:builtins.open ['{CANARY}', 'w']\n",
    "a: &a [1,1,1,1,1,1,1,1]\n"
    + "".join(f"{new}: &{new} [{','.join([f'*{old}'] * 8)}]\n" for old, new in zip("abcdefghij", "bcdefghijk", strict=True))
    + "Pixelsize: *k\n",
    "Pixelsize: &p [*p]\n",
    "Pixelsize: 2001-99-99\n",
    "Pixelsize: 2001-01-01 00:00:00 +99:99\n",
    "Pixelsize: 0b\nx: !!int ''\n",
    "Pixelsize: !!float abc\n",
    "Pixelsize: !!bool maybe\n",
    "Pixelsize: !!timestamp never\n",
    "Pixelsize: !!binary '%%%'\n",
    "Pixelsize: .nan\n",
    "Pixelsize: -.inf\n",
    "Pixelsize: 1.0e-320\n",
    "Pixelsize: 1.0e+308\n",
    "Pixelsize: " + "9" * 5000 + "\n",
    "Pixelsize: 1" + ":59" * 400 + "\n",
    "? {a: b}\n: Pixelsize\n",
    "? [1, 2]\n: 3\n",
    "<<: 3\nPixelsize: 100\n",
    "Pixelsize: yes\n",
    "\x00\x01Pixelsize: 100\n",
)
SLOW_YAML = ("Pixelsize: " + "[" * 3000 + "\n", "- " * 3000 + "\n", "Pixelsize: 117\n" + "x: 1\n" * 80_000)


@dataclass
class Mutant:
    """A damaged file: its name, content, the file beside it, and what the sample sheet says."""

    name: str
    content: bytes
    row: dict = field(default_factory=dict)
    sidecar: tuple[str, bytes] | None = None


class Draw:
    """Random choices of one number."""

    def __init__(self, reader: str, number: int) -> None:
        sequence = np.random.SeedSequence(zlib.crc32(reader.encode()), spawn_key=(number,))
        self._rng = np.random.Generator(np.random.PCG64(sequence))

    def below(self, n: int) -> int:
        return int(self._rng.integers(n))

    def chance(self, share: float) -> bool:
        return bool(self._rng.random() < share)

    def of(self, choices):
        return choices[self.below(len(choices))]

    def span(self, n: int, longest: int) -> tuple[int, int]:
        """A piece of n bytes, short ones as likely as long ones."""
        length = min(1 << self.below(max(1, longest.bit_length())), longest, n)
        start = self.below(n - length + 1)
        return start, start + length

    def bytes(self, n: int) -> bytes:
        return self._rng.bytes(n)


def mutant(reader: str, number: int) -> Mutant:
    """The file of that number. The first ones are made by hand: bombs, pickles, hostile names."""
    by_hand = hostile(reader)
    if number < len(by_hand):
        return by_hand[number]()
    draw = Draw(reader, number)
    seed = draw.of(all_seeds()[reader])
    row = _row(draw, seed)
    sidecar = _sidecar(draw, seed)
    if seed.pack is not None and draw.chance(0.5):
        return Mutant(seed.name, _repacked(draw, seed), row, sidecar)
    # a file that only the one beside it spoils is whole
    damaged = seed.content if sidecar != seed.sidecar and draw.chance(0.7) else damage(draw, seed.content)
    return Mutant(seed.name, damaged, row, sidecar)


def _row(draw: Draw, seed: Seed) -> dict:
    """The seed's own; sometimes with the format forced, or a pixel size, a unit or a map that may not fit."""
    row = dict(seed.row)
    if draw.chance(0.3):
        row["format"] = seed.reader
    if draw.chance(0.1):
        row["pixel_size_nm"] = draw.of(("100", "1e300", "1e-300"))
    if draw.chance(0.1):
        row["unit"] = draw.of(("nm", "um", "px", "m"))
    if draw.chance(0.05):
        row["map"] = draw.of(("x=x,y=y,unit=nm", "x=x_nm,y=y_nm,channel=frame,unit=um", "x=0,y=1,unit=px,pixel=1e300", "x=,", "x=a,x=b"))
    if draw.chance(0.1):
        row["frame_base"] = draw.of(("0", "1"))
    return row


def _sidecar(draw: Draw, seed: Seed) -> tuple[str, bytes] | None:
    if seed.sidecar is None or draw.chance(0.6):
        return seed.sidecar
    name, content = seed.sidecar
    hostile_text = draw.of(HOSTILE_YAML).encode()
    return name, draw.of((damage(draw, content), hostile_text, damage(draw, hostile_text), content + b"---\n" + hostile_text))


def _repacked(draw: Draw, seed: Seed) -> bytes:
    """Damage in a packed member, behind its checksum; or to the members' names, number and order."""
    assert seed.pack is not None
    members = list(seed.members)
    at = draw.below(len(members))
    name, content = members[at]
    if draw.chance(0.1):
        name = draw.of(_NAMES)
    members[at] = (name, damage(draw, content) if draw.chance(0.9) else content)
    if draw.chance(0.05):
        members.append(draw.of(members) if draw.chance(0.5) else (draw.of(_NAMES), draw.bytes(9)))
    if draw.chance(0.05) and len(members) > 1:
        del members[draw.below(len(members))]
    content = seed.pack(tuple(members))
    return damage(draw, content) if draw.chance(0.1) else content


# ---- kinds of damage


def damage(draw: Draw, raw: bytes) -> bytes:
    """One, two or four changes."""
    for _ in range(1 << draw.below(3)):
        if not raw:
            break
        kinds = _TEXT_KINDS if _is_text(raw) else _BINARY_KINDS
        raw = draw.of(kinds)(draw, raw)[:_LARGEST]
    return raw


def _is_text(raw: bytes) -> bool:
    return raw[:64].find(b"\0") < 0 and raw[:4] not in (b"PK\3\4", b"PAR1") and raw[:2] != b"\x1f\x8b"


def _at(draw: Draw, raw: bytes) -> int:
    """A place; heads and ends, where sizes stand, are as likely as all the rest."""
    n = len(raw)
    which = draw.below(4)
    return draw.below(min(n, 128)) if which == 0 else n - 1 - draw.below(min(n, 256)) if which == 1 else draw.below(n)


def _flip(draw: Draw, raw: bytes) -> bytes:
    changed = bytearray(raw)
    for _ in range(1 + draw.below(4)):
        changed[_at(draw, raw)] ^= 1 << draw.below(8)
    return bytes(changed)


def _run(draw: Draw, raw: bytes) -> bytes:
    start, stop = draw.span(len(raw), 256)
    fill = draw.of((b"\x00", b"\xff", b" ", b"\n", b",", b"9", None))
    return raw[:start] + (draw.bytes(stop - start) if fill is None else fill * (stop - start)) + raw[stop:]


def _truncate(draw: Draw, raw: bytes) -> bytes:
    return raw[: draw.below(len(raw))] if draw.chance(0.8) else raw[draw.below(min(len(raw), 64)) :]


def _insert(draw: Draw, raw: bytes) -> bytes:
    at = _at(draw, raw)
    piece = draw.of((b"\x00", b"\r", b"\n\n", b'"', b"\xef\xbb\xbf", b"#", b"\xff\xff", None))
    return raw[:at] + (draw.bytes(1 + draw.below(40)) if piece is None else piece * (1 << draw.below(8))) + raw[at:]


def _delete(draw: Draw, raw: bytes) -> bytes:
    start, stop = draw.span(len(raw), 256)
    return raw[:start] + raw[stop:]


def _duplicate(draw: Draw, raw: bytes) -> bytes:
    start, stop = draw.span(len(raw), len(raw))
    at = draw.below(len(raw))
    return raw[:at] + raw[start:stop] * (1 + draw.below(3)) + raw[at:]


def _swap(draw: Draw, raw: bytes) -> bytes:
    a, b, c = sorted(draw.below(len(raw) + 1) for _ in range(3))
    return raw[:a] + raw[b:c] + raw[a:b] + raw[c:]


def _splice(draw: Draw, raw: bytes) -> bytes:
    """The beginning of this and the end of another reader's file, or of one's own."""
    seeds = all_seeds()
    other = draw.of(seeds[draw.of(tuple(seeds))]).content
    return raw[: draw.below(len(raw) + 1)] + other[draw.below(len(other) + 1) :]


def _extreme_bytes(draw: Draw, raw: bytes) -> bytes:
    order, width = draw.of("<>"), draw.of((1, 2, 4, 8))
    if width > 2 and draw.chance(0.3):
        with np.errstate(over="ignore"):
            packed = np.array(draw.of(_FLOATS)).astype(f"{order}f{width}").tobytes()
    else:
        packed = (draw.of(_INTEGERS) % (1 << 8 * width)).to_bytes(width, "little" if order == "<" else "big")
    at = _at(draw, raw)
    return raw[:at] + packed + raw[at + width :]


def _extreme_number(draw: Draw, raw: bytes) -> bytes:
    found = list(_NUMBER.finditer(raw))
    if not found:
        return _flip(draw, raw)
    for match in reversed(found) if draw.chance(0.05) else (draw.of(found),):
        raw = raw[: match.start()] + draw.of(_WORDS) + raw[match.end() :]
    return raw


def _lines(draw: Draw, raw: bytes) -> bytes:
    """A line many times, left out, or moved."""
    lines = raw.splitlines(keepends=True)
    at = draw.below(len(lines))
    kind = draw.below(4)
    if kind == 0:
        return b"".join(lines[:at] + [lines[at]] * (1 << draw.below(11)) + lines[at:])
    if kind == 1:
        return b"".join(lines[:at] + lines[at + 1 :])
    if kind == 2:
        return b"".join(lines[at:] + lines[:at])
    return b"".join(lines[:at]) + lines[at].rstrip(b"\r\n") * (1 << draw.below(11)) + b"".join(lines[at:])


def _cells(draw: Draw, raw: bytes) -> bytes:
    """A delimiter or quote more or less, or all of them others."""
    old, new = draw.of((b",", b"\t", b" ", b'"', b".", b"\n")), draw.of((b",", b";", b"\t", b'"', b"", b"\r\n", b"\r", b",,"))
    return raw.replace(old, new, draw.of((1, 2, -1)))


_BYTE_KINDS: tuple[Callable[[Draw, bytes], bytes], ...] = (_flip, _run, _truncate, _insert, _delete, _duplicate, _swap, _splice)
_BINARY_KINDS = (*_BYTE_KINDS, _flip, _extreme_bytes, _extreme_bytes, _extreme_bytes, _extreme_number)
_TEXT_KINDS = (*_BYTE_KINDS, _extreme_number, _extreme_number, _extreme_number, _lines, _lines, _cells)


# ---- by hand


class _Trap:
    def __reduce__(self):
        return open, (CANARY, "w")


def _pickles(seed: Seed) -> Mutant:
    """Python objects in .npy, which numpy.load would call."""
    objects = np.empty(1, dtype=object)
    objects[0] = _Trap()
    raw = npy_bytes(objects)
    return Mutant(seed.name, zipped((("f.npy", raw),)) if seed.content[:2] == b"PK" else raw, dict(seed.row))


def _bomb(seed: Seed) -> Mutant:
    """A gigabyte of one character, packed to a megabyte."""
    text = seed.members[0][1]
    return Mutant(seed.name, gzipped((("", text),)) + gzipped((("", b"\n" * (16 << 20)),)) * 64, dict(seed.row))


def _declared(seed: Seed) -> Mutant:
    """A member that claims 3 GB in the archive's directory."""
    at = seed.content.index(b"PK\x01\x02") + 24
    return Mutant(seed.name, seed.content[:at] + struct.pack("<I", 3 << 30) + seed.content[at + 4 :], dict(seed.row))


def _slipped(seed: Seed) -> Mutant:
    return Mutant(seed.name, zipped(tuple((f"../../../{name}", content) for name, content in seed.members)), dict(seed.row))


def _long_line(seed: Seed) -> Mutant:
    return Mutant(seed.name, seed.content + b"1," * (3 << 20), dict(seed.row))


def hostile(reader: str) -> list[Callable[[], Mutant]]:
    """What chance would not find."""
    found: list[Callable[[], Mutant]] = []
    for seed in {(seed.container, seed.name): seed for seed in all_seeds()[reader]}.values():
        makers = {"gzip": (_bomb,) * (reader in _BOMBED), "zip": (_declared, _slipped), "npy": (_pickles,), "text": (_long_line,)}.get(
            seed.container, ()
        )
        if seed.container == "zip" and seed.name.endswith(".npy.zip"):
            makers = (*makers, _pickles)
        found += [lambda make=make, seed=seed: make(seed) for make in makers]
        for content in (pickle.dumps(_Trap()), b""):
            found.append(lambda seed=seed, content=content: Mutant(seed.name, content, dict(seed.row) | {"format": seed.reader}))
        if seed.sidecar:
            found += [lambda seed=seed, text=text: replace_sidecar(seed, text) for text in HOSTILE_YAML + SLOW_YAML]
    return found


def replace_sidecar(seed: Seed, text: str) -> Mutant:
    assert seed.sidecar is not None
    changed = replace(seed, sidecar=(seed.sidecar[0], text.encode()))
    return Mutant(changed.name, changed.content, dict(changed.row), changed.sidecar)
