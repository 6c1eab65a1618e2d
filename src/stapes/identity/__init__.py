"""Who exists and who may do what where: OCIDs, tags, policy statements, decisions. Pure."""
