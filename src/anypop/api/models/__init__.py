"""The JSON of every request and answer, as Pydantic models: what `docs/openapi.json` is made of.

Requests are read through them. Answers are plain data made by `shapes` and the endpoints, since a list of ten thousand
instances is not validated twice; the contract tests hold each answer that they get to its model. Nothing here decides.
"""
