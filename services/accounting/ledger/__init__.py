"""The ledger: entries whose postings sum to zero, never changed, and the balances they add up to.

Owns entries, postings, balances and the chain of seals over them. Never decides what is charged (charging does) or whether there is
enough (funds does), and knows no hold: holds are rows of funds, not accounts.
Open `postings.py` first: which accounts a fact touches, and by how much.
"""
