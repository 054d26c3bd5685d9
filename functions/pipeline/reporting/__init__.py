"""What people read about a run: report, page, costs and messages."""
