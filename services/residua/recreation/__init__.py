"""Images made again: byte for byte as they were made, or as well as can be done now.

`Recreator.as_made` is the one way back from an outcome to its file, whoever asks: command line,
access service, Butler. It returns the very bytes or raises; what came out otherwise is never
handed on as the image.
"""

from residua.recreation.differences import Difference
from residua.recreation.recreator import Recreated, Recreator
from residua.recreation.settings import RecreationSettings

__all__ = ["Difference", "Recreated", "RecreationSettings", "Recreator"]
