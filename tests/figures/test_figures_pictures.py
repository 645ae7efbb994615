"""The picture and the animation are written atomically, and show the recorded states."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import imageio.v2 as imageio
import imageio_ffmpeg
import matplotlib
import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from recordings import push_t_recording

from full_disk import largest_file
from grasp_planner.core.errors import GraspPlannerError
from grasp_planner.figures import planning_animation as animations
from grasp_planner.figures.animation_files import FRAMES_PER_SECOND
from grasp_planner.figures.panels import few, outcome, stage_of
from grasp_planner.figures.planning_animation import animation_frames, chosen_moments, frame_count, planning_animation
from grasp_planner.figures.planning_picture import planning_figure, planning_picture, telling_moments


def texts(figure: matplotlib.figure.Figure) -> list[str]:
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    return titles + [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def halves(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the upper left and the upper right part of a frame: the plan and the execution."""
    height, width = int(0.65 * frame.shape[0]), frame.shape[1] // 2
    return frame[20:height, :width], frame[20:height, width:]


def test_the_animation_plans_on_the_left_then_executes_on_the_right() -> None:
    recording = push_t_recording()
    frames = list(animation_frames(recording))
    assert len(frames) == frame_count(recording)
    assert {frame.shape for frame in frames} == {frames[0].shape}
    assert frames[0].dtype == np.uint8 and frames[0].shape[0] % 2 == frames[0].shape[1] % 2 == 0
    planning = len(chosen_moments(len(recording.steps), 64))
    for before, after in zip(frames[: planning - 1], frames[1:planning]):
        (left, right), (next_left, next_right) = halves(before), halves(after)
        assert (left != next_left).any() and (right == next_right).all()
    executing = frames[planning + animations.HELD : planning + animations.HELD + len(recording.executed) - 1]
    for before, after in zip(executing[:-1], executing[1:]):
        (left, right), (next_left, next_right) = halves(before), halves(after)
        assert (left == next_left).all() and (right != next_right).any()
    assert (frames[-1] == frames[-2]).all()


