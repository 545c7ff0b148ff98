"""`tests.support.slow_joiner` with a client that passes a record over, and looks that come soon."""

if __name__ == "__main__":
    from tests.support.slow_joiner import run_slow_joiner

    from residua.worker import reading_on

    reading_on.LOOKS = 2
    run_slow_joiner(forgets=True)
