"""Demonstrations of the built-in tasks, clean or with the errors that a beginner makes."""
