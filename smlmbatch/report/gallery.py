"""The report's figures as files: `report/figures/<name>.svg`, `.png` and `.csv`, linked below each figure of the page.

The page holds its figures itself and can be mailed alone; the files are for slides and papers. Equal figures are equal
files. Figures of an earlier report that this one doesn't make any more are removed.
"""

import base64
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from smlmbatch.report.page import Markup, element
from smlmbatch.store.units import write_whole

_KINDS = ("svg", "png", "csv")


@dataclass(frozen=True, slots=True)
class Drawing:
    """One figure, drawn twice."""

    svg: bytes
    png: bytes


@dataclass(frozen=True, slots=True)
class Gallery:
    """Writes figures into `folder` and makes the elements that show them; `written` are the files it made."""

    folder: Path
    written: set[str] = field(default_factory=set)

    def show(self, name: str, drawing: Drawing, *, numbers: str, alt: str, caption: str) -> Markup:
        """A figure with its caption and links to its three files.

        Parameters
        ----------
        name : of the files, without ending; letters, digits, `_` and `-`
        numbers : what is drawn, as CSV text
        alt : what a screen reader says
        """
        contents = {"svg": drawing.svg, "png": drawing.png, "csv": numbers.encode("utf-8", "replace")}
        for kind, content in contents.items():
            self.link(f"{name}.{kind}", content)
        source = "data:image/svg+xml;base64," + base64.b64encode(drawing.svg).decode()
        files = self.files(name)
        image = element("img", src=source, alt=alt, class_="plot")
        return element("figure", image, element("figcaption", caption, " ", files))

    def files(self, name: str) -> Markup:
        """Links to the three files of a figure that was shown."""
        links = [self._to(f"{name}.{kind}") for kind in _KINDS]
        return element("span", links[0], " · ", links[1], " · ", links[2], class_="files")

    def link(self, file: str, content: bytes) -> Markup:
        """Write one file and link it, relative to the page."""
        write_whole(self.folder / file, content)
        self.written.add(file)
        return self._to(file)

    def _to(self, file: str) -> Markup:
        return element("a", file.rpartition(".")[2].upper(), href=f"{self.folder.name}/{file}")

    def sweep(self) -> None:
        """Remove figures that an earlier report made and this one didn't."""
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if path.suffix.removeprefix(".") in _KINDS and path.name not in self.written:
                path.unlink()


def csv_text(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows as CSV; numbers in full, None and NaN as empty cells."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([["" if cell is None or cell != cell else cell for cell in row] for row in rows])
    return out.getvalue()
