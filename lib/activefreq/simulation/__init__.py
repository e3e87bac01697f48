"""Simulated annotation of a data set: which strategy of choosing the next image pays, in images and in clicks."""
