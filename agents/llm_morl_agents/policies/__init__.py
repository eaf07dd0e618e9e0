"""Policies: any causal language model of transformers, and a fast engine for small Llama models."""
