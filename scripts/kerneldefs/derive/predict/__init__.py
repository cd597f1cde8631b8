"""Which calls a model's config.json predicts, by formula: no engine, no torch, milliseconds.

It is written from the layers' published forms and knows nothing of what was captured, so that
predicted and observed sets check each other. A layer of another form is predicted wrongly or not at
all, and the comparison says so.
"""
