#!/usr/bin/env python
"""Sizes of the networks, and how long a click takes with each.

Examples:
    python scripts/benchmark.py --output out/benchmark
    python scripts/benchmark.py --sizes-only
    python scripts/benchmark.py --backbones freqformer segformer-b0 --threads 1 --rounds 50

A click is a whole click of a session: crops, coarse pass, refine pass and merge; the image is set already, and all
is warm. The networks take turns, so that other work on the machine meets all of them alike; weights are random. The row
"focalclick" is FocalClick's SegFormer-B0 from the parts of its authors' code (needs requirements-dev.txt). The last
columns are a network's time divided by that row's, by the clock and of the processor: the median over rounds, at 448.
Nothing here is a test.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from activefreq.command_line import command
from activefreq.errors import ActiveFreqError
from activefreq.evaluation.speed import click_seconds, matmul_gflops, measuring_seconds, policy_seconds
from activefreq.files.atomic import write_json
from activefreq.models.backbones import BACKBONES, BackboneConfig
from activefreq.models.config import ModelConfig
from activefreq.models.cost import count_parameters, model_cost
from activefreq.models.focalclick import focalclick_segformer
from activefreq.models.inference import prepare_for_inference
from activefreq.models.interactive import InteractiveModel
from activefreq.session.segmenter import resolve_device

SIDES = (256, 448)
REFERENCE = "focalclick"


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument(
        "--backbones",
        nargs="+",
        choices=sorted(BACKBONES),
        default=list(BACKBONES),
        metavar="NAME",
        help=f"which ones, of {', '.join(BACKBONES)} (default: all)",
    )
    made.add_argument("--rounds", type=int, default=30, metavar="N", help="clicks of each that are timed (default: 30)")
    made.add_argument("--threads", type=int, metavar="N", help="of PyTorch on the CPU (default: its own choice)")
    made.add_argument(
        "--devices",
        nargs="+",
        default=["cpu", *(["cuda"] if torch.cuda.is_available() else [])],
        metavar="DEVICE",
        help="cpu, cuda, cuda:N (default: the CPU, and a GPU where there is one)",
    )
    made.add_argument("--sizes-only", action="store_true", help="count parameters and arithmetic; time nothing")
    made.add_argument("--output", metavar="DIR", help="also write benchmark.json there")
    return made


@command("benchmark")
def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if options.rounds < 1 or (options.threads is not None and options.threads < 1):
        raise ActiveFreqError("--rounds and --threads must be at least 1")
    figures = run(options)
    if options.output:
        write_json(Path(options.output, "benchmark.json"), figures)
    return 0


def run(options: argparse.Namespace) -> dict[str, Any]:
    if options.threads:
        torch.set_num_threads(options.threads)
    devices = [resolve_device(name) for name in options.devices]
    models = {name: InteractiveModel(ModelConfig(BackboneConfig(name))).eval() for name in options.backbones}
    figures: dict[str, Any] = {"backbones": {name: size_of(model) for name, model in models.items()}}
    print_sizes(figures["backbones"])
    if options.sizes_only:
        return figures

    figures["machine"] = machine(devices)
    print("\n" + ", ".join(f"{name} {value}" for name, value in figures["machine"].items()))
    for device in devices:
        ready = {name: prepare_for_inference(model, device) for name, model in models.items()}
        try:
            ready[REFERENCE] = focalclick_segformer().to(device)
            figures.setdefault(REFERENCE, {})
        except ImportError as error:
            print(f"\nno row {REFERENCE}: {error}")
        time_clicks(figures, ready, device, options.rounds)
    figures["acselect"] = time_acselect(figures, options.rounds)
    return figures


def size_of(model: InteractiveModel) -> dict[str, float]:
    cost = model_cost(model)
    prepared = model_cost(prepare_for_inference(model, torch.device("cpu")))
    return {
        "params_m": round(cost.parameters / 1e6, 4),
        "backbone_params_m": round(count_parameters(model.backbone) / 1e6, 4),
        "gmac_256": round(cost.coarse.macs / 1e9, 4),
        "refine_gmac_256": round(cost.refine.macs / 1e9, 4),
        "fft_gflop_256": round((cost.coarse.fft_operations + cost.refine.fft_operations) / 1e9, 4),
        "prepared_gmac_256": round(prepared.coarse.macs / 1e9, 4),
    }


def print_sizes(backbones: dict[str, dict[str, float]]) -> None:
    print("Sizes; MACs and FFT operations at 256 x 256 (conventions: activefreq/models/cost.py)")
    print(
        f"{'backbone':<18}{'params M':>10}{'coarse GMAC':>13}{'refine GMAC':>13}{'FFT GFLOP':>11}{'prepared GMAC':>15}"
    )
    for name, size in backbones.items():
        print(
            f"{name:<18}{size['params_m']:>10.3f}{size['gmac_256']:>13.3f}{size['refine_gmac_256']:>13.3f}"
            f"{size['fft_gflop_256']:>11.3f}{size['prepared_gmac_256']:>15.3f}"
        )


def machine(devices: Sequence[torch.device]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 1),
        "torch": torch.__version__,
    }
    for device in devices:
        if device.type == "cuda":
            described[str(device)] = torch.cuda.get_device_name(device)
        for name, dtype in (("float32", torch.float32), ("bf16", torch.bfloat16)):
            described[f"{device}_matmul_{name}_gflops"] = round(matmul_gflops(dtype, device=device), 1)
    return described


def _processor() -> str:
    names = Path("/proc/cpuinfo")
    lines = names.read_text(encoding="utf-8").splitlines() if names.is_file() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def time_clicks(
    figures: dict[str, Any], models: dict[str, InteractiveModel], device: torch.device, rounds: int
) -> None:
    """Adds the times on one device to the figures, and prints them."""
    prefix = "" if device.type == "cpu" else f"{device}_"
    print(f"\nMilliseconds a click on {device}: median (quartiles) of {rounds}, and processor time")
    print(f"{'backbone':<18}" + "".join(f"{f'{side} x {side}':>34}" for side in SIDES) + f"{'of ' + REFERENCE:>16}")
    rows: dict[str, str] = {name: f"{name:<18}" for name in models}
    for side in SIDES:
        measured = click_seconds(models, side, rounds=rounds)
        for name, one in measured.items():
            times = one.times
            figure = figures[REFERENCE] if name == REFERENCE else figures["backbones"][name]
            figure.setdefault(f"{prefix}click_ms", {})[str(side)] = round(times.median, 2)
            spread = {key: round(value, 2) for key, value in dataclasses.asdict(times).items()}
            figure.setdefault(f"{prefix}click_ms_spread", {})[str(side)] = spread
            rows[name] += (
                f"{f'{times.median:.1f} ({times.low:.1f} to {times.high:.1f})':>26}{f'{times.processor:.1f}':>8}"
            )
            if REFERENCE in measured:
                quotients = one.quotient(measured[REFERENCE]), one.processor_quotient(measured[REFERENCE])
                figure.setdefault(f"{prefix}click_of_{REFERENCE}", {})[str(side)] = {
                    "clock": round(quotients[0], 3),
                    "processor": round(quotients[1], 3),
                }
                if side == SIDES[-1]:
                    rows[name] += f"{quotients[0]:>8.2f}{quotients[1]:>8.2f}"
    print("\n".join(rows.values()))


def time_acselect(figures: dict[str, Any], rounds: int) -> dict[str, Any]:
    """AcSelect's own time, and its share of a FreqFormer click on the CPU."""
    answer: dict[str, Any] = {"choice_ms": {}, "share_of_click": {}}
    print("\nAcSelect's own time")
    for side, regions in ((256, 30), (448, 60)):
        times = policy_seconds(("acselect",), side, regions, rounds=rounds)["acselect"].times
        answer["choice_ms"][str(side)] = round(times.median, 3)
        line = f"  a choice among {regions} regions of {side} x {side}: {times.median:.2f} ms"
        click = figures["backbones"].get("freqformer", {}).get("click_ms_spread", {}).get(str(side))
        if click:
            share = times.processor / click["processor"]
            answer["share_of_click"][str(side)] = round(share, 4)
            line += f", {share:.1%} of a FreqFormer click (processor time)"
        print(line)
    times = measuring_seconds(2048, 5000, rounds=min(rounds, 10)).times
    answer["measure_5000_regions_2048_ms"] = round(times.median, 1)
    print(f"  labelling and measuring 5,000 regions of 2048 x 2048: {times.median:.0f} ms")
    return answer


if __name__ == "__main__":
    sys.exit(main())
