"""What the cards and planes of observatories' files mean: tables, and what reads them."""
