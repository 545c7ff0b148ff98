"""Run the access service: ``python -m residua.access``."""

import sys

from residua.access.main import main

if __name__ == "__main__":
    sys.exit(main())
