"""How close to the shortest night do policies come? A discrete-event simulation of hosts, and of those who decide.

``python -m benchmarks.scheduling`` prints the tables and writes ``benchmarks/RESULTS.md`` and ``benchmarks/scheduling.svg``.
"""
