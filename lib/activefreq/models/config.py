"""What a checkpoint says beside its weights: the shape of its network, and how a session uses it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from activefreq.errors import InputError
from activefreq.models.backbones import BackboneConfig
from activefreq.models.refiner import RefinerConfig


@dataclass(frozen=True)
class ModelConfig:
    """Everything that shapes the network.

    Attributes:
        backbone: The coarse network by name and options.
        refiner: The refine layer.
        input_size: Side in pixels of the square to which a target crop is resized.
        refine_size: Side in pixels of the square to which a focus crop is resized.
        disk_radius: Radius of a click's disk, in pixels of these squares.

    Raises:
        InputError: A size or the radius is not above 0.
    """

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    refiner: RefinerConfig = field(default_factory=RefinerConfig)
    input_size: int = 256
    refine_size: int = 256
    disk_radius: float = 5.0

    def __post_init__(self) -> None:
        for name in ("input_size", "refine_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)!r}")
        if not 0 < self.disk_radius < math.inf:
            raise InputError(f"disk_radius must be a number above 0, not {self.disk_radius!r}")


MIRRORS = (1, 2, 4)
"""In how many mirror images a session can ask."""


@dataclass(frozen=True)
class SessionConfig:
    """How crops are taken and merged.

    Attributes:
        target_expansion: Growth of the object's box for the coarse pass.
        target_minimum: Least side of a target crop in pixels of the image.
        closer_look: A click on an empty mask is answered a second time, in the target crop of the first answer, where
            that has less than this share of the image's pixels; 0 for never.
        focus_expansion: Growth of the changed component's box for the refine pass.
        focus_share: Half the side of the least focus window, as a share of the object's longer side.
        refine: False leaves the refine pass out.
        local_after: After this many clicks, pixels outside the focus box keep their probability.
        one_way_after: After this many clicks, a further one changes labels only its own way: a positive one takes
            nothing away from the mask, a negative one adds nothing. The first clicks may: one alone says little of an
            object.
        mirrors: In how many mirror images both passes are asked, 1, 2 or 4; their answers are averaged. A click takes
            about so many times as long.

    Raises:
        InputError: There cannot be so many mirror images.
    """

    target_expansion: float = 1.7
    target_minimum: float = 64.0
    closer_look: float = 0.25
    focus_expansion: float = 1.4
    focus_share: float = 0.2
    refine: bool = True
    local_after: int = 10
    one_way_after: int = 2
    mirrors: int = 1

    def __post_init__(self) -> None:
        if self.mirrors not in MIRRORS:
            raise InputError(f"mirrors must be 1, 2 or 4, not {self.mirrors!r}")

    def with_mirrors(self, mirrors: int | None) -> SessionConfig:
        """The same with another number of mirror images; None leaves it. Raises `InputError`."""
        return self if mirrors is None else replace(self, mirrors=mirrors)
