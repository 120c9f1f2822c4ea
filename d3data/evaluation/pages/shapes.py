"""Marks and lines that are told apart without colour: outlines around a point, and dashes."""

import math
from dataclasses import dataclass

Point = tuple[float, float]


@dataclass(frozen=True)
class Shape:
    """Closed outlines, and single strokes of two points, in pixels around the place they mark."""

    outlines: tuple[tuple[Point, ...], ...]

    @property
    def path(self) -> str:
        """What SVG calls it."""
        return "".join(
            "M" + "L".join(f"{x:g},{y:g}" for x, y in line) + "z" * (len(line) > 2)
            for line in self.outlines
        )


def _star(points: int, *radii: float) -> tuple[Point, ...]:
    """Corners on circles that take turns, the first one at the top."""
    found = []
    for number in range(points * len(radii)):
        radius = radii[number % len(radii)]
        angle = math.radians(360 * number / (points * len(radii)) - 90)
        found.append((round(radius * math.cos(angle), 2), round(radius * math.sin(angle), 2)))
    return tuple(found)


def _box(x: float, y: float) -> tuple[Point, ...]:
    return (-x, -y), (x, -y), (x, y), (-x, y)


SHAPES = (
    Shape((_star(24, 6),)),
    Shape((_box(5, 5),)),
    Shape((((0, -6.5), (6, 5), (-6, 5)),)),
    Shape((_star(4, 7),)),
    Shape((((-5, -5), (5, 5)), ((-5, 5), (5, -5)))),
    Shape((((0, 6.5), (6, -5), (-6, -5)),)),
    Shape((((0, -7), (0, 7)), ((-7, 0), (7, 0)))),
    Shape((_star(5, 8, 3.2),)),
    Shape((((-5, -6), (5, -6), (-5, 6), (5, 6)),)),
    Shape((_box(8, 2.5),)),
    Shape((_box(2.5, 8),)),
    Shape(tuple(((x, y), (-x, -y)) for x, y in _star(6, 7)[:3])),
)
DASHES: tuple[tuple[int, ...], ...] = (
    (),
    (7, 4),
    (2, 3),
    (10, 3, 2, 3),
    (14, 4),
    (5, 2, 2, 2, 2, 2),
    (4, 8),
)
