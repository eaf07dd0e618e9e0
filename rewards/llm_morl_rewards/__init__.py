"""Reward functions for language-model tasks: numpy and scipy only, no torch, no gymnasium."""

from llm_morl_rewards.base import Problem, RewardError, RewardFunction, RewardVector, reward

__all__ = ["Problem", "RewardError", "RewardFunction", "RewardVector", "reward"]
