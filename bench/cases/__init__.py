"""The claims that `make prove` holds, a module each. `prove.py` says what a case is; tests run their short forms."""
