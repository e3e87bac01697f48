import dataclasses

import numpy as np
import pytest
from fakes import FakeBackend, FakeSource

from activefreq.acselect.policies import AcSelectConfig, make_policy
from activefreq.acselect.scores import ScoreConfig
from activefreq.clicks import Click
from activefreq.errors import InputError
from activefreq.evaluation.rollout import Answering, Job, OpenImage, RolloutConfig, roll_out
from activefreq.overlap import intersection_over_union


def open_image(backend, index=0):
    sample = FakeSource()[index]
    return OpenImage(backend, sample)


def timeless(result):
    return dataclasses.replace(result, clicks=tuple(dataclasses.replace(click, seconds=0.0) for click in result.clicks))


def one_by_one(policy, sample, backend, max_clicks):
    """The plain loop that the batched rollout must agree with: IoU after each click."""
    image = backend.open(sample.name, sample.image)
    state = backend.start(image, automatic=False)
    clicked = np.zeros(sample.target.shape, bool)
    course = []
    for _ in range(max_clicks):
        click = policy.next_click(state.probability, state.mask, sample.target, clicked)
        if click is None:
            break
        clicked[click.y, click.x] = True
        state = backend.answer([(image, state, click)])[0]
        course.append((click, intersection_over_union(state.mask, sample.target)))
    return course


@pytest.mark.parametrize("batch_size", [1, 3, 50])
def test_equals_a_plain_loop_whatever_the_batch(batch_size):
    source = FakeSource()
    names = ["standard", "area", "acselect", "entropy"]
    backend = FakeBackend()
    jobs = [
        Job(name, image, make_policy(name))
        for image in (open_image(backend, index) for index in range(source.count))
        for name in names
    ]
    results = list(roll_out(backend, jobs, RolloutConfig(max_clicks=12), batch_size=batch_size))
    assert len(results) == len(jobs)
    assert max(backend.batches) <= batch_size
    for result in results:
        sample = source[int(result.name[-2:])]
        expected = one_by_one(make_policy(result.key), sample, FakeBackend(), 12)
        assert [(Click(c.y, c.x, c.positive), c.iou) for c in result.clicks] == expected
        assert result.group == sample.group
        assert result.start_iou is None


def test_stops_at_the_iou_and_at_the_most_clicks():
    backend = FakeBackend(radius=4)

    def ious(**options):
        job = Job("a", open_image(backend, 4), make_policy("area"))
        return next(roll_out(backend, [job], RolloutConfig(**options))).ious

    full = ious(max_clicks=9)
    assert full[:5] == sorted(set(full[:5]))
    assert ious(max_clicks=9, stop_iou=full[3]) == full[:4]
    assert ious(max_clicks=9, stop_iou=np.nextafter(full[3], 1)) == full[:5]
    assert ious(max_clicks=2) == full[:2]


def test_same_questions_are_asked_once():
    backend = FakeBackend()
    image = open_image(backend)
    jobs = [Job(str(number), image, make_policy("standard")) for number in range(5)]
    results = [timeless(result) for result in roll_out(backend, jobs, RolloutConfig(max_clicks=4), batch_size=5)]
    assert backend.batches == [1, 1, 1, 1]
    assert len({result.clicks for result in results}) == 1


def test_an_oracles_trials_are_not_asked_again():
    backend = FakeBackend()
    asked = []
    answer = backend.answer

    def counting(requests):
        asked.extend((*state.clicks, click) for _, state, click in requests)
        return answer(requests)

    backend.answer = counting
    job = Job("oracle", open_image(backend), make_policy("oracle"))
    result = next(roll_out(backend, [job], RolloutConfig(max_clicks=5), batch_size=4))
    assert len(asked) == len(set(asked)) > len(result.clicks)


def test_forgetting_answers_changes_nothing(monkeypatch):
    def results():
        backend = FakeBackend()
        image = open_image(backend, 3)
        jobs = [Job(name, image, make_policy(name)) for name in ("oracle", "area", "standard")]
        return {
            result.key: timeless(result)
            for result in roll_out(backend, jobs, RolloutConfig(max_clicks=6), batch_size=2)
        }

    remembered = results()
    monkeypatch.setattr(OpenImage, "_REMEMBERED_BYTES", 0)
    assert results() == remembered


def test_the_time_of_a_batch_is_shared():
    backend = FakeBackend()
    images = [open_image(backend, index) for index in range(3)]
    states = [backend.start(image.prepared, automatic=False) for image in images]
    requests = [(image, state, Click(9, 9)) for image, state in zip(images, states, strict=True)]
    answers = Answering(backend, batch_size=3).answer(requests)
    assert len({seconds for _, seconds in answers}) == 1
    assert answers[0][1] > 0


