"""What BIRD, FRR, OpenBGPD and GoBGP print about routes that were made for it: `scenes` knows the truth, `record` has
the daemons print, and the texts lie beside, one for each daemon and form.
"""
