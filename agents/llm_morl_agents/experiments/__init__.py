"""Experiments: arms times seeds in parallel processes, statistics, plots and reports."""
