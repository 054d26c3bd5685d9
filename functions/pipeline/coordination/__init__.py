"""Who may work when: the lease, task tokens, gathered uploads and executions."""
