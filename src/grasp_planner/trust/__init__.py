"""How far a plan can be trusted: the trust law and the diagnosis of plans."""
