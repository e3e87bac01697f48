import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from fakes import FakeBackend, FakeSource
from matplotlib.image import imread

from activefreq.data.samples import Sample
from activefreq.evaluation.panels import write_panels
from activefreq.evaluation.plan import Plan, PolicySpec
from activefreq.evaluation.report import curve, write_report
from activefreq.evaluation.rollout import RolloutConfig
from activefreq.evaluation.runner import evaluate
from activefreq.evaluation.summary import scorecard

PLAN = Plan(
    policies=(PolicySpec("standard", "standard"), PolicySpec("big", "acselect", {"size": "sqrt"})),
    users=("ideal", "human"),
    thresholds=(0.6, 0.7),
    rollout=RolloutConfig(max_clicks=6),
    backend={"checkpoint_sha256": "abc"},
)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    source = FakeSource(broken=(3,))
    return evaluate(PLAN, source, FakeBackend, tmp_path_factory.mktemp("run"), progress=False)


def test_the_files_of_a_report_agree(outcome, tmp_path):
    summary = write_report(PLAN, outcome, tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    assert list(summary["policies"]) == ["standard", "big", "standard (human)", "big (human)"]
    entry = summary["policies"]["big"]
    assert entry["settings"]["policy"] == "acselect"
    assert (entry["settings"]["user"], entry["settings"]["size"], entry["settings"]["max_clicks"]) == (
        "ideal",
        "sqrt",
        6,
    )
    assert entry["checkpoint_sha256"] == "abc"
    assert entry["images"] == 5
    assert {f"miou@{k}" for k in range(1, 7)} <= set(entry)
    assert summary["skipped"][1:] == [{"image": "image03", "reason": "image03.png: not an image"}]
    assert summary["settings"]["max_clicks"] == 6

    table = pd.read_csv(tmp_path / "clicks.csv")
    of_standard = table[(table["policy"] == "standard") & (table["user"] == "ideal")]
    first = of_standard[of_standard["click"] == 1]
    assert first["iou"].mean() == pytest.approx(summary["policies"]["standard"]["miou@1"])
    reached = of_standard[of_standard["iou"] >= 0.6].groupby("image")["click"].min()
    clicks = reached.reindex(of_standard["image"].unique()).fillna(6)
    assert clicks.mean() == pytest.approx(summary["policies"]["standard"]["noc@60"])
    assert table[table["policy"] == "standard"]["user"].unique().tolist() == ["ideal", "human"]

    page = (tmp_path / "noc.md").read_text()
    assert f"| standard | {summary['policies']['standard']['noc@60']:.2f} |" in page
    assert "5 images of 3 groups, at most 6 clicks; 2 skipped." in page
    assert "| big | standard |" in page
    of_groups = first.groupby("group")["iou"].mean()
    groups = summary["policies"]["standard"]["groups"]
    assert sorted(groups) == sorted(of_groups.index)
    assert sum(group["images"] for group in groups.values()) == 5
    for group, figures in groups.items():
        assert figures["miou@1"] == pytest.approx(of_groups[group])
        assert f"| {group} | {figures['images']} | {figures['noc@60']:.2f} | {figures['noc@70']:.2f} |" in page
    picture = imread(tmp_path / "curve.png")
    assert picture.std() > 0


def test_the_report_can_be_written_twice(outcome, tmp_path):
    assert write_report(PLAN, outcome, tmp_path) == write_report(PLAN, outcome, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clicks.csv", "curve.png", "noc.md", "summary.json"]


def test_the_curve_shows_the_mean_of_every_policy(outcome):
    cards = [scorecard(entrant.label, outcome.results[entrant.label], PLAN) for entrant in PLAN.entrants]
    lines = curve(cards).axes[0].get_lines()
    assert [line.get_label() for line in lines] == [card.label for card in cards]
    for line, card in zip(lines, cards, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), card.ious.mean(axis=0))
        assert list(line.get_xdata()) == [1, 2, 3, 4, 5, 6]


def test_panels_are_drawn_of_the_images_asked_for(tmp_path):
    paths = write_panels(PLAN, FakeSource(), FakeBackend(), ["image00", "image04"], tmp_path / "panels", steps=3)
    assert [path.name for path in paths] == ["image00.png", "image04.png"]
    first, second = (imread(path) for path in paths)
    # Four rows of pictures, five columns: image, target, three clicks.
    assert first.shape[1] / first.shape[0] == pytest.approx(1.9 * 5 / (2.1 * 4), rel=0.01)
    assert first.shape == second.shape
    assert (first != second).any()


@dataclasses.dataclass
class NamedAlike:
    """Two images, one pixel wide, whose names are one file name."""

    problems = ()
    names = ("a b", "a_b")

    def __getitem__(self, index):
        target = np.array([[True], [True], [False], [False]])
        return Sample(self.names[index], target.astype(np.uint8) * 200, target, "patient")


def test_panels_of_narrow_images_and_of_names_that_make_one_file_name(tmp_path):
    paths = write_panels(PLAN, NamedAlike(), FakeBackend(radius=0), NamedAlike.names, tmp_path, steps=2)
    assert [path.name for path in paths] == ["a_b.png", "a_b-2.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a_b-2.png", "a_b.png"]
