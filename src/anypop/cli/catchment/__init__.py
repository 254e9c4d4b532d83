"""`anypop catchment`, `doctor`, `why --model` and the preview of `announce`: the words, tables and options of the
model's answers.

The thinking is `anypop.advice`'s, in this process. Modules: `graph_options` (which graph), `inputs` and `observations`
(what control and files say), `commands`, `why`, `doctor` with `report`, `vantages`, `preview`; `tables` and
`picture` (how it looks).
"""
