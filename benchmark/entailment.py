"""The embedded task: does one quantified sentence entail another?

Each sentence bounds the number of things in a region. Let A be the set of things that the subject names, and B the set
of things for which the predicate is true. "At least two doctors own a boat" means ``|A and B| >= 2``; "every doctor
owns a boat" means ``|A and not B| <= 0``. An adjective may narrow the subject: "old doctors" are a subset of A. If two
sentences have the same A and B, premise P entails hypothesis H exactly when each bound of H follows from a bound of P:

- a lower bound follows from a lower bound that is at least as high, on a subset of H's region;
- an upper bound follows from an upper bound that is at most as high, on a superset of H's region.

Nothing else follows, because each of the disjoint regions that A, B and the adjective form can hold any number of
things. If A or B differ, nothing follows. In this task "every doctor" does not imply that a doctor exists. Pairs whose
label depends on this convention are left out.

Pairs come in groups of four: (P1, H1) and (P2, H2) entail, (P1, H2) and (P2, H1) do not, and each pair gets its own
wording. So no sum of a score of the premise and a score of the hypothesis beats chance: a network must relate the two
sentences. If the sentences differ in subject or predicate, matching words is enough. If they have the same subject and
predicate, the network must combine quantifier, number, negation and adjective, which takes more layers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from nasbench.data.sources import SplitName

T = TypeVar("T")

N_TRAIN, N_TEST = 3_000, 600
ENTAILMENT, NOT_ENTAILMENT = 0, 1
_SEED = 2_405
_OTHER_TOPIC = 0.4
"""Share of the groups of four in which the crossed pairs differ in subject or predicate."""
_MAX_NUMBER = 5
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six")
_N_DRAWN = 200_000
"""Groups of four drawn. About one in a hundred fulfils the conditions."""

_NOUNS = (
    (("doctor", "doctors"), ("physician", "physicians")),
    (("child", "children"), ("kid", "kids")),
    (("sailor", "sailors"),),
    (("teacher", "teachers"),),
    (("farmer", "farmers"),),
    (("lawyer", "lawyers"), ("attorney", "attorneys")),
    (("student", "students"), ("pupil", "pupils")),
    (("soldier", "soldiers"),),
)
_ADJECTIVES = (("young",), ("tall",), ("happy", "glad"), ("tired", "weary"), ("rich", "wealthy"), ("clever", "smart"))
_PREDICATES = (
    ("a boat", (("owns", "own"), ("possesses", "possess"))),
    ("the newspaper", (("reads", "read"),)),
    ("a lamp", (("carries", "carry"),)),
    ("music", (("likes", "like"), ("enjoys", "enjoy"))),
    ("tea", (("drinks", "drink"),)),
    ("bread", (("buys", "buy"), ("purchases", "purchase"))),
    ("the river", (("sees", "see"),)),
    ("the roof", (("repairs", "repair"), ("fixes", "fix"))),
)


@dataclass(frozen=True)
class Statement:
    """The meaning of a sentence: ``low <= |region| <= high``.

    Attributes:
        negated: whether the region holds the things for which the predicate is false.
        narrow: whether the adjective narrows the subject.
        low: lower bound; 0 for no bound.
        high: upper bound; None for no bound.
    """

    negated: bool
    narrow: bool
    low: int
    high: int | None

    def entails(self, other: Statement) -> bool:
        """Whether this statement entails the other one, by the rule in the module's docstring."""
        if self.negated != other.negated:
            return False
        low = self.low if self.narrow >= other.narrow else 0
        high = self.high if self.narrow <= other.narrow else None
        return low >= other.low and (other.high is None or (high is not None and high <= other.high))

    def entails_with_import(self, other: Statement) -> bool:
        """The same if every subject is assumed to exist: then "every doctor sings" entails "some doctor sings"."""
        says_some = self.high == 0 and (other.low, other.high) == (1, None) and self.negated != other.negated
        return says_some or self.entails(other)


@dataclass(frozen=True)
class Words:
    """The words for the subject and the predicate of a pair, with all synonyms.

    Attributes:
        nouns: (singular, plural) of each synonym.
        adjectives: synonyms of the adjective that narrows the subject.
        verbs: (third person singular, plural) of each synonym.
        complement: the words after the verb.
    """

    nouns: tuple[tuple[str, str], ...]
    adjectives: tuple[str, ...]
    verbs: tuple[tuple[str, str], ...]
    complement: str


def generate(split: SplitName) -> dict[str, list[str] | list[int]]:
    """Columns ``premise``, ``hypothesis`` and ``label``, the same at every call.

    No pair of sentences occurs twice, neither within a split nor in both.
    """
    rng = np.random.default_rng(_SEED)
    seen: dict[tuple[str, str], int] = {}
    for premise, hypothesis, same_topic in draw_pairs(N_TRAIN + N_TEST, rng):
        sentences = None
        while sentences is None or sentences in seen:
            words = _draw_words(rng)
            other = words if same_topic else _draw_other_words(words, rng)
            sentences = (say(premise, words, rng), say(hypothesis, other, rng))
        seen[sentences] = ENTAILMENT if same_topic and premise.entails(hypothesis) else NOT_ENTAILMENT
    wanted = slice(0, N_TRAIN) if split == "train" else slice(N_TRAIN, None)
    pairs, labels = list(seen)[wanted], list(seen.values())[wanted]
    return {"premise": [p for p, _ in pairs], "hypothesis": [h for _, h in pairs], "label": labels}


