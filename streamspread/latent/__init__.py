"""The latent space as points: images on a layer's leading principal components, then in the plane."""

from streamspread.latent.embed import embed

__all__ = ["embed"]
