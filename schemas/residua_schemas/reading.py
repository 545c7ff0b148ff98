"""How a file is to be read, where it does not say so itself."""

from pydantic import Field

from residua_schemas.base import Checksum, Contract

__all__ = ["COMPANION_ROLES", "ImageReading"]


class ImageReading(Contract):
    """What a file leaves open: its extension, its companions, its gain.

    What stands here is believed over the file's cards, but for the zero point.
    """

    extension: str | None = Field(
        None, max_length=68, description="Name or number of the extension that holds the image."
    )
    variance_uri: str | None = Field(
        None, max_length=2048, description="File of the pixels' variances."
    )
    variance_checksum: Checksum | None = Field(
        None, description="Of the bytes of ``variance_uri``, which must have it. Absent before 1.5."
    )
    weight_uri: str | None = Field(
        None, max_length=2048, description="File of weights: inverse variances, or relative ones."
    )
    weight_checksum: Checksum | None = Field(
        None, description="Of the bytes of ``weight_uri``, which must have it. Absent before 1.5."
    )
    mask_uri: str | None = Field(
        None, max_length=2048, description="File of mask bits: 0 where a pixel is good."
    )
    mask_checksum: Checksum | None = Field(
        None, description="Of the bytes of ``mask_uri``, which must have it. Absent before 1.5."
    )
    bad_bits: int | None = Field(
        None,
        ge=0,
        lt=2**62,
        description="Bits of the mask that make a pixel unusable; all others are ignored.",
    )
    gain: float | None = Field(None, gt=0, description="Electrons per unit of the image.")
    saturation: float | None = Field(
        None, description="Pixel value from which on pixels are saturated."
    )
    zero_point: float | None = Field(
        None, description="AB magnitude of one unit of the image, if the file states none."
    )

    @property
    def companions(self) -> dict[str, tuple[str, str | None]]:
        """Files that lie beside the image, by their role: URI and, if it is known, checksum."""
        named = ((role, getattr(self, f"{role}_uri")) for role in COMPANION_ROLES)
        return {
            role: (uri, getattr(self, f"{role}_checksum")) for role, uri in named if uri is not None
        }


COMPANION_ROLES = tuple(
    name.removesuffix("_uri") for name in ImageReading.model_fields if name.endswith("_uri")
)
"""What a file beside an image can be: ``variance``, ``weight``, ``mask``."""
