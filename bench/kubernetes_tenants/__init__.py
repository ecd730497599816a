"""Two organizations as two namespaces of one Kubernetes cluster: each tries to read what the other's job carries, in every way there is.

A job carries a secret word in its script, its environment, its name, an argument of a program that it starts, its output and a file of its
folder; its namespace has one in a Secret. A leak is an answer that holds somebody else's word, or a token of the cluster's in a job. The
administrator asks the API server in the same way, and owners ask Caravan and look around in their jobs: a way that shows nobody's word
to anybody shows nothing about leaks.

Owns the stand with both jobs (`stand.py`), the ways to look (`ways.py`) and what is seen by them (`trying.py`). Never says what passes:
that is `bench/cases/kubernetes_tenants.py`. Open `ways.py` first.
"""
