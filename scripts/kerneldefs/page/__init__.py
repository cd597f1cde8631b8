"""A finished run -> what people look at: the report page, the index over models, the summary."""
