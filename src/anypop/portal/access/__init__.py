"""Who may be here and do what: the pages of users, credentials, invitations, limits and accounts."""
