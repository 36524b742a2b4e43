"""The latent space as a picture: each layer's images on its leading principal components, then in the plane."""

from streamspread.latent.embed import embed

__all__ = ["embed"]
