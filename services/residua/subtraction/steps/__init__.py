"""The steps of the chain between its face and its floors: solve once, apply anywhere."""
