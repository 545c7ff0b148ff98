"""``python -m residua.catalog``: the catalog consumer, settings from the environment."""

if __name__ == "__main__":
    from residua.catalog.main import main

    main()
