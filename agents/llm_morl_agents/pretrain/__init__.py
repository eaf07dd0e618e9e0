"""Making the embedded policy: supervised demonstrations, first clean, then corrupted, of the built-in tasks."""
