"""What people ask before they act: where every network would land, what a change moves, what mends it and in which
order.

For every face alike. In: a graph of the Internet (`graph`), what we announce (rows of control as plain arguments,
`known`, or a plan file, `plans`), rules (`what_if`). Out: predictions (`question`), differences (`preview`), repairs
(`proposals`) and the waves in which one is made (`waves`), as values and as plain data (`answers`). It asks no control,
prints nothing, and reads no files but a graph's. Most of it imports numpy: whoever must stay small asks it in another
process.
"""
