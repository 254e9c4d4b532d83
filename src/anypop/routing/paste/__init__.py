"""What a router prints about a prefix, pasted by a person: text of Junos, BIRD, FRR or IOS in, candidates and an
explanation out. Pure.
"""
