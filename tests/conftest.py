"""Options of the tests, and an end of their process whatever still runs in it."""

import faulthandler
import functools
import os
import sys

import pytest
from tests.support.servers.go_program import HELM, KUBECONFORM, VERSITYGW

# Programs that take minutes to build, by the fixture that needs them.
_BUILT = {"helm": HELM, "kubeconform": KUBECONFORM, "notifying_store": VERSITYGW}
_SECONDS_TO_END = 300.0


def pytest_addoption(parser):
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write the golden documents anew instead of comparing with them",
    )


def pytest_configure():
    """Let all clients share what they know of certificates: 40 ms of CPU for every one of them."""
    try:
        import httpx
    except ModuleNotFoundError:
        # The core's own tests need five packages, and this is none of them.
        return
    transports = httpx._transports.default
    make = transports.create_ssl_context

    @functools.cache
    def made(_environment, arguments, named):
        return make(*arguments, **dict(named))

    def shared(*arguments, **named):
        environment = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
        return made(environment, arguments, tuple(named.items()))

    transports.create_ssl_context = shared


def pytest_collection_finish(session):
    """Begin to build what will be asked for, beside the tests that come before."""
    if session.config.option.collectonly:
        return
    asked = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    for fixture, program in _BUILT.items():
        if fixture in asked:
            program.begin()


# First: what is collected at the end can wait for a lock, too.
@pytest.hookimpl(tryfirst=True)
def pytest_unconfigure():
    """A thread that does not end would keep the interpreter: then show it, and end with 1."""
    faulthandler.dump_traceback_later(_SECONDS_TO_END, exit=True, file=sys.__stderr__)
