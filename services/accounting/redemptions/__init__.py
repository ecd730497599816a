"""Redemptions: what a voucher pays of a job before its period closes.

Owns how much of a voucher is pledged with a job's hold, and how much of that is redeemed by what the job was charged. One voucher at most
counts for a job so; what all of them pay in the end, by claims with their floors and caps, is settled as periods close. Never changes what
a job is charged. Open `pledges.py` first: how much, purely.
"""
