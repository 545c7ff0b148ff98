"""The demo: a whole Residua on one machine, its inputs, its run, its report."""
