"""A fine-tuning by several processes of this machine: one for each GPU, or, on CPUs, as many as one likes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from pathlib import Path

import torch
from torch import multiprocessing

from activefreq.data.samples import SampleSource
from activefreq.errors import ActiveFreqError, InputError
from activefreq.models.checkpoint import Checkpoint
from activefreq.training.distributed import join, leave
from activefreq.training.finetune import FinetuneConfig, FinetuneProgress, FinetuneResult, finetune

POLL_SECONDS = 0.1

Message = FinetuneProgress | FinetuneResult | Exception


def finetune_together(
    checkpoint: Checkpoint,
    samples: SampleSource,
    config: FinetuneConfig = FinetuneConfig(),
    *,
    devices: Sequence[str],
    publish: Path | None = None,
    listener: Callable[[FinetuneProgress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> FinetuneResult:
    """As `finetune`, each batch divided among processes; one of them validates for all to see, and publishes.

    Args:
        devices: One for each process, all CUDA devices (NCCL) or all "cpu" (gloo).

    The listener and the question whether to stop are called in this process; the processes end when this one does.

    Raises:
        InputError: A sample's files cannot be used, or there are more processes than images in a batch.
        ActiveFreqError: The loss stopped being a number, or a process died.
        OSError: The weights cannot be written.
    """
    if len(devices) > config.batch_size:
        raise InputError(f"a batch of {config.batch_size} is too small for {len(devices)} processes")
    context = multiprocessing.get_context("spawn")
    messages: SimpleQueue[Message] = context.SimpleQueue()
    stopping = context.Event()
    result: FinetuneResult | None = None
    failure: Exception | None = None

    def listen() -> None:
        nonlocal result, failure
        while not messages.empty():
            message = messages.get()
            if isinstance(message, FinetuneResult):
                result = message
            elif isinstance(message, Exception):
                failure = failure or message
            elif listener is not None:
                listener(message)
        if stop is not None and stop():
            stopping.set()

    with tempfile.TemporaryDirectory() as folder:
        processes = multiprocessing.start_processes(
            _work,
            (list(devices), Path(folder), checkpoint, samples, config, publish, messages, stopping),
            nprocs=len(devices),
            join=False,
            start_method="spawn",
        )
        try:
            while not processes.join(timeout=POLL_SECONDS):
                listen()
        except (multiprocessing.ProcessRaisedException, multiprocessing.ProcessExitedException) as error:
            listen()
            raise failure or ActiveFreqError(f"a process of the training failed: {error}") from error
        finally:
            for process in processes.processes:
                process.kill()
                process.join()
    listen()
    if result is None:
        raise ActiveFreqError("the processes of the training were interrupted")
    return result


def _work(
    rank: int,
    devices: Sequence[str],
    folder: Path,
    checkpoint: Checkpoint,
    samples: SampleSource,
    config: FinetuneConfig,
    publish: Path | None,
    messages: SimpleQueue[Message],
    stopping: Event,
) -> None:
    """What each process does; the first one tells the others' parent how it goes."""
    first = rank == 0
    join(torch.device(devices[rank]), init_method=f"file://{folder}/meeting", rank=rank, world_size=len(devices))
    try:
        result = finetune(
            checkpoint,
            samples,
            config,
            publish=publish if first else None,
            device=devices[rank],
            listener=messages.put if first else None,
            stop=stopping.is_set,
        )
    except (ActiveFreqError, OSError) as error:
        messages.put(error)
        raise
    if first:
        messages.put(result)
    leave()
