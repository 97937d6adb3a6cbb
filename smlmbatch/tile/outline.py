"""Cell outlines that somebody drew: a CSV of vertices in nm, an ImageJ .roi, or a .zip of them.

Vertices are absolute, in the source file's own frame; here they become relative to the field's origin. ImageJ counts
in pixels of the image the outline was drawn on, so those need a pixel size, which is never guessed.
"""

import csv
import io
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import InputError

if TYPE_CHECKING:
    from shapely import Polygon

Rings = dict[str, NDArray[np.float64]]  # region name → (v, 2) vertices
_MAX_BYTES = 64 << 20  # a drawn outline has kilobytes
_MAX_MEMBERS = 10_000
_LARGEST_SHARE = 0.95  # of what crossing edges enclose: a freehand line's overlap at its end is less than the rest
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what ImageJ writes; these can be unpacked up to a limit
_CLOSED_ROIS = ("POLYGON", "RECT", "OVAL", "FREEHAND", "TRACED")
_X_NAMES, _Y_NAMES = ("x_nm", "x [nm]", "x"), ("y_nm", "y [nm]", "y")
_DRAWN = "a cell outline: CSV of vertices in nm, or ImageJ's .roi or .zip"


@dataclass(frozen=True, slots=True)
class Cell:
    """One outlined cell. `polygon` is in nm relative to the field's origin; `region` "" where nobody named it."""

    name: str
    region: str
    polygon: "Polygon"


