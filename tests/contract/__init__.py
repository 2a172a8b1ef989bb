"""What every provider keeps, whichever backend is behind it: one suite for all.

The live tier runs it against the real backends, the unit tier against what they answered when
``scripts/record_contract.py`` recorded them.
"""
