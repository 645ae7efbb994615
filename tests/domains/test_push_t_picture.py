"""Push-T's pictures. The checksums belong to pictures that DINO-WM's environment drew with pygame and OpenCV."""

import zlib

import numpy as np
import pytest

from grasp_planner import GraspPlannerError
from grasp_planner.domains.push_t.environment import PushT
from grasp_planner.domains.push_t.picture import picture
from grasp_planner.domains.push_t.raster import blank, blend_line, discs, fill, polygons, thick_lines

PUBLISHED = [  # state, CRC-32 of the picture's bytes
    ([100, 100, 300, 250, 0.5, 0, 0], 3026700939),
    ([256, 400, 256, 300, 0.0, 0, 0], 3310300356),
    ([300, 130, 200, 330, 4.0, 0, 0], 4292163125),
    ([222.3, 286.2, 180, 330, 3.7, 0, 0], 1502686215),  # pusher over the block's edge, one contact mark
    ([412.6, 60.4, 391.2, 385.9, 5.7, 0, 0], 4279832776),  # over a wall
]
STATE = np.array([150.0, 100.0, 330.0, 300.0, 0.4, 0.0, 0.0])


def painted(spans: np.ndarray, size: int = 12) -> set[tuple[int, int]]:
    """Return (x, y) of the pixels that spans cover."""
    canvas = blank(size, (0, 0, 0))
    fill(canvas, spans, (9, 9, 9))
    return {(int(x), int(y)) for y, x in np.argwhere(canvas[..., 0] == 9)}


@pytest.mark.parametrize(("state", "checksum"), PUBLISHED)
def test_224_px_picture_is_the_published_one(state: list[float], checksum: int) -> None:
    image = picture(np.array(state, dtype=float))
    assert image.shape == (224, 224, 3) and image.dtype == np.uint8 and image.flags.c_contiguous
    assert zlib.crc32(image.tobytes()) == checksum


@pytest.mark.parametrize("size", [64, 224])
def test_colours_lie_where_the_state_says(size: int) -> None:
    image = picture(STATE, size)

    def colour(x: float, y: float) -> list[int]:
        return image[int((y + 0.5) * size / 512), int((x + 0.5) * size / 512)].tolist()

    cos, sin = np.cos(STATE[4]), np.sin(STATE[4])
    assert colour(*STATE[:2]) == [78, 126, 255]  # the pusher's middle
    for local_x, local_y in ((0, 15), (45, 15), (0, 75), (0, 100)):  # bar, its end, stem
        place = STATE[2:4] + [cos * local_x - sin * local_y, sin * local_x + cos * local_y]
        assert colour(*place) == [143, 163, 184]
    assert colour(200, 311) == [144, 238, 144]  # the landmark's stem, along (-1, 1) from (256, 256)
    assert colour(20, 20) == [255, 255, 255]
    assert max(colour(256, 5)) < 250  # a wall


@pytest.mark.parametrize("size", [32, 64, 128])
def test_smooth_picture_is_the_mean_of_the_scene(size: int) -> None:
    """The picture equals the average of a drawing four times as fine, to a few levels where two shapes meet."""
    factor = 4
    fine = picture(STATE, factor * size)
    mean = fine.reshape(size, factor, size, factor, 3).mean((1, 3))
    difference = picture(STATE, size) - mean
    assert np.sqrt((difference**2).mean()) < 2.0
    assert abs(difference.mean()) < 0.3


def test_smooth_picture_shows_motion_below_a_pixel() -> None:
    """The centre of the pusher's colour follows the pusher to 0.2 px, though a pixel is 8 px wide."""
    ground = picture(np.array([-100.0, 100.0, 420.0, 420.0, 0.4, 0, 0]), 64).astype(float)
    centres = np.arange(64) * 8 + 3.5
    offsets = []
    for x in np.arange(150.0, 158.0, 0.5):
        shown = (ground - picture(np.array([x, 100.0, 420.0, 420.0, 0.4, 0, 0]), 64)).sum(2)
        offsets.append((shown.sum(0) * centres).sum() / shown.sum() - x)
    np.testing.assert_allclose(offsets, -0.5, atol=0.2)  # the published disc lies half a px up and left


def test_only_what_moves_changes_the_smooth_picture() -> None:
    """Walls and landmark look the same wherever the block is, at the border too."""
    images = [picture(np.array([60.0, 60.0, x, 400.0, 0.0, 0, 0]), 64) for x in (200.0, 440.0)]
    np.testing.assert_array_equal(images[0][:48], images[1][:48])
    np.testing.assert_array_equal(images[0][:, :15], images[1][:, :15])


def test_turning_a_little_changes_the_smooth_picture_a_little() -> None:
    images = [picture(STATE + [0, 0, 0, 0, turn, 0, 0], 64).astype(float) for turn in (0, 0.004, 0.008)]
    first, second = (np.abs(b - a).sum() for a, b in zip(images, images[1:]))
    assert 0 < first < 4000
    assert second == pytest.approx(first, rel=0.25)


def test_picture_draws_any_state_without_stepping() -> None:
    env = PushT()
    env.reset(seed=0)
    before = env.get_state()
    env.picture(STATE, 224)
    np.testing.assert_array_equal(env.get_state(), before)


@pytest.mark.parametrize("size", [64, 224])
def test_what_lies_outside_the_window_is_not_drawn(size: int) -> None:
    far, farther = (np.array([-k * 900.0, k * 900.0, k * 2000.0, -k * 700.0, k, 0, 0]) for k in (1, 2))
    np.testing.assert_array_equal(picture(far, size), picture(farther, size))
    half_out = picture(np.array([300.0, 300.0, 500.0, 5.0, 2.0, 0, 0]), size)
    assert (half_out[:, -size // 8 :] == np.array([143, 163, 184])).all(-1).any()


def test_other_sizes_are_refused() -> None:
    with pytest.raises(GraspPlannerError, match="16 to 512"):
        picture(STATE, 8)


def test_polygon_cuts_its_slanted_sides_towards_their_upper_ends() -> None:
    corners = np.array([[(5, 2), (9, 4), (7, 8), (3, 6)]])
    rows = {2: (5, 5), 3: (5, 7), 4: (4, 9), 5: (4, 9), 6: (3, 8), 7: (5, 8), 8: (7, 7)}
    assert painted(polygons(corners)) == {(x, y) for y, (a, b) in rows.items() for x in range(a, b + 1)}


def test_thick_lines_are_four_pixels_across() -> None:
    upright = painted(thick_lines(np.array([[5, 2]]), np.array([[5, 6]])))
    assert upright == {(x, y) for x in (4, 5, 6, 7) for y in range(2, 7)}
    level = painted(thick_lines(np.array([[8, 5]]), np.array([[3, 5]])))
    assert level == {(x, y) for x in range(3, 9) for y in (4, 5, 6, 7)}


def test_spans_beyond_the_canvas_are_left_out() -> None:
    assert painted(discs(np.array([[0, 0]]), 2)) == {(0, 0), (1, 0), (0, 1)}
    assert painted(discs(np.array([[-50, 5]]), 15)) == set()


def test_smooth_line_shares_each_step_between_two_pixels() -> None:
    canvas = blank(8, (0, 0, 0))
    blend_line(canvas, np.array([1, 1]), np.array([5, 2]), (200, 200, 200))
    assert canvas[1, 1:6, 0].tolist() == [200, 150, 100, 50, 0]
    assert canvas[2, 1:6, 0].tolist() == [0, 50, 100, 150, 200]
