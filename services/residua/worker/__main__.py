"""``python -m residua.worker``: the subtraction worker, settings from the environment."""

if __name__ == "__main__":
    from residua.worker.main import main

    main()
