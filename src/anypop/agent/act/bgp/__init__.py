"""The speaker: what BIRD shall announce (`config`, pure), and the daemon itself (`bird`). It announces; it never
forwards.
"""
