"""What a model calls without FlashInfer: hooks on SGLang's layers, and a net for what they miss.

`Observer(recorder).install()` before a model is built, `follow(model)` once it is, `watching()`
around what is asked of it, `finish()` at the end. Both capture backends use it the same way.
"""
