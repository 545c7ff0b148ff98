"""Where outcomes, and the configurations they were made with, are found."""
