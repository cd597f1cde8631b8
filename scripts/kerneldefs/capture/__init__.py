"""Serving config -> what the serving engine called: FlashInfer's dump and our own call records."""
