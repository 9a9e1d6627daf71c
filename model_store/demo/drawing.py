"""Pictures of the demo world: one coloured shape on a varied background, which no text of the item mentions."""

import math
import random

from PIL import Image, ImageDraw

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "orange": (245, 140, 20),
    "yellow": (245, 220, 50),
    "green": (40, 160, 70),
    "blue": (40, 90, 220),
    "purple": (135, 50, 170),
    "white": (250, 250, 250),
    "black": (15, 15, 15),
}
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
_SCALE = 2
"""Pictures are drawn larger and scaled down, for smooth edges."""


def draw(colour: str, shape: str, side: int, rng: random.Random) -> Image.Image:
    """Draw one picture of `side` x `side` pixels.

    Position, size, rotation, shade and background vary with `rng`; colour and shape stay recognizable.
    """
    canvas = side * _SCALE
    picture = _background(canvas, rng)
    radius = canvas * rng.uniform(0.24, 0.36)
    centre = (rng.uniform(radius, canvas - radius), rng.uniform(radius, canvas - radius))
    _shape(ImageDraw.Draw(picture), shape, centre, radius, rng.uniform(-0.3, 0.3), _shade(COLOURS[colour], rng))
    picture = picture.resize((side, side), Image.Resampling.BOX)
    noise = Image.frombytes("RGB", (side, side), rng.randbytes(3 * side * side))
    return Image.blend(picture, noise, 0.08)


def _background(side: int, rng: random.Random) -> Image.Image:
    base = tuple(rng.randint(90, 185) for _ in range(3))
    tint = tuple(max(0, min(255, level + rng.randint(-25, 25))) for level in base)
    picture = Image.new("RGB", (side, side), base)
    pen = ImageDraw.Draw(picture)
    step, width = rng.randint(side // 10, side // 4), rng.randint(2, side // 16)
    match rng.choice(("plain", "rows", "columns", "dots")):
        case "rows":
            for y in range(0, side, step):
                pen.line((0, y, side, y), fill=tint, width=width)
        case "columns":
            for x in range(0, side, step):
                pen.line((x, 0, x, side), fill=tint, width=width)
        case "dots":
            for x in range(0, side, step):
                for y in range(0, side, step):
                    pen.ellipse((x, y, x + width, y + width), fill=tint)
    return picture


def _shade(colour: tuple[int, int, int], rng: random.Random) -> tuple[int, ...]:
    return tuple(max(0, min(255, level + rng.randint(-14, 14))) for level in colour)


def _shape(
    pen: ImageDraw.ImageDraw,
    shape: str,
    centre: tuple[float, float],
    radius: float,
    turn: float,
    fill: tuple[int, ...],
) -> None:
    x, y = centre
    box = (x - radius, y - radius, x + radius, y + radius)
    match shape:
        case "circle":
            pen.ellipse(box, fill=fill)
        case "ring":
            pen.ellipse(box, outline=fill, width=round(radius * 0.42))
        case "square":
            pen.polygon(_corners(centre, [radius] * 4, turn + math.pi / 4), fill=fill)
        case "triangle":
            pen.polygon(_corners(centre, [radius * 1.1] * 3, turn - math.pi / 2), fill=fill)
        case "star":
            pen.polygon(_corners(centre, [radius * 1.1, radius * 0.45] * 5, turn - math.pi / 2), fill=fill)
        case "cross":
            for angle in (turn, turn + math.pi / 2):
                dx, dy = math.cos(angle) * radius, math.sin(angle) * radius
                pen.line((x - dx, y - dy, x + dx, y + dy), fill=fill, width=round(radius * 0.6))


def _corners(centre: tuple[float, float], radii: list[float], turn: float) -> list[tuple[float, float]]:
    step = 2 * math.pi / len(radii)
    return [
        (centre[0] + radius * math.cos(turn + i * step), centre[1] + radius * math.sin(turn + i * step))
        for i, radius in enumerate(radii)
    ]
