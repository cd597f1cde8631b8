"""One module per op family: an observed call -> the FlashInfer call that does the same."""
