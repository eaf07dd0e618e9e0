"""Multi-policy language-model agents: a whole front behind ``policy(weights)``."""
