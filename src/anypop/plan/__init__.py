"""What should be: parse, plan, check, order_for, and the price. Nothing under here does I/O, reads a clock or rolls
dice.
"""
