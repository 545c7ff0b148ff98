"""One module a protocol: TAP and its jobs (UWS), SIA, SODA, DataLink, VOSI, file delivery."""
