"""HTML by construction: text is escaped unless it is `Markup`, so a hostile name can never become markup.

`element` is the only place where tags are made; the page is one file with its style inside, no script, no link out.
"""

import base64
import hashlib
import html
import re
from collections.abc import Iterable, Sequence

VOID = frozenset({"br", "img", "meta", "wbr"})  # elements without an end tag, of those used here
# XML 1.0 allows no other control characters, and browsers show none
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_LONGEST_PIECE = 24  # letters of a name that stay on one line


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escape(text: str) -> Markup:
    """Text as HTML; control characters are shown as the replacement character.

    >>> escape('<b>"')
    '&lt;b&gt;&quot;'
    """
    return text if isinstance(text, Markup) else Markup(html.escape(_CONTROL.sub("\ufffd", text), quote=True))


def join(children: Iterable[str | None]) -> Markup:
    """Children one after the other, escaped where they are plain text; None is left out."""
    return Markup("".join(escape(child) for child in children if child is not None))


def element(name: str, /, *children: str | None, **attributes: str | None) -> Markup:
    """One HTML or SVG element. `class_` is written `class`, other underscores become hyphens.

    >>> element("p", "a < b", class_="note")
    '<p class="note">a &lt; b</p>'
    """
    pairs = [(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not None]
    opening = "".join(f' {"viewBox" if key == "viewbox" else key}="{escape(value)}"' for key, value in pairs)
    if name in VOID:
        return Markup(f"<{name}{opening}>")
    return Markup(f"<{name}{opening}>{join(children)}</{name}>")


def breakable(name: str) -> Markup:
    """A name that may be broken into lines after `_`, `-`, `.` and `/`, and within a piece only where that is long.

    >>> breakable("cell_1.csv<")
    'cell_<wbr>1.<wbr>csv&lt;'
    """
    words = re.split(r"(?<=[_./-])(?=[^_./-])", name)
    pieces = [word[i : i + _LONGEST_PIECE] for word in words for i in range(0, len(word), _LONGEST_PIECE)]
    return Markup("<wbr>".join(escape(piece) for piece in pieces))


def advice(text: str) -> Markup:
    """Text in which options of the command line are not broken into lines.

    >>> advice("give --min-locs.")
    'give <span class="whole">--min-locs</span>.'
    """
    pieces = re.split(r"(--[a-z]+(?:-[a-z]+)*)", text)
    return join(element("span", piece, class_="whole") if i % 2 else piece for i, piece in enumerate(pieces))


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, numeric: Iterable[int] = (), whole: Iterable[int] = (), class_: str = ""
) -> Markup:
    """A table; columns in `numeric` are aligned to the right, those in `whole` are not broken into lines.

    It scrolls sideways by itself where it is too wide.
    """
    kinds = dict.fromkeys(whole, "w") | dict.fromkeys(numeric, "n")

    def cells(kind: str, row: Sequence[str]) -> Markup:
        return join(element(kind, cell, class_=kinds.get(i)) for i, cell in enumerate(row))

    head = element("thead", element("tr", cells("th", header)))
    body = element("tbody", join(element("tr", cells("td", row)) for row in rows))
    return element("div", element("table", head, body, class_=class_ or None), class_="wide")


def section(title: str, *children: str | None, anchor: str) -> Markup:
    """A numbered part of the page with its heading."""
    return element("section", element("h2", title), *children, id=anchor)


