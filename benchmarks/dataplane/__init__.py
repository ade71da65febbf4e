"""Benchmarks of the governed data plane: `python -m benchmarks.dataplane`.

Each `bench_<name>.py` beside this file is one set of rows, found by its name: it has
`def run() -> list[Result]`.
"""
