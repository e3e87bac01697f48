"""In which numbers a training computes: float32, or shorter ones where the processor was built for them."""

from __future__ import annotations

import torch

AUTO = "auto"
_OF_CPUS = ("amx_bf16", "avx512_bf16", "bf16")
"""What processors call their instructions for bfloat16; those without them emulate it, and are slow at it."""


def resolve_precision(name: str, device: torch.device) -> str:
    """The name "auto" as the shortest precision that a device has instructions for; any other name as it is.

    Returns:
        "float32", or "bfloat16" or "float16" for autocast. On a CPU never float16: it needs scaled losses, and gains
        nothing over bfloat16.
    """
    if name != AUTO:
        return name
    if device.type == "cuda":
        # The question is about the current GPU. Older ones emulate bfloat16.
        with torch.cuda.device(device):
            return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    capabilities = torch.cpu.get_capabilities()
    return "bfloat16" if any(capabilities.get(name) for name in _OF_CPUS) else "float32"
