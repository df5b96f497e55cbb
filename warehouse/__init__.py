"""WHERE data lives and who sees it: PostgreSQL, the province registry, the ledger."""
