"""What FlashInfer did not dump, derived from what was seen to be called."""
