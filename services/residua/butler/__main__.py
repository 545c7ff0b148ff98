"""``python -m residua.butler``: the Butler registrar, settings from the environment."""

if __name__ == "__main__":
    from residua.butler.main import main

    main()
