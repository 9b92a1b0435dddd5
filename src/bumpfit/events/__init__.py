"""Event tables and files: reading, checking, observables, cuts, representations and data sets."""
