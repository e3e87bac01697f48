"""Adapters between MONAI Label and the `activefreq` library. No algorithm lives here."""
