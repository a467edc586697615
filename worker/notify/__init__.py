"""Out to people and machines: mail, a ping, and an address that says whether all is well."""
