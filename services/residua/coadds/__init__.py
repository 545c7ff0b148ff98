"""Templates from earlier exposures, for observatories that have no coadds."""
