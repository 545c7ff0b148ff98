"""Dead letters as text: what strangers sent must not steer the terminal."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from residua.replay.letters import ReceivedLetter

__all__ = ["became", "plain", "readable", "summary"]

_SHOWN_BYTES = 4096


def became(received: "ReceivedLetter") -> str:
    """Say what became of a letter, and where its record was sent again."""
    where = f" as {received.requeued_as}" if received.requeued_as else ""
    return f"{received.became}{where}"


def summary(received: "ReceivedLetter") -> dict[str, Any]:
    """Tell of a letter all but its bytes."""
    letter = received.letter
    return {
        "place": received.place,
        "written": received.time.isoformat(),
        "error": letter.error,
        "responsible": letter.responsible,
        "message": letter.message,
        "service": letter.service,
        "became": received.became,
        "requeued_as": received.requeued_as,
    }


def readable(value: bytes | None) -> str:
    """Bytes as text where they are text, else in hexadecimal; the beginning of long ones."""
    if value is None:
        return "none"
    shown = value[:_SHOWN_BYTES]
    try:
        text = plain(shown.decode())
    except UnicodeDecodeError:
        text = f"0x{shown.hex()}"
    return text if len(value) <= _SHOWN_BYTES else f"{text} ... (--raw writes it whole)"


def plain(text: str) -> str:
    """Return text without what steers a terminal."""
    # Bytes of strangers must not steer the terminal.
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
