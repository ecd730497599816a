"""Price corrections: the right price list instead of a wrong one, for a span of an offering's time; one person proposes, another approves.

Owns corrections and what they come to for each organization. An approved one is a fact of the attempts that it concerns (`approved.py`,
read by `usage`). Never makes lines or moves money: `charging` computes each job anew. Open `service.py` first, `passes.py` for the work.
"""