def document(title: str, body: Markup, *, fingerprint: str, style: str = "", script: str = "") -> str:
    """The whole page. A browser loads nothing from elsewhere for it, and runs no script but `script`, whatever a name holds.

    Parameters
    ----------
    style : CSS besides that of all pages
    script : stands at the body's end
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"{_POLICY}; script-src 'sha256-{digest}'" if script else _POLICY
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="smlmbatch-fingerprint", content=fingerprint),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", Markup(CSS + style)),
    )
    last = element("script", Markup(script)) if script else None
    return "<!DOCTYPE html>\n" + element("html", head, element("body", element("main", body), last), lang="en") + "\n"


CSS = """
:root { --ink: #1d2329; --soft: #5b6670; --line: #dfe3e7; --ground: #f6f7f8; --mark: #0b5c8a; --bad: #9a3412; --badground: #fdf3ec;
  --warm: #d99a1c; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "Liberation Sans", Arial, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 40px 32px 64px; }
h1 { font-size: 28px; line-height: 1.2; font-weight: 650; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 20px; font-weight: 650; margin: 52px 0 10px; padding-top: 14px; border-top: 2px solid var(--ink); }
h3 { font-size: 15px; font-weight: 650; margin: 28px 0 8px; }
p { margin: 8px 0; max-width: 78ch; }
h4 { font-size: 13.5px; font-weight: 600; margin: 20px 0 4px; }
.verdict { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1.45fr); gap: 0 44px; margin: 18px 0 14px;
  padding: 18px 24px 14px; background: var(--ground); border-radius: 6px; }