def read_outline(path: Path, *, origin_nm: tuple[float, float], pixel_size_nm: float) -> list[Cell]:
    """The cells of an outline file, in its order.

    Parameters
    ----------
    origin_nm : the field's origin, subtracted
    pixel_size_nm : for ImageJ's outlines; 0 = unknown

    Raises
    ------
    InputError
        not an outline, fewer than three vertices, edges that cross so that it is not clear what is inside, no pixel size
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(path, f"the suffix {path.suffix!r} is none of an outline", _DRAWN, "save the outline as one of these")
    if path.stat().st_size > _MAX_BYTES:
        raise InputError(path, f"has {path.stat().st_size >> 20} MiB", _DRAWN, "name the outline, not the localisations")
    rings, unit_nm = reader(path), 1.0
    if path.suffix.lower() != ".csv":
        if not pixel_size_nm:
            mend = "give pixel_size_nm in the sample sheet"
            raise InputError(path, "ImageJ's outlines are in pixels, and the pixel size isn't known", "a pixel size in nm", mend)
        unit_nm = pixel_size_nm
    return [_cell(path, number, name, ring * unit_nm - origin_nm) for number, (name, ring) in enumerate(rings.items(), start=1)]


def _cell(path: Path, number: int, name: str, ring: NDArray[np.float64]) -> Cell:
    import shapely

    label = f"region {name!r}" if name else "the outline"
    if not np.isfinite(ring).all():
        raise InputError(path, f"{label} has vertices that are no finite number", "x and y in every vertex", "draw it again")
    n_vertices = len(np.unique(ring, axis=0))
    if n_vertices < 3:
        raise InputError(path, f"{label} has {n_vertices} different vertices", "three or more", "draw it again")
    polygon = shapely.Polygon(ring)
    if not polygon.is_valid:
        polygon = _uncrossed(path, label, polygon)
    if polygon.area <= 0:
        raise InputError(path, f"{label} encloses nothing", "an outline with an inside", "draw it again")
    return Cell(name or f"cell {number}", name, shapely.Polygon(polygon.exterior))


def _uncrossed(path: Path, label: str, polygon: "Polygon") -> "Polygon":
    """The largest piece of an outline whose edges cross, if that is nearly all of it."""
    import shapely

    parts = shapely.get_parts(shapely.get_parts(shapely.make_valid(polygon)))  # a collection may hold a multi-polygon
    pieces = sorted((p for p in parts if isinstance(p, shapely.Polygon)), key=lambda p: p.area)
    if not pieces:
        return shapely.Polygon()
    if pieces[-1].area < _LARGEST_SHARE * sum(p.area for p in pieces):
        finding = f"{label} crosses itself and falls into {len(pieces)} pieces"
        raise InputError(path, finding, "an outline with one inside", "draw each piece as a region of its own")
    return pieces[-1]


# ---- CSV


def _read_csv(path: Path) -> Rings:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(path, f"is no text table ({error})", _DRAWN, "export the outline again") from error
    header = [name.lower() for name in rows[0]] if rows else []
    if not header:
        raise InputError(path, "holds no vertices", _DRAWN, "export the outline again")
    if all(_is_number(cell) for cell in rows[0][:2]):
        if any(rows[0][2:]):
            mend = "add a first line with the names x_nm, y_nm and, for several outlines, region"
            raise InputError(path, f"has {len(header)} columns without names", "x and y, or names above the columns", mend)
        return _rings_of_rows(path, rows, (0, 1, None))
    columns = (_column(path, header, _X_NAMES), _column(path, header, _Y_NAMES), header.index("region") if "region" in header else None)
    return _rings_of_rows(path, rows[1:], columns)


def _rings_of_rows(path: Path, rows: list[list[str]], columns: tuple[int, int, int | None]) -> Rings:
    x, y, region = columns
    vertices: dict[str, list[tuple[float, float]]] = {}
    for number, row in enumerate(rows, start=1):
        try:
            vertex = (float(row[x]), float(row[y]))
            name = row[region] if region is not None else ""
        except (ValueError, IndexError) as error:
            finding = f"vertex {number} is {','.join(row)!r}"
            raise InputError(path, finding, "x and y in nm in every row", "correct that row, or name the columns x_nm and y_nm") from error
        vertices.setdefault(name, []).append(vertex)
    if not vertices:
        raise InputError(path, "holds no vertices", _DRAWN, "export the outline again")
    return {name: np.array(ring) for name, ring in vertices.items()}


def _column(path: Path, header: list[str], names: tuple[str, ...]) -> int:
    for name in names:
        if name in header:
            return header.index(name)
    finding = f"the first line is {','.join(header)!r}, which names no column {names[0]}"
    raise InputError(path, finding, "columns x_nm and y_nm, parted by commas", "name the columns x_nm and y_nm")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# ---- ImageJ


def _read_roi(path: Path) -> Rings:
    return {"": _imagej_ring(path, "", path.read_bytes())}


def _read_zip(path: Path) -> Rings:
    """Members are read in memory by name and never unpacked, so a name can't lead anywhere."""
    rings: Rings = {}
    packed = io.BytesIO(path.read_bytes())  # so that what fails below is the zip and not the disk
    try:
        with zipfile.ZipFile(packed) as archive:
            members = [info for info in archive.infolist() if info.filename.lower().endswith(".roi")]
            _check_members(path, members)
            for info in members:
                with archive.open(info) as file:
                    content = file.read(info.file_size)  # without a limit, what a header hides would be unpacked whole
                name = Path(info.filename).name[: -len(".roi")]
                if name in rings:
                    raise InputError(path, f"holds two outlines named {name}", "a name for each outline", "rename one of them")
                rings[name] = _imagej_ring(path, name, content)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
        raise InputError(path, f"is no whole zip file ({error})", _DRAWN, "save it again with ImageJ's ROI manager") from error
    if not rings:
        raise InputError(path, "holds no .roi", _DRAWN, "save the outlines with ImageJ's ROI manager")
    return rings


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    mend = "save the outlines again with ImageJ's ROI manager"
    if len(members) > _MAX_MEMBERS or sum(info.file_size for info in members) > _MAX_BYTES:
        raise InputError(path, "unpacks to far more than outlines hold", _DRAWN, mend)
    if any(info.compress_type not in _COMPRESSIONS for info in members):
        raise InputError(path, "is compressed in a way that ImageJ does not use", _DRAWN, mend)


def _imagej_ring(path: Path, name: str, content: bytes) -> NDArray[np.float64]:
    """Vertices in pixels. A rectangle's or oval's are its edge's, as ImageJ draws it."""
    import roifile

    try:
        roi = roifile.ImagejRoi.frombytes(content)
        ring = np.asarray(roi.coordinates(), dtype=np.float64)
    except Exception as error:  # roifile raises whatever a broken record leads to
        raise InputError(path, f"{name or 'the outline'} can't be read as an ImageJ ROI ({error})", _DRAWN, "save it again") from error
    if roi.roitype.name not in _CLOSED_ROIS:
        finding = f"{name or 'the outline'} is an ImageJ ROI of type {roi.roitype.name.lower()}"
        raise InputError(path, finding, "a polygon, rectangle, oval or freehand outline", "draw the outline with one of these tools")
    return ring


_READERS: Mapping[str, Callable[[Path], Rings]] = {".csv": _read_csv, ".roi": _read_roi, ".zip": _read_zip}
