"""The catalog: who takes part, which sites there are, what is sold on them and at what prices.

Owns parties (organizations, projects, providers), sites with their tenants and accelerators, offerings and price lists. Never
places a job and never moves money: the broker and accounting follow its feed and keep copies of their own. Open `app.py` first.
"""
