"""Tests of the asynchronous layer; those of the synchronous one are generated from them (make sync)."""
