"""The resonance search: from two event tables to answers."""
