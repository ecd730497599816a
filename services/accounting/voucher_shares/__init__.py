"""Voucher shares: what a voucher has of each line, by which its payments can be checked.

Owns nothing: reads what redemptions and reimbursements keep as periods close. Open `service.py`.
"""
