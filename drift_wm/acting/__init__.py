"""Acting in environments: policies, the loop that steps, evaluation, collecting, and films of it."""
