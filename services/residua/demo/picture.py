"""The demo's one picture: the previews of its first difference images, one above the other."""

from pathlib import Path

from PIL import Image

from residua.demo.run import DemoResult
from residua.storage.objects import local_path
from residua_schemas import DifferenceImageCreated

__all__ = ["draw_contact_sheet"]

_ROWS = 3
_WIDTH = 1500


def draw_contact_sheet(result: DemoResult, path: Path) -> Path | None:
    """Stack up to three previews; returns `None` when there are none."""
    previews = [
        local_path(outcome.preview_uri)
        for outcome in result.outcomes.values()
        if isinstance(outcome, DifferenceImageCreated) and outcome.preview_uri
    ][:_ROWS]
    if not previews:
        return None
    images = []
    for preview in previews:
        with Image.open(preview) as file:
            height = round(file.height * _WIDTH / file.width)
            images.append(file.convert("RGB").resize((_WIDTH, height), Image.Resampling.LANCZOS))
    sheet = Image.new("RGB", (_WIDTH, sum(image.height for image in images)))
    top = 0
    for image in images:
        sheet.paste(image, (0, top))
        top += image.height
    sheet.save(path)
    return path
