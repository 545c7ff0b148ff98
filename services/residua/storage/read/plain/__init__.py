"""Plain FITS images: what is given is used, what is not is measured and said."""
