"""How far K over N images stands for more of them: the most that it may still become."""

from __future__ import annotations

from streamspread.results.spectra import LayerSpectrum

FEWEST = 1_000  # images: no claim is judged by fewer
#: 1/K falls towards its value for all images by at most so many times 1/(τ·(N − 1)), which is by how much it
#: does for noise in very many dimensions. From 1,000 or more of CIFAR-10's images to all 50,000, K(0.7) asks
#: for 2.2 at the most, in every layer of no1, no2 and no3.
FALL = 3.0


def reach(layer: LayerSpectrum, tau: float) -> float:
    """The most that K(τ) is to be reckoned with for any number of images: what its estimate comes to with its
    error; where it has none, what FALL allows; all directions that the layer has where neither tells."""
    high = layer.components(tau).high
    estimated = layer.estimate(tau)
    if estimated is not None:
        most = max(high, estimated.value + estimated.half_width) if estimated.told else layer.directions
        return min(most, layer.directions)
    limit = tau * (layer.samples - 1) / FALL
    if layer.samples < FEWEST or high >= limit:
        return layer.directions
    return min(high / (1 - high / limit), layer.directions)
