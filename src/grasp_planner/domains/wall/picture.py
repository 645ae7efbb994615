"""Pictures of Wall: DINO-WM's frame of 65 x 65 px and its bilinear resize."""

from __future__ import annotations

import functools

import numpy as np

FRAME = 65  # px
DOT_WIDTH = 1.7  # px, standard deviation
REACH = 7  # px around the pixel nearest to the dot; farther away the dot is weaker than 1/255


def frame(position: np.ndarray) -> np.ndarray:
    """Draw DINO-WM's picture of 65 x 65 px: white ground, black walls, and a red Gaussian dot behind the walls.

    Let g be the dot's Gaussian (standard deviation 1.7 px) at a pixel, divided by its largest value at any pixel. The
    pixel's red is 255, its green and blue are 255 - floor(255 g).

    Args:
        position: (2,) x, y in px. The centre of the pixel in row j and column i is at x = i, y = j.

    Returns:
        (65, 65, 3) uint8, byte for byte the original's frame.

    >>> image = frame(np.array([16.0, 30.0]))
    >>> image[30, 16].tolist(), image[30, 4].tolist(), image[10, 10].tolist()
    ([255, 0, 0], [0, 0, 0], [255, 255, 255])
    """
    rows, columns, dot = _dot(position)
    image = np.repeat(np.where(_walls(), np.uint8(0), np.uint8(255))[..., None], 3, axis=-1)
    image[rows, columns, 1:] -= dot[..., None]
    return image


def picture(position: np.ndarray, size: int) -> np.ndarray:
    """Resize `frame` bilinearly, as in DINO-WM. The result is rounded to bytes; DINO-WM rounds later.

    Pixel centres are at halves. When the picture shrinks, the interpolation triangle is widened by the ratio of the
    sizes, as in Pillow and torchvision. Only the part that the dot changes is computed.

    Args:
        position: (2,) x, y in px of the frame.
        size: side of the result in px; models are trained on 64 and 224.

    Returns:
        (size, size, 3) uint8.

    >>> picture(np.array([16.0, 30.0]), 224).shape
    (224, 224, 3)
    """
    resize, first, last, ground, bright = _prepared(size)
    rows, columns, dot = _dot(position)
    to_rows = slice(first[rows.start], last[rows.stop - 1])
    to_columns = slice(first[columns.start], last[columns.stop - 1])
    darker = resize[to_rows, rows] @ dot @ resize[to_columns, columns].T
    image = ground.copy()
    image[to_rows, to_columns, 1:] = np.rint(bright[to_rows, to_columns] - darker)[..., None]
    return image


def _dot(position: np.ndarray) -> tuple[slice, slice, np.ndarray]:
    """Return the rows and columns of the frame that the dot may change, and the darkening (uint8)."""
    x, y = np.asarray(position, dtype=np.float64).tolist()
    middle_x = min(max(round(x), 0), FRAME - 1)
    middle_y = min(max(round(y), 0), FRAME - 1)
    columns = slice(max(middle_x - REACH, 0), min(middle_x + REACH + 1, FRAME))
    rows = slice(max(middle_y - REACH, 0), min(middle_y + REACH + 1, FRAME))
    squares_x = (np.arange(columns.start, columns.stop) - x) ** 2
    squares_y = (np.arange(rows.start, rows.stop) - y) ** 2
    nearest = (middle_x - x) ** 2 + (middle_y - y) ** 2
    share = np.exp(-(squares_y[:, None] + squares_x - nearest) / (2 * DOT_WIDTH**2))
    return rows, columns, np.where(_walls()[rows, columns], 0, 255 * share).astype(np.uint8)


@functools.cache
def _walls() -> np.ndarray:
    """Return whether each pixel (65, 65) is on the inner wall outside its door, or on a border line."""
    y, x = np.mgrid[:FRAME, :FRAME]
    inner = (x >= 29) & (x <= 35) & ~((y >= 26) & (y <= 34))
    border = (x == 4) | (x == 60) | (y == 4) | (y == 60)
    return inner | border


@functools.cache
def _prepared(size: int) -> tuple[np.ndarray, list[int], list[int], np.ndarray, np.ndarray]:
    """Return the constants of `picture` for one size.

    Returns:
        The weights (size, 65), the first and the end of the range of new pixels that each frame pixel contributes to,
        and the picture without a dot, in bytes and before rounding.
    """
    ratio = FRAME / size
    middle = (np.arange(size) + 0.5) * ratio - 0.5  # centres of the new pixels, in px of the frame
    weights = np.maximum(0, 1 - np.abs(middle[:, None] - np.arange(FRAME)) / max(1.0, ratio))
    weights /= weights.sum(axis=1, keepdims=True)
    first = (weights > 0).argmax(axis=0).tolist()
    last = (size - (weights[::-1] > 0).argmax(axis=0)).tolist()
    bright = weights @ np.where(_walls(), 0.0, 255.0) @ weights.T
    ground = np.repeat(np.rint(bright).astype(np.uint8)[..., None], 3, axis=-1)
    return weights, first, last, ground, bright
