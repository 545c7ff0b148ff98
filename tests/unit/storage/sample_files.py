"""Small files that the tests of the readers write."""

import numpy as np
from astropy.io import fits

from residua.subtraction.masks import MaskBit

RNG = np.random.default_rng(11)


def save(path, hdus):
    fits.HDUList(hdus).writeto(path)
    return path


def counts(wcs, sky=1000.0, gain=4.0, read_noise=8.0, shape=(256, 300), **cards):
    """An image in counts with sky and two bright stars."""
    image = np.full(shape, sky)
    y, x = np.mgrid[: shape[0], : shape[1]]
    for cx, cy, peak in ((80, 60, 4000.0), (200, 180, 90000.0)):
        image += peak * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 2.0**2))
    image = RNG.poisson(image * gain) / gain + RNG.normal(0, read_noise / gain, shape)
    hdu = fits.PrimaryHDU(image.astype(np.float32))
    hdu.header.update(wcs.to_header())
    values = {"GAIN": gain, "RDNOISE": read_noise, "SATURATE": 60000.0, **cards}
    for key, value in values.items():
        if value is not None:
            hdu.header[key] = value
    return hdu


def afw(path, science, bunit="nJy", **cards):
    primary = fits.PrimaryHDU()
    primary.header["INSTRUME"] = "LSSTComCam"
    primary.header["HIERARCH LSST BUTLER DATAID VISIT"] = 2024112200123
    primary.header["HIERARCH LSST BUTLER DATAID DETECTOR"] = 4
    primary.header["FILTER"] = "r_03"
    planes = {"BAD": 0, "SAT": 1, "INTRP": 2, "CR": 3, "EDGE": 4, "DETECTED": 5, "NO_DATA": 8}
    mask = np.zeros(science.image.shape, np.int32)
    for name, bit in (("SAT", MaskBit.SATURATED), ("INTRP", MaskBit.INTERPOLATED)):
        mask |= np.where(science.mask & bit, 1 << planes[name], 0).astype(np.int32)
    mask |= np.where(science.mask & MaskBit.NO_DATA, 1 << 8, 0).astype(np.int32)
    mask[100, 100] = 1 << 4
    mask[100, 101] = 1 << 3
    image = fits.CompImageHDU(
        science.image, name="IMAGE", compression_type="GZIP_2", quantize_level=0.0
    )
    image.header.update(science.wcs.to_header())
    image.header["BUNIT"] = bunit
    image.header.update(cards)
    mask_hdu = fits.ImageHDU(mask, name="MASK")
    for name, bit in planes.items():
        mask_hdu.header[f"HIERARCH MP_{name}"] = bit
    return save(path, [primary, image, mask_hdu, fits.ImageHDU(science.variance, name="VARIANCE")])
