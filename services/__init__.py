"""The three services: `catalog` (what is sold), `broker` (where jobs run), `accounting` (what it costs)."""
