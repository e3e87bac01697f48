"""AcSelect: which mislabeled region is clicked next (paper section 3.1)."""
