"""The views of a task as environments: tokens, whole responses, batches of responses."""
