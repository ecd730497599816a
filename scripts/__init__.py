"""Commands of the build: each is `python -m scripts.<name>`."""
