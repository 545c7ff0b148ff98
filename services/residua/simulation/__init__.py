"""A simulated sky with its truth, and honest measures of difference images against it."""
