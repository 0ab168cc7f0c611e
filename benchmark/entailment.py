"""The embedded task: does one quantified sentence entail another.

A sentence counts: it says that the number of things in a region lies between two bounds. With A the things that its
subject names and B those that its predicate holds of, "at least two doctors own a boat" is ``|A and B| >= 2`` and
"every doctor owns a boat" is ``|A and not B| <= 0``. The subject may be narrowed ("old doctors", who are some of them).
For two sentences with the same A and B, premise P entails hypothesis H exactly if each bound of H follows from P's:

- a lower bound from one at least as high, on a region within that of H;
- an upper bound from one at most as high, on a region around that of H.

Nothing else follows, as every cell of the picture of A, B and the narrow subject can hold any number of things. With
another A or another B nothing follows at all. "Every" does not say here that there is one; pairs which a reader who
thinks so would label otherwise are left out.

Pairs come in fours: (P1, H1) and (P2, H2) entail, (P1, H2) and (P2, H1) do not, and each is put into words on its own.
So no score that adds something for the premise to something for the hypothesis beats chance: a network has to relate
them. Where the two differ in what they are about, matching words is enough; where they differ in what they say of it,
quantifier, number, negation and narrowing have to be put together, which takes more layers.
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
"""Share of the fours whose two pairs are about different things."""
_MAX_NUMBER = 5
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six")
_N_DRAWN = 200_000
"""Fours drawn, of which about one in a hundred is what is looked for."""

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
    """What a sentence says: ``low <= |region| <= high``.

    Attributes:
        negated: the region is of those that the predicate does not hold of.
        narrow: the region is of the narrow subject.
        low: 0 bounds nothing.
        high: None bounds nothing.
    """

    negated: bool
    narrow: bool
    low: int
    high: int | None

    def entails(self, other: Statement) -> bool:
        """The rule of the module's text."""
        if self.negated != other.negated:
            return False
        low = self.low if self.narrow >= other.narrow else 0
        high = self.high if self.narrow <= other.narrow else None
        return low >= other.low and (other.high is None or (high is not None and high <= other.high))

    def entails_with_import(self, other: Statement) -> bool:
        """As decided by a reader to whom all subjects exist: then "every doctor sings" has it that some doctor does."""
        says_some = self.high == 0 and (other.low, other.high) == (1, None) and self.negated != other.negated
        return says_some or self.entails(other)


@dataclass(frozen=True)
class Words:
    """What the two sentences of a pair are about, with all the ways to say it.

    Attributes:
        nouns: (singular, plural) of each synonym.
        adjectives: narrow the subject.
        verbs: (third person singular, plural) of each synonym.
        complement: what follows the verb.
    """

    nouns: tuple[tuple[str, str], ...]
    adjectives: tuple[str, ...]
    verbs: tuple[tuple[str, str], ...]
    complement: str


def generate(part: SplitName) -> dict[str, list[str] | list[int]]:
    """Columns ``premise``, ``hypothesis`` and ``label``, the same at every call; no pair occurs twice in both parts."""
    rng = np.random.default_rng(_SEED)
    seen: dict[tuple[str, str], int] = {}
    for premise, hypothesis, same_topic in draw_pairs(N_TRAIN + N_TEST, rng):
        sentences = None
        while sentences is None or sentences in seen:
            words = _draw_words(rng)
            other = words if same_topic else _draw_other_words(words, rng)
            sentences = (say(premise, words, rng), say(hypothesis, other, rng))
        seen[sentences] = ENTAILMENT if same_topic and premise.entails(hypothesis) else NOT_ENTAILMENT
    wanted = slice(0, N_TRAIN) if part == "train" else slice(N_TRAIN, None)
    pairs, labels = list(seen)[wanted], list(seen.values())[wanted]
    return {"premise": [p for p, _ in pairs], "hypothesis": [h for _, h in pairs], "label": labels}


def statements() -> tuple[list[Statement], npt.NDArray[np.float64]]:
    """All that can be said, and how often: quantifiers without a number as often as each kind with one.

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
    """n pairs in fours: two that entail, and the same crossed, which do not.

    Returns:
        Premise, hypothesis and whether both are about the same A and B.
    """
    said, weights = statements()
    entails = np.array([[p.entails(h) for h in said] for p in said])
    maybe = np.array([[p.entails_with_import(h) for h in said] for p in said])
    p1, h1, p2, h2 = drawn = rng.choice(len(said), p=weights, size=(4, _N_DRAWN))
    straight = entails[p1, h1] & entails[p2, h2]
    crossed = ~maybe[p1, h2] & ~maybe[p2, h1]
    # Of a four about one topic the crossed pairs must not entail by what they say; of one about two they cannot.
    pools = {True: iter(drawn.T[straight & crossed]), False: iter(drawn.T[straight])}
    pairs: list[tuple[Statement, Statement, bool]] = []
    while len(pairs) < n:
        one_topic = bool(rng.random() >= _OTHER_TOPIC)
        a, b, c, d = next(pools[one_topic])
        pairs += [(said[a], said[b], True), (said[c], said[d], True)]
        pairs += [(said[a], said[d], one_topic), (said[c], said[b], one_topic)]
    return pairs[:n]


def say(statement: Statement, words: Words, rng: np.random.Generator) -> str:
    """One of the ways to put a statement into words."""
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
    """How to say it of the region itself, and whatever ways there are beside."""
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
    """As these, but about other things or with another predicate."""
    if rng.random() < 0.5:
        return replace(words, nouns=_pick([nouns for nouns in _NOUNS if nouns != words.nouns], rng))
    complement, verbs = _pick([predicate for predicate in _PREDICATES if predicate[0] != words.complement], rng)
    return replace(words, verbs=verbs, complement=complement)


def _pick(options: tuple[T, ...] | list[T], rng: np.random.Generator) -> T:
    return options[int(rng.integers(len(options)))]
