"""Options of the tests."""


def pytest_addoption(parser):
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write the golden documents anew instead of comparing with them",
    )
