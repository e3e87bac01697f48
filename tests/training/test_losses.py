from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.nn import functional

from activefreq.training.losses import boundary_weight, click_weight, detail_target, dice_loss, focal_loss

LN2 = math.log(2)


def maps(*values: float) -> torch.Tensor:
    """One image of one row."""
    return torch.tensor(values, dtype=torch.float64).view(1, 1, 1, -1)


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.75])
def test_gamma_zero_without_normalization_is_weighted_cross_entropy(alpha: float) -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 1, 5, 7, dtype=torch.float64)
    target = (torch.rand(3, 1, 5, 7) > 0.6).double()
    weights = torch.where(target > 0, alpha, 1 - alpha).double()
    expected = functional.binary_cross_entropy_with_logits(logits, target, weight=weights)
    assert focal_loss(logits, target, gamma=0.0, alpha=alpha, normalize=False).item() == pytest.approx(
        expected.item(), rel=1e-12
    )
    if alpha == 0.5:
        half = functional.binary_cross_entropy_with_logits(logits, target) / 2
        assert expected.item() == pytest.approx(half.item(), rel=1e-12)


def test_hand_values() -> None:
    logits, target = maps(0.0, logit(0.9)), maps(1.0, 0.0)
    # Cross-entropies ln 2 and -ln 0.1, probabilities of the truth 0.5 and 0.1.
    plain = 0.5 * (0.5**2 * LN2 + 0.9**2 * math.log(10)) / 2
    assert focal_loss(logits, target, normalize=False).item() == pytest.approx(plain, rel=1e-9)
    # The weights 0.25 and 0.81 have the mean 0.53.
    assert focal_loss(logits, target).item() == pytest.approx(plain / 0.53, rel=1e-9)
    weighted = 0.5 * (0.5**2 * LN2 * 3 + 0.9**2 * math.log(10)) / 2 / 0.53
    assert focal_loss(logits, target, weight=maps(3.0, 1.0)).item() == pytest.approx(weighted, rel=1e-9)
    # Sums: 0.5 + 0.9 predicted, 1 true, 0.5 of both.
    assert dice_loss(logits, target).item() == pytest.approx(1 - (2 * 0.5 + 1) / (1.4 + 1 + 1), rel=1e-9)


@given(st.floats(0.01, 1.0), st.floats(0.0, 3.0))
def test_normalized_weights_do_not_care_how_hard_an_image_is(error: float, gamma: float) -> None:
    # All pixels equally wrong: whatever the error and gamma, the loss is the cross-entropy, not less.
    probability = 1 - error * 0.99
    assume((1 - probability) ** gamma > 1e-6)  # Below that an image counts as finished, see the next test.
    loss = focal_loss(maps(*[logit(probability)] * 4), maps(1, 1, 1, 1), gamma=gamma, alpha=1.0)
    assert loss.item() == pytest.approx(-math.log(probability), rel=1e-4)


def test_an_image_that_is_finished_teaches_no_more() -> None:
    # A focus of 1e-4 squared on every pixel: a hundredth of the least mean that weights are scaled up from.
    probability = 1 - 1e-4
    loss = focal_loss(maps(*[logit(probability)] * 4), maps(1, 1, 1, 1), alpha=1.0)
    assert loss.item() == pytest.approx(-math.log(probability) / 100, rel=1e-3)


def test_the_focus_is_divided_by_its_mean() -> None:
    errors = torch.tensor([0.02, 0.04, 0.08], dtype=torch.float64)
    cross_entropy = -torch.log1p(-errors)
    focus = errors**2
    by_hand = (0.5 * cross_entropy * focus / focus.mean()).mean()
    logits = torch.log((1 - errors) / errors).view(1, 1, 1, 3)
    assert focal_loss(logits, torch.ones_like(logits)).item() == pytest.approx(by_hand.item(), rel=1e-9)


def test_the_focus_has_no_gradient() -> None:
    logits = maps(0.3, -1.2).requires_grad_()
    target = maps(1.0, 0.0)
    focal_loss(logits, target).backward()
    probability = torch.sigmoid(logits.detach())
    focus = (probability - target).abs() ** 2
    expected = 0.5 * focus / focus.mean() * (probability - target) / 2
    torch.testing.assert_close(logits.grad, expected)


def test_the_loss_of_a_batch_is_the_mean_over_its_images() -> None:
    torch.manual_seed(1)
    logits = torch.randn(4, 1, 6, 6) * 3
    target = (torch.rand(4, 1, 6, 6) > 0.5).float()
    for loss in (focal_loss, dice_loss):
        single = torch.stack([loss(logits[i : i + 1], target[i : i + 1]) for i in range(4)])
        torch.testing.assert_close(loss(logits, target), single.mean())


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_certain_answers_give_numbers(sign: float) -> None:
    logits = torch.full((2, 1, 4, 4), 200.0 * sign, requires_grad=True)
    target = torch.ones(2, 1, 4, 4)
    loss = focal_loss(logits, target) + dice_loss(logits, target)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()
    if sign > 0:
        assert loss.item() == pytest.approx(0.0, abs=1e-6)


def test_an_empty_target_is_no_division_by_zero() -> None:
    nothing = torch.zeros(1, 1, 3, 3)
    assert dice_loss(torch.full((1, 1, 3, 3), -50.0), nothing).item() == pytest.approx(0.0, abs=1e-6)


def test_the_boundary_weighs_more() -> None:
    target = torch.zeros(1, 1, 1, 20)
    target[..., :10] = 1
    weight = boundary_weight(target, width=5, emphasis=1.5)[0, 0, 0]
    assert weight.tolist() == [1.0] * 8 + [2.5] * 4 + [1.0] * 8
    assert boundary_weight(torch.ones(1, 1, 4, 4)).unique().tolist() == [1.0]


def test_details_are_what_shrinking_loses() -> None:
    target = torch.zeros(1, 1, 64, 64)
    target[..., 8:40, 8:40] = 1
    target[..., 50, 50] = 1
    detail = detail_target(target)[0, 0]
    assert detail[49:52, 49:52].all()
    assert not detail[16:32, 16:32].any()
    assert not detail[56:, :].any()
    assert not detail_target(torch.zeros(1, 1, 64, 64)).any()
    assert not detail_target(torch.ones(1, 1, 64, 64)).any()


def test_the_weight_around_a_click_falls_off_as_it_is_told() -> None:
    places = torch.tensor([[20.0, 12.0], [3.0, 40.0], [20.0, 12.0]])
    weights = click_weight(places, 48, emphasis=torch.tensor([3.0, 1.0, 0.0]), reach=8.0)
    assert weights.shape == (3, 1, 48, 48)
    assert weights[0, 0, 20, 12].item() == pytest.approx(4.0)
    for y, x in ((28, 12), (12, 12), (20, 4), (20, 20)):
        assert weights[0, 0, y, x].item() == pytest.approx(1 + 3 / math.e, rel=1e-6)
    assert weights[0, 0, 47, 47].item() == pytest.approx(1.0, abs=1e-6)
    assert weights[1, 0, 3, 40].item() == pytest.approx(2.0)
    assert weights[1, 0, 3, 32].item() == pytest.approx(1 + 1 / math.e, rel=1e-6)
    assert (weights[2] == 1).all()