def test_an_automatic_mask_is_scored_before_the_first_click():
    backend = FakeBackend()
    config = RolloutConfig(max_clicks=5, automatic_start=True)
    result = next(roll_out(backend, [Job("a", open_image(backend), make_policy("standard"))], config))
    # The fake's automatic mask is perfect: nothing is left to click.
    assert (result.start_iou, result.start_nsd, result.clicks) == (1.0, 1.0, ())


def test_surface_dice_is_measured_where_asked_and_at_the_end():
    backend = FakeBackend()
    config = RolloutConfig(max_clicks=6, nsd_at=(1, 3, 10))
    result = next(roll_out(backend, [Job("a", open_image(backend), make_policy("area"))], config))
    measured = [number for number, click in enumerate(result.clicks, start=1) if click.nsd is not None]
    assert measured == [1, 3, len(result.clicks)]


class Uneven(FakeBackend):
    """Finds the object at the first click, and two pixels more, of which it is not equally sure."""

    def _answer(self, state, click):
        probability = (np.arange(48) < 3) & (np.arange(40) < 3)[:, None]
        probability = probability.astype(np.float32)
        probability[20, 30:32] = (0.6, 0.9)
        return dataclasses.replace(state, clicks=(*state.clicks, click), probability=probability)


def test_what_was_clicked_is_written_down():
    target = (np.arange(48) < 3) & (np.arange(40) < 3)[:, None]
    image = OpenImage(Uneven(), dataclasses.replace(FakeSource()[0], target=target))
    result = next(roll_out(Uneven(), [Job("a", image, make_policy("standard"))], RolloutConfig(max_clicks=2)))
    first, second = result.clicks
    assert (first.positive, first.area, first.mpe, first.ape, first.rgu) == (True, 9, 0.0, 0.0, 0.0)
    # Entropies of 0.6 and of 0.9 by hand, in nats; the pixel of the first is 0.15 from the mean probability, 0.75.
    assert (second.positive, second.area) == (False, 2)
    assert second.mpe == pytest.approx(0.6730117, rel=1e-5)
    assert second.ape == pytest.approx((0.6730117 + 0.3250830) / 2, rel=1e-5)
    assert second.rgu == pytest.approx(0.15, rel=1e-5)
    assert second.score == pytest.approx((0.6730117 + 0.4990473 + 0.85) * 2, rel=1e-5)


def test_the_score_is_that_of_the_options():
    backend = FakeBackend()

    def clicks(name, acselect=None, score=ScoreConfig(), **options):
        job = Job("a", open_image(backend), make_policy(name, **options), acselect)
        return next(roll_out(backend, [job], RolloutConfig(max_clicks=3, score=score))).clicks

    paper = AcSelectConfig(size="none")
    for click in clicks("acselect", paper, size="none"):
        assert click.score == pytest.approx(click.mpe + click.ape + 1 - click.rgu)
    for click in clicks("area", score=ScoreConfig(beta=0, gamma=0, size="none")):
        assert click.score == click.mpe


@pytest.mark.parametrize(("connectivity", "area"), [(4, 9), (8, 18)])
def test_the_region_is_that_of_the_options(connectivity, area):
    """Two squares that touch at a corner."""
    sample = FakeSource()[0]
    target = np.zeros_like(sample.target)
    target[5:8, 5:8] = target[8:11, 8:11] = True
    backend = FakeBackend()
    image = OpenImage(backend, dataclasses.replace(sample, target=target))
    config = AcSelectConfig(connectivity=connectivity)
    job = Job("a", image, make_policy("acselect", connectivity=connectivity), config)
    result = next(roll_out(backend, [job], RolloutConfig(max_clicks=1)))
    assert result.clicks[0].area == area


class Slip:
    """Clicks where nothing is wrong."""

    def next_click(self, probability, prediction, target, clicked, *, trial=None):
        return Click(0, 0, positive=True)


def test_a_click_on_what_was_right_has_no_region():
    backend = FakeBackend()
    result = next(roll_out(backend, [Job("a", open_image(backend), Slip())], RolloutConfig(max_clicks=1)))
    assert (result.clicks[0].area, result.clicks[0].score) == (None, None)


def test_a_label_of_another_size_is_refused():
    sample = FakeSource()[0]
    with pytest.raises(InputError, match=r"label has shape \(40, 47\)"):
        OpenImage(FakeBackend(), dataclasses.replace(sample, target=sample.target[:, :-1]))


def test_an_empty_label_is_refused():
    sample = FakeSource()[0]
    with pytest.raises(InputError, match="label is empty"):
        OpenImage(FakeBackend(), dataclasses.replace(sample, target=np.zeros_like(sample.target)))


def test_at_least_one_click():
    with pytest.raises(InputError, match="at least 1, not 0"):
        RolloutConfig(max_clicks=0)


@pytest.mark.parametrize("tolerance", [-1, float("nan"), float("inf")])
def test_a_tolerance_that_is_none_is_named(tolerance):
    with pytest.raises(InputError, match="tolerance of surface Dice must be at least 0 pixels"):
        RolloutConfig(nsd_tolerance=tolerance)
