"""Who sees what: delegations as they are declared, compiled to row-level security, and proven."""
