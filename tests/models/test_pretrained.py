from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from activefreq.errors import CheckpointError, InputError
from activefreq.models.backbones import BackboneConfig, make_backbone
from activefreq.models.efficientnet import EfficientNetEncoder
from activefreq.models.hrnet import HRNetEncoder
from activefreq.models.mix_transformer import MIT_B0, PAPER, MixTransformer
from activefreq.models.pretrained import load_efficientnet_lite, load_encoder, load_hrnet, load_mix_transformer
from activefreq.models.prompts import IMAGE_MEAN, IMAGE_STD

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def published() -> nn.Module:
    """transformers' SegFormer-B0 with random weights; the norms of blocks and stages with the authors' epsilon."""
    torch.manual_seed(0)
    network = transformers.SegformerForImageClassification(transformers.SegformerConfig()).eval()
    for name, module in network.named_modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            if "patch_embeddings" not in name and "sequence_reduction" not in name:
                module.eps = 1e-6  # transformers has 1e-5 everywhere
        elif isinstance(module, (nn.Linear, nn.Conv2d)):
            nn.init.normal_(module.weight, std=0.05)
            nn.init.normal_(module.bias, std=0.05)
    return network


def features(network: nn.Module, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
    with torch.no_grad():
        return network.segformer(image, output_hidden_states=True).hidden_states


def original_names(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As the authors' file names them: block1.0.attn.kv.weight, patch_embed1.proj.weight, norm1.weight."""
    renamed = {}
    for name, value in weights.items():
        parts = name.removeprefix("segformer.encoder.").split(".")
        if parts[0] == "patch_embeddings":
            new = f"patch_embed{int(parts[1]) + 1}.{ {'proj': 'proj', 'layer_norm': 'norm'}[parts[2]] }.{parts[3]}"
        elif parts[0] == "layer_norm":
            new = f"norm{int(parts[1]) + 1}.{parts[2]}"
        elif parts[0] == "block":
            rest = ".".join(parts[3:])
            if "self.value" in rest:
                continue
            if "self.key" in rest:
                value = torch.cat([value, weights[name.replace("key", "value")]])
            for old, now in (
                ("attention.self.query", "attn.q"),
                ("attention.self.key", "attn.kv"),
                ("attention.self.sr", "attn.sr"),
                ("attention.self.layer_norm", "attn.norm"),
                ("attention.output.dense", "attn.proj"),
                ("layer_norm_", "norm"),
                ("mlp.dense", "mlp.fc"),
            ):
                rest = rest.replace(old, now)
            new = f"block{int(parts[1]) + 1}.{parts[2]}.{rest}"
        else:
            new = {"classifier": "head"}[parts[0]] + "." + parts[1]
        renamed[new] = value
    return renamed


def write_safetensors(network: nn.Module, folder: Path) -> Path:
    network.save_pretrained(folder)
    return folder / "model.safetensors"


def write_bin(network: nn.Module, folder: Path) -> Path:
    from safetensors.torch import load_file

    torch.save(load_file(write_safetensors(network, folder)), folder / "pytorch_model.bin")
    return folder / "pytorch_model.bin"


def write_original(network: nn.Module, folder: Path) -> Path:
    torch.save(original_names(torch.load(write_bin(network, folder), weights_only=True)), folder / "mit_b0.pth")
    return folder / "mit_b0.pth"


def write_headless(network: nn.Module, folder: Path) -> Path:
    return write_safetensors(network.segformer, folder)


@pytest.mark.parametrize("write", [write_safetensors, write_bin, write_original, write_headless])
def test_features_are_those_of_transformers(
    published: nn.Module, tmp_path: Path, write: Callable[[nn.Module, Path], Path]
) -> None:
    encoder = MixTransformer(MIT_B0).eval()
    load_mix_transformer(encoder, write(published, tmp_path))
    image = torch.randn(2, 3, 96, 64)
    with torch.no_grad():
        mine = encoder(image, torch.rand(2, 3, 96, 64))
    for one, other in zip(mine, features(published, image), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_the_papers_encoder_does_not_fit_and_that_is_said(published: nn.Module, tmp_path: Path) -> None:
    message = r"model\.safetensors does not hold weights of this Mix Transformer: [^\n]*size mismatch[^\n]{,300}$"
    with pytest.raises(CheckpointError, match=message):
        load_mix_transformer(MixTransformer(PAPER), write_safetensors(published, tmp_path))


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_what_is_no_weights_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"hello")
    with pytest.raises(CheckpointError, match=name):
        load_mix_transformer(MixTransformer(MIT_B0), tmp_path / name)
    with pytest.raises(CheckpointError, match=name):
        load_efficientnet_lite(EfficientNetEncoder(), tmp_path / name)


def test_why_a_picture_is_no_weights_file_is_a_line(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"\x89PNG\r\n\x1a\n")
    encoders = (MixTransformer(MIT_B0), EfficientNetEncoder(), HRNetEncoder("hrnet_w18"))
    for encoder in encoders:
        with pytest.raises(CheckpointError, match=r"a\.pth does not hold .*: it is no file of weights[^\n]*$"):
            load_encoder(encoder, tmp_path / "a.pth")


def test_missing_weights_are_counted(published: nn.Module, tmp_path: Path) -> None:
    weights = torch.load(write_bin(published, tmp_path), weights_only=True)
    del weights["segformer.encoder.layer_norm.3.bias"]
    torch.save(weights, tmp_path / "less.pth")
    with pytest.raises(CheckpointError, match=r"lacks 1 weights of the encoder, stages\.3\.norm\.bias"):
        load_mix_transformer(MixTransformer(MIT_B0), tmp_path / "less.pth")


def lite_weights(encoder: EfficientNetEncoder) -> dict[str, torch.Tensor]:
    """The encoder's weights under the names of `efficientnet-lite-pytorch`."""
    expanded = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1",
                "conv_pwl": "_project_conv", "bn3": "_bn2"}  # fmt: skip
    plain = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    weights, number = {}, 0
    for stage in encoder.blocks:
        for block in stage:
            names = expanded if hasattr(block, "conv_pwl") else plain
            for name, value in block.state_dict().items():
                part, _, rest = name.partition(".")
                weights[f"_blocks.{number}.{names[part]}.{rest}"] = value
            number += 1
    weights |= {f"_conv_stem.{name}": value for name, value in encoder.conv_stem.state_dict().items()}
    return weights | {f"_bn0.{name}": value for name, value in encoder.bn1.state_dict().items()}


def test_efficientnet_lite_answers_imagenet_normalized_images_as_its_own(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source = EfficientNetEncoder().eval()
    for module in source.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    torch.save(lite_weights(source), tmp_path / "lite0.pth")
    target = EfficientNetEncoder().eval()
    load_efficientnet_lite(target, tmp_path / "lite0.pth")

    pixels = torch.rand(1, 3, 1, 1).expand(1, 3, 96, 96)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGE_MEAN, IMAGE_STD))
    with torch.no_grad():
        expected = source.bn1(source.conv_stem((pixels - 0.5) / 0.5))
        mine = target.bn1(target.conv_stem((pixels - mean) / std))
    # Padding stands for another grey in the two normalizations, so the border differs.
    torch.testing.assert_close(mine[..., :-1, :-1], expected[..., :-1, :-1], atol=1e-4, rtol=1e-4)
    for name, value in source.blocks.state_dict().items():
        assert torch.equal(target.blocks.state_dict()[name], value), name


