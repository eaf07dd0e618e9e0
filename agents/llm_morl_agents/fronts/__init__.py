"""Fronts of policies, classic and language models alike: what a policy of a front is, and its honest evaluation."""
