"""``python -m residua.bridge``: the bridge, settings from the environment."""

if __name__ == "__main__":
    from residua.bridge.main import main

    main()
