"""`grasp plan` and `grasp demo` on small budgets: tables and files show the results, and agree with each other."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import imageio.v2 as imageio
import numpy as np
import pytest
import torch

from grasp_planner import CEM, GD, MPPI, Chunked, Compiled, load_world_model, recommended
from grasp_planner.bench.tasks import task
from grasp_planner.cli import planning_bar as progress
from grasp_planner.cli.commands import demo
from grasp_planner.cli.commands.plan import wrapped
from grasp_planner.cli.main import main
from grasp_planner.cli.tables import who_won


def rows_of(table: str) -> dict[str, list[str]]:
    """Parse a table of rich: first cell -> the other cells of the row."""
    lines = [
        [cell.strip() for cell in line.strip("│").split("│")] for line in table.splitlines() if line.startswith("│")
    ]
    return {first: rest for first, *rest in lines}


def strict_json(path: Path) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_plan_prints_a_table_and_writes_what_it_says(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "plan"
    words = f"plan --model {model_folder} planner:grasp --planner.sync-every 2 --planner.sync-steps 1 --steps 4"
    words += f" --episodes 3 --show 1 --horizon 20 --seed 7 --animation gif --out {out}"
    assert main(words.split()) == 0
    printed = capsys.readouterr().out
    assert "push_t/dset/v2, 20 steps ahead, 3 episodes" in printed
    assert sorted(path.name for path in out.iterdir()) == [
        "plan.json",
        "plan.npz",
        "plan.toml",
        "planning.gif",
        "planning.png",
    ]

    content = strict_json(out / "plan.json")
    (found,) = content["evaluations"]
    assert (content["command"], content["seed"], content["model"]) == ("plan", 7, str(model_folder))
    assert found["planner"]["name"] == "grasp" and found["planner"]["sync_every"] == 2
    assert found["planner"]["sync"]["name"] == "gd" and found["steps"] == 4
    assert found["budget"] == {"steps": 4, "seconds": None, "transitions": None}
    assert [episode["episode"] for episode in found["episodes"]] == [0, 1, 2]

    cells = rows_of(printed)["GRASP"]
    successes = sum(episode["success"] for episode in found["episodes"])
    imagined = sum(episode["success_model"] for episode in found["episodes"])
    assert cells[:2] == [f"{successes} / 3", f"{imagined} / 3"]
    position = np.median([episode["distances"]["position_px"] for episode in found["episodes"]])
    angle = np.median([episode["distances"]["angle_deg"] for episode in found["episodes"]])
    assert [float(cell) for cell in cells[2:4]] == pytest.approx([position, angle], rel=0.006)
    assert cells[5] == f"{found['transitions']:,}"

    arrays = np.load(out / "plan.npz")
    shapes = {name: arrays[name].shape for name in arrays.files}
    assert shapes["model_actions"] == (3, 4, 10) and shapes["environment_actions"] == (3, 20, 2)
    assert shapes["simulated_states"] == (3, 21, 7) and shapes["imagined_states"] == (3, 5, 7)
    assert imageio.imread(out / "planning.png").ndim == 3


def test_the_numbers_are_those_of_the_simulator(model_folder: Path, tmp_path: Path) -> None:
    words = f"plan --model {model_folder} planner:cem --planner.samples 8 --planner.elites 2 --steps 2 --episodes 2"
    assert main([*words.split(), "--horizon", "10", "--animation", "none", "--out", str(tmp_path)]) == 0
    arrays = np.load(tmp_path / "plan.npz")
    (found,) = strict_json(tmp_path / "plan.json")["evaluations"]
    model, env = load_world_model(model_folder), task("push_t/dset/v1", 10).make()
    for i, episode in enumerate(found["episodes"]):
        env.reset(options={"state": arrays["simulated_states"][i, 0], "goal": arrays["goals"][i]})
        blocks = model.environment_actions(torch.as_tensor(arrays["model_actions"][i]))
        np.testing.assert_allclose(blocks.flatten(0, 1).numpy(), arrays["environment_actions"][i], atol=1e-6)
        end = arrays["simulated_states"][i, -1]
        distances = task("push_t/dset/v1").distances(end, arrays["goals"][i])
        assert episode["distances"]["position_px"] == pytest.approx(float(distances["position_px"]))
        assert episode["success"] == bool(task("push_t/dset/v1").success(end, arrays["goals"][i]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plan.json", "plan.npz", "plan.toml", "planning.png"]


@pytest.mark.parametrize("planner", ["gd", "icem", "mppi", "latco", "random_shooting"])
def test_every_planner_plans(planner: str, model_folder: Path, tmp_path: Path, capsys: Any) -> None:
    words = f"plan --model {model_folder} planner:{planner} --transitions 700 --episodes 2 --horizon 10"
    assert main([*words.split(), "--animation", "none", "--out", str(tmp_path)]) == 0
    (found,) = strict_json(tmp_path / "plan.json")["evaluations"]
    assert found["planner"]["name"] == planner and 0 < found["transitions"] <= 700
    assert rows_of(capsys.readouterr().out)


def test_same_seed_same_plans_other_seed_other_plans(model_folder: Path, tmp_path: Path) -> None:
    plans = []
    for place, seed in (("a", 0), ("b", 0), ("c", 1)):
        words = f"plan --model {model_folder} planner:cem --planner.samples 8 --planner.elites 2 --steps 2"
        words += f" --episodes 2 --horizon 10 --animation none --seed {seed} --out {tmp_path / place}"
        assert main(words.split()) == 0
        plans.append(np.load(tmp_path / place / "plan.npz")["model_actions"])
    assert (plans[0] == plans[1]).all() and (plans[0] != plans[2]).any()


def test_a_limit_on_memory_changes_no_plan(model_folder: Path, tmp_path: Path) -> None:
    plans = []
    for name, more in (("whole", []), ("pieces", ["--memory", "0.0001"])):
        words = f"plan --model {model_folder} planner:gd --steps 3 --episodes 4 --horizon 10 --animation none --out"
        assert main([*words.split(), str(tmp_path / name), *more]) == 0
        plans.append(np.load(tmp_path / name / "plan.npz")["model_actions"])
    np.testing.assert_allclose(*plans, atol=1e-5)


def test_how_a_model_is_run_is_chosen_by_two_flags(model_folder: Path) -> None:
    model = load_world_model(model_folder)
    assert wrapped(model, False, None) is model
    both = wrapped(model, True, 0.5)
    assert isinstance(both, Chunked) and both.memory == 2**29
    assert isinstance(both.dynamics, Compiled) and both.dynamics.dynamics is model


def test_ctrl_c_while_planning_gives_the_plan_so_far(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pressed = []

    def press(now: Any) -> str:
        if now.step == 3 and not pressed:
            pressed.append(now.step)
            raise KeyboardInterrupt
        return ""

    monkeypatch.setattr(progress, "EVERY", 0.0)
    monkeypatch.setattr(progress, "best_cost", press)
    words = f"demo --model {model_folder} --episodes 2 --transitions 100000 --animation none --out {tmp_path}"
    assert main(words.split()) == 130
    assert "recommended" in capsys.readouterr().out
    (found,) = strict_json(tmp_path / "results.json")["evaluations"]
    assert found["steps"] == 3 and {episode["status"] for episode in found["episodes"]} == {"INTERRUPTED"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["planning.png", "recommended.npz", "results.json"]


def test_an_error_while_planning_leaves_the_folder_as_it_was(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plan.json").write_text("old")

    def fail(*arguments: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("grasp_planner.cli.commands.plan.write_plans", fail)
    words = f"plan --model {model_folder} planner:gd --steps 1 --episodes 1 --horizon 10 --out {tmp_path}"
    assert main(words.split()) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]
    assert (tmp_path / "plan.json").read_text() == "old"


def test_demo_compares_four_planners_on_the_same_episodes(
    model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"demo --model {model_folder} --episodes 2 --transitions 4000 --seconds 1 --out {tmp_path}"
    assert main(words.split()) == 0
    captured = capsys.readouterr()
    rows = rows_of(captured.out)
    shown = ["recommended", "GRASP from 16 starts", "CEM", "GD from 32 starts"]
    assert [name for name in rows if name in shown] == shown
    assert "push_t/dset/v2, 50 steps ahead" in captured.out
    solved = sorted((rows[name][0].removesuffix(" / 2") for name in shown), reverse=True)
    (sentence,) = re.findall(r"In the simulator, [^.]*\.", " ".join(captured.out.split()))
    assert re.findall(r" (\d)(?:[,.]| of 2 episodes;)", sentence) == solved
    assert all(name in sentence for name in shown)
    names = ["cem.npz", "gd.npz", "grasp.npz", "planning.mp4", "planning.png", "recommended.npz", "results.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    found = strict_json(tmp_path / "results.json")["evaluations"]
    inner = [one["planner"].get("planner", one["planner"]) for one in found]
    assert [one["name"] for one in inner] == ["gauss_newton", "grasp", "cem", "gd"]
    assert [one["planner"]["name"] for one in found] == ["multi_start", "multi_start", "cem", "multi_start"]
    assert len({one["episodes_digest"] for one in found}) == 1 and {one["horizon"] for one in found} == {50}
    for one in found:
        assert 0 < one["transitions"] <= 4000
        assert one["success_rate"] == np.mean([episode["success"] for episode in one["episodes"]])
    (shown,) = re.findall(r"Episode (\d) is shown: .* it\.", " ".join(captured.out.split()))
    won = [[episode["success"] for episode in one["episodes"]] for one in found]
    telling = [i for others in won[1:] for i, (first, other) in enumerate(zip(won[0], others)) if first and not other]
    assert int(shown) == (telling or [0])[0]


def results(**solved: str) -> list[Any]:
    """Evaluations of the recommended planner, MPPI, CEM and GD: for each a text with a 1 for each solved episode."""
    planners = {"recommended": recommended(), "mppi": MPPI(), "cem": CEM(), "gd": GD()}
    return [
        SimpleNamespace(planner=planners[name], success=np.array([one == "1" for one in text]), episodes=text)
        for name, text in solved.items()
    ]


@pytest.mark.parametrize(
    ("found", "episode"),
    [
        (results(recommended="0111", mppi="1101"), 2),
        (results(recommended="1111", mppi="1110", cem="0000"), 3),  # the second planner counts before the third
        (results(recommended="1111", mppi="1111", cem="1011"), 1),
        (results(recommended="0110", mppi="1111"), 0),
        (results(recommended="0110"), 0),
    ],
)
def test_the_demo_shows_an_episode_in_which_planners_differ(found: list[Any], episode: int) -> None:
    assert demo.episode_to_show(found) == episode


def test_the_demo_says_who_solved_the_episode_that_it_shows() -> None:
    found = results(recommended="01", mppi="00", cem="01", gd="00")
    assert demo.about_episode(1, found) == "Episode 1 is shown: recommended and CEM solved it; MPPI and GD missed it."
    assert demo.about_episode(0, found) == "Episode 0 is shown: recommended, MPPI, CEM and GD missed it."


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (
            results(mppi="10", recommended="11", gd="00"),
            "recommended wins: recommended solved 2 of 2 episodes; MPPI 1, GD 0",
        ),
        (results(mppi="01", cem="00", gd="10"), "MPPI and GD tie: MPPI solved 1 of 2 episodes; GD 1, CEM 0"),
        (results(mppi="00", gd="00"), "no planner wins: MPPI solved 0 of 2 episodes; GD 0"),
    ],
)
def test_one_sentence_names_the_winner(found: list[Any], sentence: str) -> None:
    assert who_won(found) == f"In the simulator, {sentence}."


@pytest.mark.parametrize("show", [None, 1])
def test_the_picture_shows_the_chosen_episode(
    show: int | None, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    drawn = []
    monkeypatch.setattr(demo, "episode_to_show", lambda evaluations: 2)
    monkeypatch.setattr(demo, "draw", lambda recordings, *rest: drawn.extend(recordings) or True)
    words = f"demo --model {model_folder} --episodes 3 --steps 1 --animation none --out {tmp_path}".split()
    assert main([*words, *([] if show is None else ["--show", f"{show}"])]) == 0
    episode = 2 if show is None else show
    assert f"Episode {episode} is shown" in capsys.readouterr().out
    plans = {name: np.load(tmp_path / f"{name}.npz") for name in demo.PICTURED}
    assert len(drawn) == len(plans)
    for recording, arrays in zip(drawn, plans.values(), strict=True):
        np.testing.assert_array_equal(recording.goal, arrays["goals"][episode])
        np.testing.assert_array_equal(recording.executed, arrays["simulated_states"][episode])


def test_a_deadline_is_kept(model_folder: Path, tmp_path: Path) -> None:
    words = f"plan --model {model_folder} planner:cem --seconds 0.3 --episodes 2 --horizon 10 --animation none"
    assert main([*words.split(), "--out", str(tmp_path)]) == 0
    (found,) = strict_json(tmp_path / "plan.json")["evaluations"]
    assert found["seconds"] < 3 and {episode["status"] for episode in found["episodes"]} == {"DEADLINE"}
