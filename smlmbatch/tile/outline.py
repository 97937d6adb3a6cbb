"""Cell outlines that somebody drew: a CSV of vertices in nm, an ImageJ .roi, or a .zip of them.

Vertices are absolute, in the source file's own frame; here they become relative to the field's origin. ImageJ counts
in pixels of the image the outline was drawn on, so those need a pixel size, which is never guessed.
"""

import csv
import zipfile
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
        not an outline, fewer than three vertices, crossing edges that enclose nothing, no pixel size
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
    if len(ring) < 3 or not np.isfinite(ring).all():
        raise InputError(path, f"{label} has {len(ring)} vertices, or some that are no number", "three vertices or more", "draw it again")
    polygon = shapely.Polygon(ring)
    if not polygon.is_valid:  # edges cross: what is enclosed is kept, largest piece only
        pieces = [p for p in shapely.get_parts(shapely.make_valid(polygon)) if isinstance(p, shapely.Polygon)]
        polygon = max(pieces, key=lambda p: p.area, default=shapely.Polygon())
    if polygon.area <= 0:
        raise InputError(path, f"{label} encloses nothing", "an outline with an inside", "draw it again")
    return Cell(name or f"cell {number}", name, shapely.Polygon(polygon.exterior))


# ---- CSV


def _read_csv(path: Path) -> Rings:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(path, f"is no text table ({error})", _DRAWN, "export the outline again") from error
    header = [name.lower() for name in rows[0]] if rows else []
    if not header or all(_is_number(cell) for cell in rows[0][:2]):
        columns: tuple[int, int, int | None] = (0, 1, None)
    else:
        columns = (_column(header, _X_NAMES, 0), _column(header, _Y_NAMES, 1), header.index("region") if "region" in header else None)
        rows = rows[1:]
    return _rings_of_rows(path, rows, columns)


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


def _column(header: list[str], names: tuple[str, ...], otherwise: int) -> int:
    return next((header.index(name) for name in names if name in header), otherwise)


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
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if info.filename.lower().endswith(".roi")]
            if len(members) > _MAX_MEMBERS or sum(info.file_size for info in members) > _MAX_BYTES:
                raise InputError(
                    path, "unpacks to far more than outlines hold", _DRAWN, "save the outlines again with ImageJ's ROI manager"
                )
            for info in members:
                name = Path(info.filename).name[: -len(".roi")]
                rings[name] = _imagej_ring(path, name, archive.read(info))
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
        raise InputError(path, f"is no whole zip file ({error})", _DRAWN, "save it again with ImageJ's ROI manager") from error
    if not rings:
        raise InputError(path, "holds no .roi", _DRAWN, "save the outlines with ImageJ's ROI manager")
    return rings


def _imagej_ring(path: Path, name: str, content: bytes) -> NDArray[np.float64]:
    """Vertices in pixels. A rectangle's or oval's are its edge's, as ImageJ draws it."""
    import roifile

    try:
        roi = roifile.ImagejRoi.frombytes(content)
        ring = np.asarray(roi.coordinates(), dtype=np.float64)
    except Exception as error:  # roifile raises whatever a broken record leads to
        raise InputError(path, f"{name or 'the outline'} can't be read as an ImageJ ROI ({error})", _DRAWN, "save it again") from error
    return ring.reshape(-1, 2) if ring.ndim == 2 else np.empty((0, 2))


_READERS: Mapping[str, Callable[[Path], Rings]] = {".csv": _read_csv, ".roi": _read_roi, ".zip": _read_zip}
