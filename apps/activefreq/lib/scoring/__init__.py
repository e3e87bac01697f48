"""Scoring methods by name."""

from __future__ import annotations

from monailabel.interfaces.tasks.scoring import ScoringMethod

from lib.active_store import ActiveStores
from lib.scoring.acselect import AcSelectScoring
from lib.served_model import ServedModel


def make_scoring_methods(model: ServedModel, stores: ActiveStores, *, share: float) -> dict[str, ScoringMethod]:
    return {"acselect": AcSelectScoring(model, stores, share=share)}
