"""What two results have alike if all their numbers have the same bits."""

import dataclasses
import hashlib

import numpy as np

TIMES = {"seconds", "peak_bytes"}  # what no two runs have alike


def plain(value):
    """What two values have alike if they have the same bits."""
    if dataclasses.is_dataclass(value):
        names = (one.name for one in dataclasses.fields(value))
        return {name: plain(getattr(value, name)) for name in names if name not in TIMES}
    if isinstance(value, np.ndarray | np.generic | float):
        return np.asarray(value).dtype.str, np.shape(value), np.asarray(value).tobytes()
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value


def bits(spectra):
    """All numbers of spectra, and the hash of what was seen."""
    own = {name: plain(one) for name, one in spectra.items()} | {"seen": spectra.provenance["data_seen"]}
    return own if spectra.twin is None else {**own, "twin": bits(spectra.twin)}


def digest(spectra):
    """The SHA-256 of these bits."""
    return hashlib.sha256(repr(bits(spectra)).encode()).hexdigest()
