"""Particle Data Group codes of particles that detectors treat apart; kernels compile them in (`bumpfit.compiled`)."""

ELECTRON, MUON, PHOTON = 11, 13, 22
