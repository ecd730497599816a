"""Programme reports: what the office and finance look at, and give to auditors.

Owns nothing: reads what programmes, vouchers and redemptions keep. Open `endpoints.py`.
"""
