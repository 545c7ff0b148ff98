"""The point-spread function: measured from stars, and what resampling makes of it."""
