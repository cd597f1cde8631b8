"""A capture on real GPUs: SGLang's own Engine, watched in every scheduler process."""
