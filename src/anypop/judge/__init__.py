"""What we make of reports: verdicts, grants to withdraw, phases to show. Nothing under here does I/O, reads a clock
or rolls dice.
"""
