"""SERVICE: SIA, TAP, DataLink and cutouts."""
