"""Where networks land, learnt from where they were seen to land: under this announcement, and under those before it."""
