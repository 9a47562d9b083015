"""How figures and their bounds are written, on the terminal and on paper: no more digits than a measurement has, and its unit."""

_PLACES = {"%": 1, "s": 2}  # behind the point, at most: nothing here is timed finer


def digits(value: float | str, most: int = 3) -> str:
    """A measured number for people: about four digits, `most` behind the point, never -0; a count and a text as they are."""
    if not isinstance(value, float):
        return str(value)
    size = abs(value)
    places = 0 if size >= 1000 else 1 if size >= 100 else 3 if 0.0005 <= size < 0.1 else 2
    text = f"{value:.{min(places, most)}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def given(value: float) -> str:
    """A number that nobody has measured, without the zeros behind it."""
    return f"{round(value, 3) + 0.0:g}"


def told(value: float) -> float | int:
    """A figure that was not measured but told: whole where it is whole, so that it is shown as it was said."""
    return int(value) if float(value).is_integer() else value


def signed(value: float) -> str:
    """The same with its sign, where the sign says which way power goes."""
    return given(value) if round(value, 3) <= 0 else f"+{given(value)}"


def measured(value: float | str, unit: str) -> str:
    """A value and its unit."""
    return f"{digits(value, _PLACES.get(unit, 3))} {unit}".rstrip()


def at_most(most: float, unit: str) -> str:
    """The bound of what may not be more."""
    return f"at most {given(most)} {unit}"


def within(band: float, wanted: float, unit: str, way: bool = False) -> str:
    """The bound of what may part by so much from what is wanted; way: its sign is a direction."""
    return f"within {given(band)} {unit} of {signed(wanted) if way else given(wanted)} {unit}"


def between(low: float, high: float, unit: str) -> str:
    """The bound of what lies between two values."""
    return f"{given(low)} to {given(high)} {unit}"
