"""Files read by parts: only the bytes and the tiles that a box of pixels needs."""
