"""What is said: report pages and terminal pages of every application, made from records. Nothing is computed here."""
