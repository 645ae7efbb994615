"""Pictures from recordings and records. Nothing is planned here."""
