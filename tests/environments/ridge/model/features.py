"""What the regression sees of a point. Editable.

A feature is a plain function of the four inputs of one point. The constants say which kinds are
used; the baseline sees the inputs alone.
"""

from math import prod, sin

POWERS: tuple[int, ...] = ()  # exponents of single inputs, beyond 1
WAVES: tuple[float, ...] = ()  # frequencies of sines of single inputs
PRODUCTS = False  # products of two different inputs


def features(x: list[float]) -> list[float]:
    """The features of one point, the constant first."""
    values = [1.0]
    values += x
    values += [value**power for power in POWERS for value in x]
    values += [sin(wave * value) for wave in WAVES for value in x]
    if PRODUCTS:
        values += [prod((x[a], x[b])) for a in range(len(x)) for b in range(a)]
    return values
