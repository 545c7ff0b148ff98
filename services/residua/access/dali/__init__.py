"""What all VO services have in common (DALI 1.1): parameters, formats, VOTables, errors."""
