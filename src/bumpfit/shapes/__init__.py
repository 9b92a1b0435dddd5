"""Parametric spectra: backgrounds and signals with exact bin integrals, analytic derivatives, and their fits.

shape = bumpfit.shapes.dijet(4)
result = bumpfit.shapes.fit(shape, histogram)
expected = shape.integrate(histogram.edges, result.values)
"""

from bumpfit.shapes.bernstein import Bernstein, bernstein
from bumpfit.shapes.composite import Sum, add
from bumpfit.shapes.families import SQRT_S, dijet, exponential, power_law, ua2
from bumpfit.shapes.fitting import fit, twice_nll
from bumpfit.shapes.loglinear import LogLinear, Term
from bumpfit.shapes.minimise import whiten
from bumpfit.shapes.modified_exponential import ModifiedExponential, modified_exponential
from bumpfit.shapes.shape import Shape
from bumpfit.shapes.signals import double_crystal_ball, gaussian
from bumpfit.shapes.templates import Morph, Template, morph, template
from bumpfit.shapes.tied import Tied, tie

__all__ = [
    "SQRT_S",
    "Bernstein",
    "LogLinear",
    "ModifiedExponential",
    "Morph",
    "Shape",
    "Sum",
    "Template",
    "Term",
    "Tied",
    "add",
    "bernstein",
    "dijet",
    "double_crystal_ball",
    "exponential",
    "fit",
    "gaussian",
    "modified_exponential",
    "morph",
    "power_law",
    "template",
    "tie",
    "twice_nll",
    "ua2",
    "whiten",
]
