"""Instants and durations as kubectl shows them: 45s, 3m12s, 5h, 2d."""

from datetime import UTC, datetime


def parse(text: str) -> datetime | None:
    """An RFC 3339 instant; None for anything else."""
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None


def age(text: str | None, now: datetime | None = None) -> str:
    """How long ago an instant was."""
    instant = parse(text) if text else None
    if instant is None:
        return "<unknown>"
    return human((now or datetime.now(UTC)).timestamp() - instant.timestamp())


def human(seconds: float) -> str:
    """Two units while small, one when large (apimachinery's HumanDuration)."""
    total = int(seconds)
    if total < -1:
        return "<invalid>"
    total = max(total, 0)
    minutes, hours, days = total // 60, total // 3600, total // 86400
    if total < 120:
        return f"{total}s"
    if minutes < 10:
        return f"{minutes}m{total % 60}s" if total % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    if days < 365 * 2:
        return f"{days}d"
    years = days // 365
    if years < 8 and days % 365:
        return f"{years}y{days % 365}d"
    return f"{years}y"


def local(text: str | None) -> str:
    """`Mon, 02 Jan 2006 15:04:05 +0000` in the local time zone."""
    instant = parse(text) if text else None
    return instant.astimezone().strftime("%a, %d %b %Y %H:%M:%S %z") if instant else "<unset>"
