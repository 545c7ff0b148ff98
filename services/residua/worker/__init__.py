"""SERVICE: the subtraction worker (faust)."""