def test_the_colour_of_the_title_says_whether_it_worked() -> None:
    won, lost = (list(animation_frames(push_t_recording(success=value), moments=2))[-1] for value in (True, False))
    title = won[:25, won.shape[1] // 2 :].astype(int)
    green = (title[..., 1] - title[..., 0] > 80) & (title[..., 1] - title[..., 2] > 40)
    assert green.sum() > 50
    title = lost[:25, lost.shape[1] // 2 :].astype(int)
    assert ((title[..., 1] - title[..., 0]) < 40).all()


def test_a_gif_holds_every_frame(tmp_path: Path) -> None:
    recording = push_t_recording()
    path = planning_animation(recording, tmp_path / "a.gif", moments=4)
    with imageio.get_reader(path) as reader:
        shapes = [frame.shape[:2] for frame in reader]
    # Equal frames are written as one longer frame.
    assert 4 + 20 <= len(shapes) <= frame_count(recording, 4)
    assert set(shapes) == {next(animation_frames(recording)).shape[:2]}
    assert list(tmp_path.iterdir()) == [path]


def test_an_mp4_holds_every_frame(tmp_path: Path) -> None:
    recording, seen = push_t_recording(), []
    path = planning_animation(recording, tmp_path / "a.mp4", moments=4, progress=seen.append)
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
    assert frames == len(seen) == frame_count(recording, 4) and seen[-1] == frames
    assert seconds == pytest.approx(frames / FRAMES_PER_SECOND, abs=0.2)
    assert list(tmp_path.iterdir()) == [path]


def test_an_animation_that_fails_leaves_nothing_and_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    path.write_bytes(b"old")

    def fail(number: int) -> None:
        if number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        planning_animation(push_t_recording(), path, progress=fail)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_an_animation_is_mp4_or_gif(tmp_path: Path) -> None:
    with pytest.raises(GraspPlannerError, match=r"\.mp4 or \.gif.*a\.webm"):
        planning_animation(push_t_recording(), tmp_path / "a.webm")
    assert not list(tmp_path.iterdir())


def test_the_picture_names_planners_steps_and_outcomes(tmp_path: Path) -> None:
    recordings = [push_t_recording(), push_t_recording(False, False, "CEM"), push_t_recording(False, False, "GD")]
    shown = texts(planning_figure(recordings))
    moments = [f"{planner}, step {step}" for planner in ("GRASP", "CEM", "GD") for step in (1, 3, 17)]
    ends = ["success, 3 px, 1° off", "missed, 3 px, 1° off", "missed, 3 px, 1° off"]
    titles = [title for row in range(3) for title in [*moments[3 * row : 3 * row + 3], ends[row]]]
    assert shown[:12] == titles
    assert {"imagined or virtual states, early to late", "goal", "simulator"} <= set(shown)
    path = planning_picture(recordings, tmp_path / "p.png")
    picture = imageio.imread(path)
    assert picture.shape[1] == 1159 and picture[..., :3].mean() > 200  # a light page
    assert list(tmp_path.iterdir()) == [path]


def test_a_planner_without_virtual_states_shows_what_it_imagines() -> None:
    shown = texts(planning_figure([push_t_recording(lifted=False, planner="CEM")]))
    assert "imagined states, early to late" in shown and "virtual states, early to late" not in shown


@pytest.mark.parametrize("count", [0, 4])
def test_a_picture_takes_one_to_three_recordings(count: int) -> None:
    with pytest.raises(GraspPlannerError, match=f"got {count}"):
        planning_figure([push_t_recording()] * count)


def test_costs_that_a_logarithm_cannot_show_are_drawn_all_the_same() -> None:
    cost = np.r_[np.inf, np.nan, 2.0, np.zeros(15)]
    assert next(animation_frames(push_t_recording(best_cost=cost))).any()
    assert planning_figure([push_t_recording(best_cost=np.zeros(18))]).axes


def test_moments_that_tell_the_story() -> None:
    assert telling_moments(push_t_recording()) == (0, 1, 8)
    never = push_t_recording(best_cost=np.full(18, 7.0))
    assert telling_moments(never) == (0, 0, 8)
    slow = push_t_recording(best_cost=np.r_[12.0, 10.0, 6.0, 6.0, 6.0, 3.3, np.full(12, 0.5)])
    assert telling_moments(slow) == (0, 2, 8)  # 3.3 at step 5
    unscored = push_t_recording(best_cost=np.r_[np.inf, np.inf, np.inf, 7.0, np.full(14, 0.5)])
    assert telling_moments(unscored) == (0, 1, 8)
    single = push_t_recording(steps=np.array([0]), rollouts=np.zeros((1, 4, 7)), virtual=None)
    assert telling_moments(single) == (0, 0, 0)
    assert chosen_moments(1, 64) == [0] and chosen_moments(3, 64) == [0, 1, 2]


def test_outcomes_in_words() -> None:
    assert outcome(push_t_recording()) == "success, 3 px, 1° off"
    assert outcome(push_t_recording(distances={"position": 0.1234, "speed": 3.0})) == "success, 0.123 off"


def test_drawing_leaves_matplotlib_as_it_was() -> None:
    before = dict(matplotlib.rcParams)
    planning_figure([push_t_recording()])
    assert dict(matplotlib.rcParams) == before
    script = (
        "import sys, recordings; from grasp_planner.figures.planning_picture import planning_figure;"
        "planning_figure([recordings.push_t_recording()]);"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parent, check=False).returncode == 0


def test_a_video_that_does_not_fit_on_the_disk_is_an_error(tmp_path: Path) -> None:
    """ffmpeg is a program of its own, whose failure at the end of the file its writer does not report."""
    path = planning_animation(push_t_recording(), tmp_path / "x.mp4", moments=4)
    before = path.read_bytes()
    with largest_file(len(before) - 100), pytest.raises(GraspPlannerError, match="is the disk full"):
        planning_animation(push_t_recording(), path, moments=4)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_panel_shows_few_states_of_one_moment_and_the_last_states_of_earlier_moments() -> None:
    recording = push_t_recording()
    assert recording.virtual is not None
    axes = planning_figure([recording]).axes[2]
    earlier, block, pusher = [one for one in axes.collections if isinstance(one, PolyCollection)]
    scene = stage_of([recording])
    states = recording.virtual[8]
    for body, drawn in zip(scene.bodies, (block, pusher), strict=True):
        shown = [path.vertices[:-1] for path in drawn.get_paths()]
        np.testing.assert_allclose(shown, body.at(states))
    lightness = block.get_edgecolor()[:, :3].sum(1)
    assert (np.diff(lightness) < 0).all()  # one scale, from light (early) to dark (late)
    before = [path.vertices[:-1] for path in earlier.get_paths()]
    np.testing.assert_allclose(before, scene.bodies[0].at(recording.virtual[[0, 2, 4, 6], -1]))


def test_few_states_end_with_the_last_one() -> None:
    for count in range(1, 60):
        chosen = few(count)
        assert len(chosen) == min(count, 4) and chosen[-1] == count - 1 and (np.diff(chosen) > 0).all()
