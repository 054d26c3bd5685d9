"""Training and hosting scripts from a Git repository, fetched over HTTPS at one commit."""
