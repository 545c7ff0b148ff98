"""The subtraction core: arrays in, arrays out; no I/O."""
