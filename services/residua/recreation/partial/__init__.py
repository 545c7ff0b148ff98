"""Parts of images that are not stored, made as far as they are read."""
