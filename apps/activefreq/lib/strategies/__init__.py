"""Strategies that choose the next image, by the name under which the clients ask for them."""

from __future__ import annotations

from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.tasks.activelearning.first import First
from monailabel.tasks.activelearning.random import Random


def make_strategies() -> dict[str, Strategy]:
    """OHIF's panel asks for "random" until its user chooses another."""
    return {"random": Random(), "first": First()}
