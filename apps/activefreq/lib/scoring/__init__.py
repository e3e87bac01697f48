"""Scoring methods by name."""

from __future__ import annotations

from monailabel.interfaces.tasks.scoring import ScoringMethod


def make_scoring_methods() -> dict[str, ScoringMethod]:
    return {}
