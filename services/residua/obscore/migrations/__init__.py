"""Migrations of the catalog's database, with alembic."""
