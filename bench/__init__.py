"""Benchmarks, one module each; `bench.harness` is their frame."""
