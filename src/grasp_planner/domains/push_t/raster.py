"""Fill polygons, thick lines and discs on a pixel grid, by the integer rules of pygame 2.5 and 2.6.

DINO-WM's Push-T pictures were drawn with pygame. Its successor pygame-ce fills polygons by another rule. This file
implements pygame's rules, so that the pictures do not depend on an installed version. A shape is a set of *spans*:
rows of pixels ``(y, first x, last x)``, one per row of an integer array (n, 3).
"""

from __future__ import annotations

import numpy as np

FAR = 1 << 30
# Radius of a disc -> for each row, from the middle outwards, the px that the disc reaches left of its centre.
DISC_REACH = {
    15: (15, 15, 15, 14, 14, 14, 13, 13, 12, 11, 10, 9, 8, 6, 3),
    11: (11, 11, 11, 10, 10, 9, 8, 8, 6, 5, 3),
    2: (2, 1),
}


def blank(size: int, colour: tuple[int, int, int]) -> np.ndarray:
    """Return a canvas (size, size, 4) uint8. The fourth byte is unused, so that `fill` can write whole words."""
    return np.tile(np.array([*colour, 255], dtype=np.uint8), (size, size, 1))


def fill(canvas: np.ndarray, spans: np.ndarray, colour: tuple[int, int, int]) -> None:
    """Paint spans (n, 3) on a canvas. Parts beyond the canvas are left out."""
    height, width, _ = canvas.shape
    y, first, last = spans[:, 0], np.maximum(spans[:, 1], 0), np.minimum(spans[:, 2], width - 1)
    seen = (y >= 0) & (y < height) & (first <= last)
    y, first, count = y[seen], first[seen], (last - first + 1)[seen]
    skip = np.cumsum(count) - count  # pixels painted before each span
    pixels = np.repeat(y * width + first - skip, count) + np.arange(count.sum())
    word = np.array([*colour, 255], dtype=np.uint8).view(np.uint32)
    canvas.view(np.uint32).reshape(-1)[pixels] = word


def polygons(points: np.ndarray) -> np.ndarray:
    """Return the spans of n convex polygons with k integer corners each, (n, k, 2).

    A row reaches from one of the two edges that it crosses to the other. x on an edge is rounded towards the x of the
    edge's upper end.
    """
    x_end, y_end = points[..., 0], points[..., 1]  # (n, k): each edge ends at a corner and starts at the one before it
    order = np.arange(-1, points.shape[1] - 1)
    x_start, y_start = x_end[:, order], y_end[:, order]
    top, bottom = y_end.min(1, keepdims=True), y_end.max(1, keepdims=True)
    y = top + np.arange((bottom - top).max() + 1)  # (n, rows)

    downwards = y_start < y_end
    x1, run = np.where(downwards, x_start, x_end), np.where(downwards, x_end - x_start, x_start - x_end)
    y1, y2 = np.minimum(y_start, y_end), np.maximum(y_start, y_end)
    below = y[:, :, None] - y1[:, None]  # (n, rows, k)
    crossed = ((below >= 0) & (y[:, :, None] < y2[:, None])) | ((y == bottom)[:, :, None] & (y2 == bottom)[:, None])
    crossed &= (y1 < y2)[:, None]
    x = x1[:, None] + np.sign(run)[:, None] * (below * np.abs(run)[:, None] // np.maximum(y2 - y1, 1)[:, None])
    first, last = np.where(crossed, x, FAR).min(2), np.where(crossed, x, -FAR).max(2)
    real = first <= last
    rows = np.stack([y[real], first[real], last[real]], axis=1)
    level = y_start == y_end  # level edges are added here: no row crosses them
    edges = np.stack([y_end, np.minimum(x_start, x_end), np.maximum(x_start, x_end)], axis=-1)[level]
    return np.concatenate([rows, edges])


def thick_lines(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return the spans of n lines between integer points (n, 2), four pixels thick.

    The thickness is measured along y for lines that advance more in x than in y, else along x. Difference: pygame clips
    a line that leaves the canvas before drawing it, which shifts the line by up to a pixel.
    """
    way = ends - starts
    steep = np.abs(way[:, 0]) <= np.abs(way[:, 1])
    axis = np.where(steep, 1, 0)  # the axis along which the line advances in every step
    line = np.arange(len(way))
    length, other = np.abs(way[line, axis])[:, None], np.abs(way[line, 1 - axis])[:, None]
    step = np.arange(length.max() + 1)
    drift = np.maximum(0, -((length // 2 - step * other) // np.maximum(length, 1)))  # ceil(step other / length - 1/2)
    moves = np.stack([step + 0 * drift, drift], axis=-1)  # (n, steps, 2): along, across
    moves[~steep] = moves[~steep][..., ::-1]
    moves = moves[..., ::-1] * np.sign(way)[:, None] + starts[:, None]
    drawn = step <= length
    steep_x, steep_y = np.moveaxis(moves[drawn & steep[:, None]], -1, 0)
    flat_x, flat_y = np.moveaxis(moves[drawn & ~steep[:, None]], -1, 0)
    flat = [np.stack([flat_y + across, flat_x, flat_x], axis=1) for across in (-1, 0, 1, 2)]
    return np.concatenate([np.stack([steep_y, steep_x - 1, steep_x + 2], axis=1), *flat])


def discs(centres: np.ndarray, radius: int) -> np.ndarray:
    """Return the spans of n discs around integer points (n, 2); the radius is 2, 11 or 15."""
    reach = np.array(DISC_REACH[radius])
    reach = np.concatenate([reach[::-1], reach])
    rows = np.stack([np.arange(-radius, radius), -reach, reach - 1], axis=1)
    return (centres[:, None, [1, 0, 0]] + rows).reshape(-1, 3)


def blend_line(canvas: np.ndarray, start: np.ndarray, end: np.ndarray, colour: tuple[int, int, int]) -> None:
    """Draw an anti-aliased line, one pixel thick, between integer points (2,). Each step colours two neighbours."""
    height, width, _ = canvas.shape
    steep = abs(end[0] - start[0]) < abs(end[1] - start[1])
    along = int(steep)
    if end[along] < start[along]:
        start, end = end, start
    length = int(end[along] - start[along])
    one = np.float32(1)
    # single precision and an offset of one pixel, as in pygame: the rounding of sums changes colours by a level
    place, last = np.float32(start[1 - along]) + one, np.float32(end[1 - along]) + one
    slope = (last - place) / np.float32(max(length, 1))
    for step in range(length + 1):
        place = last if step == length else place
        whole = np.floor(place)
        share = place - whole
        for pixel, light in ((int(whole) - 1, one - share), (int(whole), share)):
            x, y = (pixel, start[1] + step) if steep else (start[0] + step, pixel)
            if light > 0 and 0 <= x < width and 0 <= y < height:
                ground = canvas[y, x, :3].astype(np.float32)
                canvas[y, x, :3] = light * np.array(colour, np.float32) + (one - light) * ground
        place = place + slope
