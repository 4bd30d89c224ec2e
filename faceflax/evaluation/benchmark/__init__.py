"""Several arms, trained with several seeds and measured on the same degraded faces: cells, tables, plots, verdicts."""