def statements() -> tuple[list[Statement], npt.NDArray[np.float64]]:
    """All statements and their probabilities.

    A quantifier without a number ("some") is as probable as a quantifier with a number, all its numbers together.

    Returns:
        n statements, and their probabilities ``(n,)``.
    """
    numbers = range(1, _MAX_NUMBER + 1)
    bounds: list[tuple[int, int | None, float]] = [(1, None, 1.0), (0, 0, 1.0)]
    for n in numbers:
        bounds += [(n, None, 1 / _MAX_NUMBER), (0, n, 1 / _MAX_NUMBER), (n, n, 1 / _MAX_NUMBER)]
    said = [
        (Statement(negated, narrow, low, high), p)
        for negated, narrow in product((False, True), repeat=2)
        for low, high, p in bounds
    ]
    weights = np.array([p for _, p in said])
    return [statement for statement, _ in said], weights / weights.sum()


def draw_pairs(n: int, rng: np.random.Generator) -> list[tuple[Statement, Statement, bool]]:
    """n pairs in groups of four: two pairs that entail, and their crossed pairs, which do not.

    Returns:
        Premise, hypothesis, and whether both have the same subject and predicate.
    """
    said, weights = statements()
    entails = np.array([[p.entails(h) for h in said] for p in said])
    maybe = np.array([[p.entails_with_import(h) for h in said] for p in said])
    p1, h1, p2, h2 = drawn = rng.choice(len(said), p=weights, size=(4, _N_DRAWN))
    straight = entails[p1, h1] & entails[p2, h2]
    crossed = ~maybe[p1, h2] & ~maybe[p2, h1]
    # Crossed pairs with one topic must not entail by their bounds. With two topics they cannot entail.
    pools = {True: iter(drawn.T[straight & crossed]), False: iter(drawn.T[straight])}
    pairs: list[tuple[Statement, Statement, bool]] = []
    while len(pairs) < n:
        one_topic = bool(rng.random() >= _OTHER_TOPIC)
        a, b, c, d = next(pools[one_topic])
        pairs += [(said[a], said[b], True), (said[c], said[d], True)]
        pairs += [(said[a], said[d], one_topic), (said[c], said[b], one_topic)]
    return pairs[:n]


def say(statement: Statement, words: Words, rng: np.random.Generator) -> str:
    """A sentence for a statement, in a randomly drawn wording."""
    noun, nouns = _pick(words.nouns, rng)
    does, do = (f"{verb} {words.complement}" for verb in _pick(words.verbs, rng))
    if statement.narrow:
        adjective = _pick(words.adjectives, rng)
        noun, nouns = f"{adjective} {noun}", f"{adjective} {nouns}"
    one, many = f"{noun} {does}", f"{nouns} {do}"
    if not statement.negated:
        return _pick(_ways(statement, noun, nouns, does, do, []), rng)
    lacks, lack = _pick(((f"does not {do}", f"do not {do}"), (f"fails to {do}", f"fail to {do}")), rng)
    match statement.low, statement.high:
        case 1, None:
            direct = [f"not every {one}"]
        case 0, 0:
            direct = [f"every {one}", f"all {many}", f"each {one}"]
        case low, high if low == high:
            direct = [f"all but {_NUMBERS[low]} of the {many}"]
        case _:
            direct = []
    return _pick(_ways(statement, noun, nouns, lacks, lack, direct), rng)


def _ways(statement: Statement, noun: str, nouns: str, does: str, do: str, direct: list[str]) -> list[str]:
    """All wordings of a statement: those that count its region, and the ``direct`` ones."""
    one, many = f"{noun} {does}", f"{nouns} {do}"
    match statement.low, statement.high:
        case 1, None:
            article = "an" if noun[0] in "aeiou" else "a"
            return [f"some {one}", f"at least one {one}", f"there is {article} {noun} who {does}", *direct]
        case low, None:
            n, below = _NUMBERS[low], _NUMBERS[low - 1]
            return [f"at least {n} {many}", f"{n} or more {many}", f"more than {below} {many}", *direct]
        case 0, 0:
            if direct:
                return [*direct, f"no {one}"]
            return [f"no {one}", f"not a single {one}", f"none of the {many}"]
        case 0, high:
            n, above = _NUMBERS[high or 0], _NUMBERS[(high or 0) + 1]
            body = one if high == 1 else many
            return [f"at most {n} {body}", f"no more than {n} {body}", f"fewer than {above} {many}", *direct]
        case low, _:
            body = one if low == 1 else many
            return [f"exactly {_NUMBERS[low]} {body}", f"just {_NUMBERS[low]} {body}", *direct]


def _draw_words(rng: np.random.Generator) -> Words:
    complement, verbs = _pick(_PREDICATES, rng)
    return Words(_pick(_NOUNS, rng), _pick(_ADJECTIVES, rng), verbs, complement)


def _draw_other_words(words: Words, rng: np.random.Generator) -> Words:
    """The same words with another subject or another predicate."""
    if rng.random() < 0.5:
        return replace(words, nouns=_pick([nouns for nouns in _NOUNS if nouns != words.nouns], rng))
    complement, verbs = _pick([predicate for predicate in _PREDICATES if predicate[0] != words.complement], rng)
    return replace(words, verbs=verbs, complement=complement)


def _pick(options: tuple[T, ...] | list[T], rng: np.random.Generator) -> T:
    return options[int(rng.integers(len(options)))]
