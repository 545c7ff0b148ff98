"""``python -m residua.notifications``: the adapter, settings from the environment."""

if __name__ == "__main__":
    from residua.notifications.main import main

    main()
