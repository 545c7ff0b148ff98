"""The forms of things in files: compressed planes, units, WCS, mask planes, PSF models."""
