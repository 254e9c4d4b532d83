"""Real faults on a real lab, drawn from a seed: what is broken, what clients saw meanwhile, and whether everything is
as declared again.

`faults` breaks one thing and says how it is made whole by whoever broke it (a cut is mended, a stopped program goes
on); `clients` asks from every vantage all the time; `whole` says what is not as declared; `story` draws the faults and
tells what came of each. `python -m tests.lab.chaos` (script/chaos) runs a story on a lab of its own; tests run a short
one on theirs. It touches only what belongs to the platform that it is given.
"""
