"""How long something takes, in words."""


def duration(seconds: float) -> str:
    """Seconds as one reads them.

    Example:
        >>> duration(7.4), duration(140), duration(8000)
        ('7 s', '2 min 20 s', '2 h 13 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
