"""Changes of the questions of a likelihood, and of the law of toys, that fast tests must notice.

    python tests/inference/inference_mutations.py [WORD ...]

How they are made: `tests/mutation.py`. The tests named here compile nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from mutation import Mutation, main

QUESTIONS, MINIMA = "inference/test_questions.py::test_", "inference/test_minima_and_ranges.py::test_"
COUNTING, INTERVAL, CONTOUR = (QUESTIONS + n for n in (
    "counting_in_closed_form", "interval_solves_its_equation", "contour_lies_on_the_threshold"))  # fmt: skip
LIMIT, LINEAR = (QUESTIONS + n for n in (
    "upper_limit_of_a_counting_experiment", "linear_systematic_in_closed_form"))  # fmt: skip
VALLEYS = MINIMA + "a_fit_looks_into_the_other_valley"
RANGES = MINIMA + "q_tilde_compares_with_zero_whatever_the_range"
WALLS = "inference/test_walls.py::test_minimum_at_a_wall_is_the_constrained_minimum"
ENDS = MINIMA + "a_nuisance_parameter_at_its_end_is_told_by_all_answers"
SIGNS = "inference/test_other_minima.py::test_q0_is_"
FEW = MINIMA + "few_events_and_sparse_bins_are_told"
MANY = "inference/test_many_parameters.py::test_"
TOYS = "inference/test_laws.py"

# fmt: off
MUTATIONS = tuple(Mutation(*change) for change in (
    # errors
    ("error of a fit", "inference/fit.py", "errors[chosen] = np.sqrt(np.diag(result)[chosen])",
     "errors[chosen] = 0.6 * np.sqrt(np.diag(result)[chosen])", COUNTING),
    ("rise of an interval", "inference/interval.py", "return math.sqrt(chi2_quantile(self.level)) - math.sqrt(rise)",
     "return 0.6 * math.sqrt(chi2_quantile(self.level)) - math.sqrt(rise)", INTERVAL),
    ("one-sided level", "inference/interval.py", "else 2 * level - 1", "else level", INTERVAL),
    ("freedom of a contour", "inference/contour.py", "freedom=2", "freedom=1", CONTOUR),
    ("distance of an impact", "inference/impacts.py", "value + sign * distance", "value + 0.6 * sign * distance",
     LINEAR),
    ("width of a pull", "inference/impacts.py", "(value - centre) / width", "(value - centre) / (0.6 * width)",
     MINIMA + "pulls_are_in_units_of_the_constraint"),
    ("constraint", "inference/impacts.py", "else error / width", "else 0.6 * error / width", LINEAR),
    ("widths after a fit", "inference/yields.py", "widths = np.nan_to_num(errors)",
     "widths = 0.6 * np.nan_to_num(errors)", QUESTIONS + "flat_directions_are_named"),
    ("covariance after a fit", "inference/yields.py", "correlation = covariance * inverse",
     "correlation = 0.36 * covariance * inverse", LINEAR),
    ("error of CLs", "inference/limit.py", "observed.value * observed.error",
     "0.6 * observed.value * observed.error", TOYS),
    ("error of a quantile", "inference/limit.py", "math.hypot(moved, signal.error / signal.p)",
     "signal.error / signal.p", TOYS),
    # tails
    ("q0 of a deficit", "inference/discovery.py", "q0 = profile.rise(0.0, positive)", "q0 = profile.rise(0.0)",
     MINIMA + "q0_of_a_deficit_is_zero"),
    ("q0 of a deficit, one by one", "inference/profile.py", "return self.rise(0.0, self.positive())",
     "return self.rise(0.0)", SIGNS + "that_of_strengths_from_zero_on_in_data_and_toys"),
    ("q0 of one sign", "inference/profile.py", "return found if found.x[self.index] > 0 else null", "return null",
     SIGNS + "that_of_strengths_from_zero_on_in_data_and_toys"),
    ("swapped tails", "inference/limit.py", "law.tail(mu, mu, q), law.tail(mu, 0.0, q)",
     "law.tail(mu, 0.0, q), law.tail(mu, mu, q)", LIMIT),
    ("CLs without p(b)", "inference/limit.py",
     "log = min(signal.log_p - background.log_p, 0.0)\n        if signal.error is None or",
     "log = min(signal.log_p, 0.0)\n        if signal.error is None or", LIMIT),
    ("bands upside down", "inference/limit.py", "upper_tail(-sigma), self.expectation",
     "upper_tail(sigma), self.expectation", LIMIT),
    ("level of a limit", "inference/limit.py", "median = tests.limit(1 - level,",
     "median = tests.limit(1.5 - 1.5 * level,", LIMIT),
    ("both tails of t", "inference/asymptotic.py", "both = math.log(2) if", "both = 0.0 if", TOYS),
    ("q-tilde at its kink", "inference/asymptotic.py",
     "signed = (value + root**2) / (2 * root)", "signed = math.sqrt(value)", RANGES),
    ("hits of toys", "law.py", "p = (weight + 1) / (n + 1)", "p = weight / n", TOYS),
    ("least extreme toys", "toys/law.py", "else tail_of(found >= value - TIE)",
     "else tail_of(found <= value - TIE)", TOYS),
    ("trials of Gross and Vitells", "toys/look_elsewhere.py", "+ self.crossings * decay)", "+ decay)", TOYS),
    # starts
    ("other valleys", "inference/valley_search.py", "self._around(ahead.x, everywhere)", "[]", VALLEYS),
    ("first start", "inference/histfactory.py", "if not np.array_equal(self.start, self.origin):", "if False:",
     MINIMA + "a_fit_that_begins_where_nothing_is_possible_goes_back_to_its_first_start"),
    ("a lower held fit", "inference/profile.py", "if found.value < self.best.value - LOWER:",
     "if found.value < self.best.value - 1e9:", MINIMA + "a_lower_held_fit_repeats_the_free_one"),
    ("barrier of walls", "inference/newton.py", "if ended == CONVERGED and walled <= value + above:",
     "if ended == CONVERGED and walled < value - 1e9:", WALLS),
    ("saddles", "inference/newton.py", "saddle = downhill(bare, step)", "saddle = False",
     QUESTIONS + "a_saddle_is_left"),
    # comparisons
    ("degrees of freedom", "inference/asymptotic.py", "size - likelihood.free.sum())", "size)",
     MINIMA + "pulls_are_in_units_of_the_constraint"),
    ("ends untold", "likelihood.py", "ended & likelihood.free, strict=True) if end)",
     "ended & likelihood.free, strict=True) if not end)", ENDS),
    ("few events untold", "inference/asymptotic.py", "if events < FEW:", "if events > FEW:", FEW),
    ("range of zero", "inference/discovery.py", "likelihood = reaching(likelihood, name, 0.0)",
     "likelihood = likelihood", MINIMA + "q0_of_a_range_without_zero"),
    ("precision of a distant end", "inference/roots.py", "abs(found - centre) < NEAR * abs(outer - centre)",
     "abs(found - centre) < 0.0", MANY + "an_end_is_the_same_with_every_step"),
    ("steps of a limit", "inference/limit.py", "STEP * error if error > 0 else best", "best",
     MANY + "the_limit_of_a_well_known_strength_asks_for_no_fit_far_from_the_data"),
))
# fmt: on

if __name__ == "__main__":
    main(MUTATIONS, sys.argv[1:])
