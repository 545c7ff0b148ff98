"""What every expression of a query is: its type, unit and size, decided before any database."""