.verdict h3 { margin: 0; color: var(--soft); font-size: 13px; } .verdict h4 { margin: 14px 0 0; } .verdict p { font-size: 14.5px; }
.verdict p.answer { font-size: 18px; margin: 2px 0 8px; }
.caution { border-left: 3px solid var(--warm); padding-left: 12px; }
.largest th { white-space: nowrap; }
.light { display: inline-block; padding: 0 4px; border-radius: 3px; font-size: 12px; line-height: 18px; white-space: nowrap; }
.light i { font-style: normal; font-weight: 700; display: inline-block; min-width: 9px; text-align: center; }
.light.green { background: #e4f1ec; color: #0a5a43; } .light.amber { background: #f5c451; color: #1d2329; }
.light.red { background: #9c2a10; color: #fff; } .light.grey { background: #fff; color: var(--soft); box-shadow: inset 0 0 0 1px #c3cad1; }
.lightkey, .chips { display: flex; flex-wrap: wrap; gap: 4px 16px; } .lightkey > *, .chips > * { white-space: nowrap; }
table.lights { width: auto; } table.lights td:nth-child(2) { min-width: 150px; }
table.lights th, table.lights td { padding: 2px 8px 2px 0; } table.lights td { border-bottom-color: #eef0f2; }
.abreast { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 0 26px; align-items: start; }
table.compact { width: 100%; font-size: 12px; } table.compact th, table.compact td { padding: 1px 1px; text-align: center; }
table.compact th:nth-child(2), table.compact td:nth-child(2) {
  min-width: 0; text-align: left; padding: 0 6px; overflow-wrap: anywhere; line-height: 1.2; }
table.compact th span { writing-mode: vertical-rl; transform: rotate(180deg); white-space: nowrap; font-size: 11.5px; }
table.compact .light { padding: 0; min-width: 17px; line-height: 16px; font-size: 11px; }
p.finding { font-size: 13.5px; max-width: 104ch; margin: 4px 0; } p.alike > span { margin-right: 10px; white-space: nowrap; }
.superplots { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 22px 18px; margin: 16px 0 8px; }
.files { white-space: nowrap; font-size: 12px; }
table.compared th { min-width: 0; } table.compared th, table.compared td { padding-right: 12px; } table.compared td { line-height: 1.25; }
.soft, figcaption, .note { color: var(--soft); font-size: 13px; }
nav { display: flex; flex-wrap: wrap; row-gap: 4px; font-size: 13px; margin: 18px 0 0; }
nav a { margin-right: 20px; white-space: nowrap; } a { color: var(--mark); }
.facts div { white-space: nowrap; } .facts b { font-weight: 600; font-variant-numeric: tabular-nums; }
.facts span { color: var(--soft); }
.facts { display: flex; flex-wrap: wrap; gap: 4px 34px; margin: 0 0 20px; }
.wide { overflow-x: auto; margin: 12px 0; }
table { border-collapse: collapse; font-size: 13px; line-height: 1.4; font-variant-numeric: tabular-nums; width: 100%; }
th { text-align: left; font-weight: 600; color: var(--soft); border-bottom: 1.5px solid var(--ink); vertical-align: bottom; }
td { border-bottom: 1px solid var(--line); vertical-align: middle; }
th, td { padding: 5px 18px 5px 0; } th:last-child, td:last-child { padding-right: 2px; }
th.n, td.n { text-align: right; } td.n, td.w, .whole { white-space: nowrap; }
table.few { width: auto; min-width: 46%; } table.few td, table.few th { padding-right: 28px; }
td.n .pm { color: var(--soft); } th.n { min-width: 52px; }
table.fields td { padding-top: 3px; padding-bottom: 3px; } table.fields td:nth-child(2) { min-width: 140px; }
table.fields th, table.fields td { padding-left: 5px; padding-right: 5px; }
table.fields td:nth-child(3) { min-width: 84px; }
table.fields td:last-child { min-width: 160px; }
.thumb { display: block; width: 46px; height: 46px; object-fit: contain; background: #000004; border-radius: 3px; }
.warn { color: var(--bad); } .ok { color: var(--soft); }
.failed { border-left: 3px solid var(--bad); background: var(--badground); padding: 8px 14px; margin: 10px 0; font-size: 13.5px;
  overflow-wrap: anywhere; }
.failed b { font-weight: 650; } .failed p { margin: 2px 0; max-width: none; }
.pictures { display: grid; gap: 24px 20px; margin: 16px 0; }
.pictures.c1 { grid-template-columns: minmax(0, 700px); } .pictures.c2 { grid-template-columns: repeat(2, minmax(0, 1fr)); }
.pictures.c3 { grid-template-columns: repeat(3, minmax(0, 1fr)); }
figure { margin: 0; break-inside: avoid; } section > figure { margin: 14px 0 22px; }
figcaption { margin-top: 6px; overflow-wrap: anywhere; }
figcaption b { color: var(--ink); font-weight: 600; }
.frame { background: #000004; border-radius: 4px; overflow: hidden; display: flex; justify-content: center; align-items: center;
  aspect-ratio: 1; }
.frame svg { display: block; width: 100%; height: 100%; }
.plot { display: block; max-width: 100%; height: auto; }
.key { display: flex; flex-wrap: wrap; gap: 4px 20px; font-size: 13px; margin: 10px 0; }
.key i { display: inline-block; width: 11px; height: 11px; border-radius: 50%; margin-right: 7px; vertical-align: -1px; }
.key i.roi { width: 6px; height: 6px; vertical-align: 2px; }
.key i.mean { width: 3px; height: 14px; border-radius: 0; vertical-align: -2px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 3px 20px; font-size: 13px; margin: 12px 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
pre { background: var(--ground); border: 1px solid var(--line); border-radius: 4px; padding: 12px 14px;
  font: 12.5px/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; white-space: pre-wrap; overflow-wrap: anywhere;
  margin: 8px 0; }
.half { display: grid; grid-template-columns: minmax(0, 1.5fr) minmax(0, 1fr); gap: 0 36px; }
.reference { font-size: 13px; padding-left: 1.6em; text-indent: -1.6em; margin: 3px 0; }
@media screen and (max-width: 760px) { main { padding: 20px 14px; } .half, .verdict, .superplots, .abreast, .pictures.c2, .pictures.c3 {
  grid-template-columns: minmax(0, 1fr); } }
@media print {
  body { font-size: 10.5pt; } main { max-width: none; padding: 0; } nav { display: none; } h2 { break-after: avoid; margin-top: 30px; }
  h3, h4, thead, .key { break-after: avoid; } .files { display: none; } p, p.finding { max-width: none; }
  tr { break-inside: avoid; } .wide { overflow: visible; } table { font-size: 8.5pt; }
  th, td { padding-right: 8px; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; } @page { margin: 14mm; }
}
"""
