"""What was used and who did what, for others to check: receipts, sums, the audit log. Pure."""
