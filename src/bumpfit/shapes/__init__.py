"""Parametric spectra: backgrounds and signals with exact bin integrals, analytic derivatives, and their fits.

shape = bumpfit.shapes.dijet(4)
result = bumpfit.shapes.fit(shape, histogram)
expected = shape.integrate(histogram.edges, result.values)
"""

from bumpfit.shapes.bands import Band, propagated_band, sampled_band
from bumpfit.shapes.batch import Batch, fit_many
from bumpfit.shapes.bias_tests import Bias, SpuriousSignal, bias, spurious_signal
from bumpfit.shapes.composite import Sum, add
from bumpfit.shapes.discrete_profiling import Envelope, envelope
from bumpfit.shapes.families import SQRT_S, dijet, exponential, power_law, ua2
from bumpfit.shapes.fitting import fit, fit_unbinned, twice_nll
from bumpfit.shapes.likelihood import SpectrumLikelihood, likelihood, unbinned_likelihood
from bumpfit.shapes.loglinear import LogLinear, Term
from bumpfit.shapes.modified_exponential import ModifiedExponential, modified_exponential
from bumpfit.shapes.order import Order, Trial, choose_order, f_test, likelihood_chi2, order_by_f_test
from bumpfit.shapes.polynomials import Bernstein, bernstein
from bumpfit.shapes.shape import Shape
from bumpfit.shapes.signals import double_crystal_ball, gaussian
from bumpfit.shapes.templates import Morph, Template, morph, template
from bumpfit.shapes.tied import Tied, tie

__all__ = [
    "SQRT_S",
    "Band",
    "Batch",
    "Bernstein",
    "Bias",
    "Envelope",
    "LogLinear",
    "ModifiedExponential",
    "Morph",
    "Order",
    "Shape",
    "SpectrumLikelihood",
    "SpuriousSignal",
    "Sum",
    "Template",
    "Term",
    "Tied",
    "Trial",
    "add",
    "bernstein",
    "bias",
    "choose_order",
    "dijet",
    "double_crystal_ball",
    "envelope",
    "exponential",
    "f_test",
    "fit",
    "fit_many",
    "fit_unbinned",
    "gaussian",
    "likelihood",
    "likelihood_chi2",
    "modified_exponential",
    "morph",
    "order_by_f_test",
    "power_law",
    "propagated_band",
    "sampled_band",
    "spurious_signal",
    "template",
    "tie",
    "twice_nll",
    "ua2",
    "unbinned_likelihood",
]
