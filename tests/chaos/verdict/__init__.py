"""Judges the evidence of a run (`judge`) and prints the verdict (`report`)."""