def test_hrnet_takes_timms_weights_whole(tmp_path: Path) -> None:
    torch.manual_seed(0)
    source = timm.create_model("hrnet_w18", pretrained=False)
    save_file(source.state_dict(), tmp_path / "model.safetensors")
    encoder = HRNetEncoder("hrnet_w18")
    prompt = encoder.prompt.weight.clone()
    load_hrnet(encoder, tmp_path / "model.safetensors")
    for name, value in encoder.network.state_dict().items():
        assert torch.equal(source.state_dict()[name], value), name
    assert torch.equal(encoder.prompt.weight, prompt)


def test_another_hrnet_does_not_fit(tmp_path: Path) -> None:
    torch.save(timm.create_model("hrnet_w18_small", pretrained=False).state_dict(), tmp_path / "small.pth")
    with pytest.raises(CheckpointError, match=r"small\.pth"):
        load_hrnet(HRNetEncoder("hrnet_w18"), tmp_path / "small.pth")


@pytest.mark.parametrize("name", ["freqformer-b0", "segformer-b0"])
def test_each_network_on_mit_b0_takes_its_weights(published: nn.Module, tmp_path: Path, name: str) -> None:
    backbone = make_backbone(BackboneConfig(name))
    load_encoder(backbone.encoder, write_safetensors(published, tmp_path))
    expected = MixTransformer(MIT_B0)
    load_mix_transformer(expected, tmp_path / "model.safetensors")
    for key, value in expected.state_dict().items():
        if not key.startswith("prompt."):
            assert torch.equal(backbone.encoder.state_dict()[key], value), key


def test_an_encoder_of_no_known_kind_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="an encoder of the kind Conv2d"):
        load_encoder(nn.Conv2d(1, 1, 1), tmp_path / "any.pth")
