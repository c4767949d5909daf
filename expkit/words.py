"""Numbers as a person reads them."""


def duration(seconds: float) -> str:
    """Seconds as a person reads them: 8.4 s, 2 min 05 s, 1 h 02 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def figure(value: float | None) -> str:
    """A metric as a person reads it; None is what JSON has in place of a value that is no number."""
    return "no number" if value is None else f"{value:.4f}"


def many(count: int, one: str, more: str) -> str:
    """A count with what there is of it, in the form that goes with the number: "1 row is", "2 rows are"."""
    return f"{count} {one if count == 1 else more}"
