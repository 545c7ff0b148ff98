"""The page: tonight, a night, one image, two runs; for people, in a browser."""
