"""The viewer of recorded episodes in a report: what its data hold, and that it works in a browser."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from report_records import WINS, all_records, episode_records, renamed, section, shown_records

from grasp_planner.bench.records import PlannedMoments, Record, ShownRecord
from grasp_planner.figures.episode_viewer import viewer_content
from grasp_planner.figures.report_page import Section, report_page

BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), "")
DRIVER = Path(__file__).parent / "page_driver.js"
LOOKED_AT = Path(__file__).parent / "viewer_pictures"  # pictures that were looked at and found right
ALIKE = 0.005  # share of pixels that may differ


def test_recordings_of_long_episodes_stay_small() -> None:
    record = shown_records()[2]
    long = np.linspace(0, 1, 1001)[:, None] * (np.array(record.goal) - record.executed[0]) + record.executed[0]
    rollouts = np.tile(long[1:], (36, 1, 1)) + np.random.default_rng(0).normal(size=(36, 1000, 7))
    moments = PlannedMoments(tuple(range(36)), rollouts.tolist(), rollouts[:, :-1].tolist(), (0.123456,) * 36)
    content = viewer_content([replace(record, frameskip=1, executed=long.tolist(), recording=moments)])
    assert content is not None and len(json.dumps(content)) < 60_000
    (plan,) = content["groups"][0]["plans"]
    assert plan["steps"][0] == 0 and plan["steps"][-1] == 1000 and plan["recording"]["at"][-1] == 1000
    np.testing.assert_allclose(plan["executed"][-1], np.array(record.goal)[:5], atol=0.1)


def test_an_episode_of_one_model_step_has_no_virtual_states() -> None:
    record = shown_records()[2]
    moments = PlannedMoments((0,), [[record.executed[-1]]], [[]], (1.0,))
    content = viewer_content([replace(record, recording=moments)])
    assert content is not None and content["groups"][0]["plans"][0]["recording"]["states"] == [[]]


def test_the_last_rollout_in_the_model_is_in_view() -> None:
    gd = shown_records()[1]
    assert gd.recording is not None
    start = gd.executed[0]
    away = (np.array(start) + [0, 200, 0, 200, 0, 0, 0]).tolist()
    bottoms = []
    for end in (start, away):
        recording = replace(gd.recording, rollouts=[[start] * 4, [start] * 4, [end] * 4])
        content = viewer_content([replace(gd, executed=[start] * 21, goal=start, recording=recording)])
        assert content is not None
        bottoms.append(content["groups"][0]["view"][2])  # y points down
    assert bottoms[0] < away[1] < bottoms[1]


def test_records_without_a_picture_have_no_viewer() -> None:
    undrawn = [replace(one, env="ball_nav_hook_300/random_state/v1") for one in shown_records()]
    for records in ([], episode_records(), undrawn):
        assert viewer_content(records) is None
        assert "<canvas" not in report_page([section(records)])


def test_a_plan_that_is_not_decoded_has_an_execution_and_no_recording() -> None:
    cem, *_ = shown_records()
    content = viewer_content([replace(cem, recording=None)])
    assert content is not None
    (plan,) = content["groups"][0]["plans"]
    assert plan["recording"] is None and len(plan["executed"]) == 21 and plan["reason"] == "failed"
    assert [(one["model"], one["missed"]) for one in plan["distances"]] == [
        *(("not known", [True, False]), ("not known", [False, False]))
    ]


LONG_NAMES = (
    *("recommended", "GD, 16 starts", "GRASP, then GD", "GRASP, the settings of the paper", "GaussNewton"),
    "MultiStart of LatCo with restarts, kicks of the noise, and a race of 24 starts",
)


def with_long_names() -> list[Record]:
    """Return records of six planners with long names."""
    made: list[Record] = []
    for new, old in zip(LONG_NAMES, list(WINS) * 2, strict=True):
        made += renamed([one for one in all_records() if one.work.arm == old], old, new)
    return made


def undecoded() -> list[ShownRecord]:
    """Return the record of a planner, iCEM, whose plans are not decoded."""
    return [replace(one, work=replace(one.work, arm="iCEM"), recording=None) for one in shown_records()[:1]]


def opened(page: Path, size: str = "1200,900") -> dict[str, str]:
    """Open a page in a browser without network, and return the data attributes of the root element."""
    words = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    words += [f"--user-data-dir={page.parent / 'profile'}", f"--window-size={size}", "--virtual-time-budget=3000"]
    words += ["--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom", page.as_uri()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600)
    (html,) = re.findall(r"<html[^>]*>", done.stdout)
    return {name: unescape(value) for name, value in re.findall(r'data-([\w-]+)="([^"]*)"', html)}


def decoded(address: str) -> np.ndarray:
    """Return the picture (height, width, 3) in a data address."""
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as picture:
        return np.asarray(picture.convert("RGB"))


def differs(picture: np.ndarray, other: np.ndarray) -> float:
    """Return the share of pixels whose colours differ clearly. Browsers differ a little at the edges of shapes."""
    return float((np.abs(picture.astype(int) - other).max(axis=2) > 40).mean())


@pytest.mark.skipif(not BROWSER, reason="no chromium here")
@pytest.mark.parametrize("size", ["1200,900", "500,900"])
def test_it_works_in_a_browser(tmp_path: Path, size: str) -> None:
    page = tmp_path / "report.html"
    driver = f"<script>{DRIVER.read_text(encoding='utf-8')}</script>"
    sections = [section([*all_records(), *undecoded()]), Section("long-names", "Long", "", "", with_long_names())]
    page.write_text(report_page(sections).replace("</body>", f"{driver}</body>"), encoding="utf-8")
    said = opened(page, size)
    assert "fault" not in said and said["ready"] == said["done"] == "yes", said
    assert said["before"] == "execution,10,20,GRASP"
    assert said["solved"].startswith("GRASP solved the episode. The position is 0 px")
    assert said["planning"] == "planning,5,planner step 5 of 10, best cost 2"
    assert said["execution"] == "execution,7,environment step 7 of 20"
    assert said["switched"] == "planningtruefalse" and said["play"] == "Pause" and said["played"] == "true"
    missed = "The position is 113 px from the goal, and a success needs less than 20 px."
    assert said["cem"].startswith(f"CEM failed: the model was wrong. {missed} Under the model, the plan reaches")
    assert said["gd"].startswith(f"GD failed: the search failed. {missed} Under the model, the plan does not reach")
    assert said["missed"] == "113 px,113 px"
    assert said["undecoded"] == "execution,0,true,environment step 0 of 20"
    assert said["icem"].startswith(f"iCEM failed. {missed} Whether the search failed or the model was wrong")
    assert set(said["themes"].split(",")) == {"light", "dark"} and json.loads(said["faults"]) == []
    assert int(said["hints"]) >= 1 or size != "500,900"
    pictures = {name: decoded(address) for name, address in json.loads(said["pictures"]).items()}
    assert set(pictures) == {f"{theme} {shown}" for theme in ("light", "dark") for shown in ("planning", "execution")}
    for name, picture in pictures.items():
        others = [other for its, other in pictures.items() if its != name]
        apart = [np.abs(picture.astype(float) - other).mean() for other in others]
        assert picture.std() > 1 and min(apart) > 0.5, (name, apart)
        assert min(differs(picture, other) for other in others) > 4 * ALIKE, name
    made, known = tmp_path / "viewer.png", LOOKED_AT / f"{size.partition(',')[0]}.png"
    Image.fromarray(np.concatenate([pictures[name] for name in sorted(pictures)], axis=1)).save(made)
    with Image.open(made) as drawn, Image.open(known) as looked_at:
        share = differs(np.asarray(drawn), np.asarray(looked_at))
    assert share < ALIKE, f"{share:.1%} of the pixels differ: look at {made}; if it is right, copy it to {known}"


@pytest.mark.skipif(not BROWSER, reason="no chromium here")
def test_a_page_without_recordings_works_in_a_browser(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(report_page([section(episode_records())]), encoding="utf-8")
    assert opened(page)["ready"] == "yes"
