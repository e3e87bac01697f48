from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from trainees import quick_config

from activefreq.errors import InputError
from activefreq.training.config import (
    PRESETS,
    StageConfig,
    TrainingConfig,
    differences,
    from_plain,
    load_preset,
    to_plain,
)


@pytest.mark.parametrize("path", sorted(PRESETS.glob("*.yaml")), ids=lambda path: path.stem)
def test_presets_survive_yaml(path: Path, tmp_path: Path) -> None:
    config = load_preset(path.stem)
    copy = tmp_path / "copy.yaml"
    copy.write_text(yaml.safe_dump(to_plain(config)))
    assert load_preset(str(copy)) == config


@given(
    st.lists(st.builds(StageConfig, st.integers(1, 99), st.integers(32, 512)), min_size=1, max_size=3),
    st.integers(1, 64),
    st.sampled_from(["float32", "bfloat16", "float16"]),
    st.one_of(st.none(), st.just("auto")),
)
def test_any_configuration_survives_yaml(
    stages: list[StageConfig], batch_size: int, precision: str, weights: str | None
) -> None:
    config = quick_config(stages=tuple(stages), batch_size=batch_size, precision=precision, encoder_weights=weights)
    plain = yaml.safe_load(yaml.safe_dump(to_plain(config)))
    again = from_plain(TrainingConfig, plain)
    assert to_plain(again) == to_plain(config)
    assert again.stages == config.stages


def test_the_paper_preset_is_the_papers_recipe() -> None:
    config = load_preset("paper")
    assert config.steps == 120 * 2000 // 16
    assert (config.batch_size, config.model.input_size, config.stages[0].size) == (16, 448, 448)
    assert (config.optimizer.name, config.optimizer.learning_rate) == ("adam", 5e-5)
    assert config.optimizer.drop_at * config.steps == pytest.approx(50 * 2000 / 16)


def test_overrides_reach_any_depth() -> None:
    config = load_preset("cpu", {"optimizer.learning_rate": "1e-4", "stages": "[{steps: 2, size: 64}]", "seed": "7"})
    assert config.optimizer.learning_rate == 1e-4
    assert config.optimizer.encoder_factor == load_preset("cpu").optimizer.encoder_factor
    assert config.stages == (StageConfig(2, 64),)
    assert config.seed == 7


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("batchsize", "4", "batchsize"),
        ("optimizer.rate", "4", "optimizer has no setting 'rate'"),
        ("optimizer.learning_rate", "fast", "optimizer.learning_rate must be a number"),
        ("optimizer.learning_rate", "-1", "optimizer.learning_rate must be a number above 0"),
        ("optimizer.learning_rate", ".inf", "optimizer.learning_rate must be a number above 0"),
        ("optimizer.weight_decay", ".nan", "optimizer.weight_decay must be a number of at least 0"),
        ("optimizer.betas", "[1.5, 0.9]", r"optimizer.betas must be two numbers in \[0, 1\)"),
        ("optimizer.drop_at", ".nan", "optimizer.drop_at must be from 0 to 1"),
        ("losses.gamma", "-1", "losses.gamma must be a number of at least 0"),
        ("losses.detail", ".nan", "losses.detail must be a number of at least 0"),
        ("model.input_size", "0", "model.input_size must be at least 1"),
        ("model.disk_radius", "-1", "model.disk_radius must be a number above 0"),
        ("model.refiner.channels", "0", "model.refiner.channels must be at least 1"),
        ("seed", "99999999999999999999", "seed must be from 0 to"),
        ("optimizer.name", "sgd", "optimizer.name must be one of adam, adamw"),
        ("optimizer.schedule", "linear", "optimizer.schedule must be one of"),
        ("batch_size", "0", "batch_size must be at least 1"),
        ("local_steps", "0", "local_steps must be at least 1"),
        ("local_steps", "150", "validate_every must be a multiple of the 150 local_steps, not 400"),
        ("local_steps", "400", "save_every must be a multiple of the 400 local_steps, not 100"),
        ("losses.click", ".inf", "losses.click must be a number of at least 0"),
        ("losses.click_reach", "0", "losses.click_reach must be a number above 0"),
        ("losses.click_after", "-1", "losses.click_after must be at least 0"),
        ("augmentation.resized_share", "7", "augmentation.resized_share must be from 0 to 1, not 7"),
        ("augmentation.window", "[2, 1]", "augmentation.window must be a range of numbers above 0"),
        ("augmentation.rotation", "-3", "augmentation.rotation must be a number of at least 0"),
        ("augmentation.detail", "0", "augmentation.detail must be a number above 0"),
        ("batch_size", "many", "batch_size must be of type int"),
        ("batch_size.x", "1", "batch_size"),
        ("precision", "float8", "precision must be one of"),
        ("rounds", "[0.5, 0.4]", "rounds must be probabilities that sum to 1"),
        ("stages", "[]", "stages must be one or more"),
        ("stages", "[{steps: 0, size: 64}]", "steps must be at least 1"),
        ("stages", "5", "stages must be a list"),
        ("augmentation.scale", "[1, 2, 3]", "augmentation.scale must have 2 entries"),
        ("optimizer", "3", "optimizer must be a group"),
        ("seed", "{", "not YAML"),
    ],
)
def test_errors_name_the_setting(key: str, value: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_preset("cpu", {key: value})


@pytest.mark.parametrize("overrides", [{}, {"seed": "1"}])
def test_a_file_that_holds_no_settings_is_refused(tmp_path: Path, overrides: dict[str, str]) -> None:
    (tmp_path / "run.yaml").write_text("- step: 0\n")
    with pytest.raises(InputError, match=r"run\.yaml holds no settings"):
        load_preset(str(tmp_path / "run.yaml"), overrides)


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"nowhere.*cpu, paper"):
        load_preset("nowhere")


def test_sizes_follow_the_stages() -> None:
    config = quick_config()
    assert config.steps == 8
    assert [config.size_at(step) for step in range(10)] == [32] * 3 + [64] * 7


def test_differences_name_what_differs_and_leave_workers_out() -> None:
    one = quick_config()
    other = dataclasses.replace(one, seed=3, workers=5, optimizer=dataclasses.replace(one.optimizer, learning_rate=0.5))
    assert differences(to_plain(one), to_plain(other)) == ["optimizer.learning_rate", "seed"]
    assert differences(to_plain(one), to_plain(one)) == []


def test_local_steps_want_one_scale_of_the_loss() -> None:
    with pytest.raises(InputError, match="precision must be float32 or bfloat16 with local_steps, not 'float16'"):
        quick_config(local_steps=2, precision="float16")
    assert quick_config(local_steps=2, precision="bfloat16").local_steps == 2
