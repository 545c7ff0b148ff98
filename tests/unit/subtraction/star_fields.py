"""A field of Gaussian stars in white noise."""

import numpy as np

SHAPE = (400, 420)


def field(positions, *, flux=1e4, sigma=1.8, noise=1.0, seed=1):
    y, x = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]
    image = np.random.default_rng(seed).normal(0.0, noise, SHAPE)
    for (px, py), f in zip(positions, np.broadcast_to(flux, len(positions)), strict=True):
        image += (
            f / (2 * np.pi * sigma**2) * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 2 / sigma**2)
        )
    return image.astype(np.float32), np.full(SHAPE, noise**2, np.float32), np.zeros(SHAPE, np.int32)
