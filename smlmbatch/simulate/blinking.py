"""Molecules → localisations: when a molecule blinks, how bright it is, where it is seen.

A molecule blinks a geometric number of times before it bleaches, each blink lasts a geometric number of frames and
is followed by a geometric dark time. Every bright frame gives one localisation: photons are the detection limit
plus a gamma (shape 1: an exponential conditioned on detection), the precision follows from them, and the position
is the molecule's plus a normal error of that size. What would come after the last frame is not recorded.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smlmbatch.errors import ConfigError

# A Gaussian spot is fitted in 7 x 7 pixels with 5 parameters; a good fit's chi-square has the rest as degrees of freedom.
_FIT_FREEDOM = 7 * 7 - 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """The microscope: pixel in the sample plane, spot width (sigma), background noise per pixel, frames of the movie."""

    pixel_nm: float = 100.0
    psf_nm: float = 130.0
    background_sd: float = 5.0  # photons
    n_frames: int = 10_000

    def __post_init__(self) -> None:
        if not (self.pixel_nm > 0 and self.psf_nm > 0 and self.background_sd >= 0 and self.n_frames >= 1):
            raise ConfigError(f"{self}: wanted lengths above 0, noise of 0 or more and at least 1 frame")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fluorophore:
    """The dye. The defaults are those of a molecule seen once; `BLINKING` is one like Alexa 647."""

    mean_blinks: float = 1.0
    mean_on_frames: float = 1.0
    mean_dark_frames: float = 1.0
    mean_photons: float = 1500.0  # of a detected spot
    min_photons: float = 300.0  # detection limit
    photon_shape: float = 1.0  # 1 = exponential, larger = narrower

    def __post_init__(self) -> None:
        if min(self.mean_blinks, self.mean_on_frames, self.mean_dark_frames) < 1:
            raise ConfigError(f"{self}: wanted means of at least 1 blink and 1 frame")
        if not (0 < self.min_photons < self.mean_photons and self.photon_shape > 0):
            raise ConfigError(f"{self}: wanted 0 < min_photons < mean_photons and a shape above 0")

    @property
    def mean_locs(self) -> float:
        """Expected localisations per molecule in an endless movie."""
        return self.mean_blinks * self.mean_on_frames


BLINKING = Fluorophore(mean_blinks=2.0, mean_on_frames=1.5, mean_dark_frames=30.0)


@dataclass(frozen=True, slots=True)
class SimulatedLocs:
    """Localisations of one field in order of frame, in float64 and absolute nm, as no vendor's file holds them.

    Attributes
    ----------
    x_nm, y_nm : (n,) f8, nm, as measured
    frame : (n,) i4 from 0
    photons, background_sd : (n,) f8, photons; the background's mean is its variance (shot noise only)
    precision_nm, psf_nm : (n,) f8, nm
    chi2 : (n,) f8, of the fit
    molecule : (n,) i8, index into the molecules given: the truth
    """

    x_nm: NDArray[np.float64]
    y_nm: NDArray[np.float64]
    frame: NDArray[np.int32]
    photons: NDArray[np.float64]
    background_sd: NDArray[np.float64]
    precision_nm: NDArray[np.float64]
    psf_nm: NDArray[np.float64]
    chi2: NDArray[np.float64]
    molecule: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.x_nm)

    def take(self, index: NDArray[np.generic]) -> "SimulatedLocs":
        """The localisations at `index` (integers or a mask)."""
        return SimulatedLocs(*(getattr(self, name)[index] for name in self.__slots__))


def precision_nm(photons: NDArray[np.float64], camera: Camera) -> NDArray[np.float64]:
    """Standard error of a fitted position along one axis, nm (Thompson, Larson & Webb 2002, Biophys. J. 82:2775, eq. 17).

    >>> precision_nm(np.array([1690.0]), Camera(psf_nm=130.0, pixel_nm=1e-9, background_sd=0.0)).round(3)
    array([3.162])
    """
    spot_nm2, noise_nm2 = _variances_nm2(camera)
    return np.asarray(np.sqrt(spot_nm2 / photons + noise_nm2 / photons**2))


def photons_of(precision_nm: NDArray[np.float64], camera: Camera) -> NDArray[np.float64]:
    """Photons that give such a precision: the other way round.

    >>> photons_of(precision_nm(np.array([300.0, 1690.0]), Camera()), Camera()).round(6)
    array([ 300., 1690.])
    """
    spot_nm2, noise_nm2 = _variances_nm2(camera)
    return np.asarray((spot_nm2 + np.sqrt(spot_nm2**2 + 4 * precision_nm**2 * noise_nm2)) / (2 * precision_nm**2))


def _variances_nm2(camera: Camera) -> tuple[float, float]:
    """What a spot of one photon has, and what the background adds."""
    spot_nm2 = camera.psf_nm**2 + camera.pixel_nm**2 / 12
    return spot_nm2, 8 * np.pi * camera.psf_nm**4 * camera.background_sd**2 / camera.pixel_nm**2


def blink(rng: np.random.Generator, xy_nm: NDArray[np.float64], *, fluorophore: Fluorophore, camera: Camera) -> SimulatedLocs:
    """Localisations of molecules at `xy_nm` (m, 2) f8, nm.

    The first blink begins at any frame of the movie with equal chance. The order of the result is by frame, then
    by molecule.
    """
    molecule, frame = _bright_frames(rng, len(xy_nm), fluorophore, camera.n_frames)
    order = np.argsort(frame, kind="stable")
    molecule, frame = molecule[order], frame[order]
    n = len(frame)
    spread = (fluorophore.mean_photons - fluorophore.min_photons) / fluorophore.photon_shape
    photons = fluorophore.min_photons + rng.gamma(fluorophore.photon_shape, spread, n)
    error_nm = precision_nm(photons, camera)
    seen_nm = xy_nm[molecule] + rng.normal(size=(n, 2)) * error_nm[:, None]
    return SimulatedLocs(
        x_nm=seen_nm[:, 0],
        y_nm=seen_nm[:, 1],
        frame=frame.astype(np.int32),
        photons=photons,
        background_sd=np.full(n, camera.background_sd),
        precision_nm=error_nm,
        # the width of N normal draws is known to sigma / sqrt(2 N)
        psf_nm=camera.psf_nm * (1 + rng.normal(size=n) / np.sqrt(2 * photons)),
        chi2=rng.chisquare(_FIT_FREEDOM, n),
        molecule=molecule,
    )


def _bright_frames(
    rng: np.random.Generator, n_molecules: int, fluorophore: Fluorophore, n_frames: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Molecule and frame of every bright frame before the movie's end, molecule by molecule."""
    blinks = rng.geometric(1 / fluorophore.mean_blinks, n_molecules)
    first_frame = rng.integers(0, n_frames, n_molecules)
    owner = np.repeat(np.arange(n_molecules), blinks)
    on = rng.geometric(1 / fluorophore.mean_on_frames, len(owner))
    dark = rng.geometric(1 / fluorophore.mean_dark_frames, len(owner))
    passed = _sum_before(on + dark)
    start = first_frame[owner] + passed - np.repeat(passed[_sum_before(blinks)], blinks)
    frame = np.repeat(start, on) + np.arange(on.sum()) - np.repeat(_sum_before(on), on)
    recorded = frame < n_frames
    return np.repeat(owner, on)[recorded], frame[recorded]


def _sum_before(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum of all entries before each."""
    return np.cumsum(counts) - counts
