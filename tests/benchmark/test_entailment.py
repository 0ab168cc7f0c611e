"""The embedded task: labels follow from logic, and simple shortcuts do not find them."""

from __future__ import annotations

import hashlib
import itertools
import re
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from nasbench.benchmark import demo_bert, entailment
from nasbench.benchmark.entailment import NOT_ENTAILMENT, Statement, generate, statements

# A model checker, independent of the task's code: it parses each sentence and evaluates it in every small world.
# A world is a number of things in each of the four regions that the narrow subject and the predicate form.
MOST = 7
REGIONS = np.array(list(itertools.product(range(MOST + 1), repeat=4)))
"""(narrow and does, narrow and does not, others who do, others who do not) in each of 4096 worlds."""
WITH_IMPORT = (REGIONS[:, 0] + REGIONS[:, 1]) > 0
"""Worlds in which the narrow subject exists, and hence the wide subject too."""

WORD_NUMBERS = {"no": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
N = "(one|two|three|four|five|six)"
SYNONYMS = (
    "physician=doctor kid=child attorney=lawyer pupil=student glad=happy weary=tired wealthy=rich smart=clever "
    "possess=own enjoy=like purchase=buy fix=repair"
)
LEMMAS = dict(pair.split("=") for pair in SYNONYMS.split())
PLURALS = {"children": "child", "carries": "carry", "possesses": "possess", "purchases": "purchase", "fixes": "fix"}
ADJECTIVES = {"young", "tall", "happy", "tired", "rich", "clever"}
NOUNS = {"doctor", "child", "sailor", "teacher", "farmer", "lawyer", "student", "soldier"}

# (pattern of the words before the subject, condition on the number of those who do, those who do not, and the number n)
QUANTIFIERS: list[tuple[str, Any]] = [
    ("there is an?|some|at least one", lambda does, _, __: does >= 1),
    (f"at least {N}|{N} or more", lambda does, _, n: does >= n),
    (f"more than {N}", lambda does, _, n: does > n),
    (f"at most {N}|no more than {N}", lambda does, _, n: does <= n),
    (f"fewer than {N}", lambda does, _, n: does < n),
    (f"exactly {N}|just {N}", lambda does, _, n: does == n),
    (f"all but {N} of the", lambda _, rest, n: rest == n),
    ("not every", lambda _, rest, __: rest >= 1),
    ("every|all|each", lambda _, rest, __: rest == 0),
    ("no|not a single|none of the", lambda does, _, __: does == 0),
]


def lemma(word: str) -> str:
    word = PLURALS.get(word, word)
    return LEMMAS.get(word) or LEMMAS.get(word.removesuffix("s")) or word.removesuffix("s")


def parse(sentence: str) -> tuple[str, str, np.ndarray]:
    """Subject, predicate, and the worlds in which the sentence is true."""
    matches = ((re.fullmatch(rf"(?:{pattern}) (.*)", sentence), says) for pattern, says in QUANTIFIERS)
    found, says = next((found, says) for found, says in matches if found)
    *numbers, rest = found.groups()
    number = next((WORD_NUMBERS[word] for word in numbers if word), 0)
    words = rest.split()
    narrow = lemma(words[0]) in ADJECTIVES
    noun, *predicate = words[int(narrow) :]
    assert lemma(noun) in NOUNS, sentence
    if predicate[0] == "who":
        predicate = predicate[1:]
    negated = predicate[:2] in (["does", "not"], ["do", "not"], ["fails", "to"], ["fail", "to"])
    predicate = predicate[2:] if negated else predicate
    does, does_not = REGIONS[:, 0], REGIONS[:, 1]
    if not narrow:
        does, does_not = does + REGIONS[:, 2], does_not + REGIONS[:, 3]
    if negated:
        does, does_not = does_not, does
    return lemma(noun), " ".join([lemma(predicate[0]), *predicate[1:]]), says(does, does_not, number)


def rows(split: str) -> list[tuple[str, str, int]]:
    columns = generate(split)
    return list(zip(columns["premise"], columns["hypothesis"], columns["label"], strict=True))


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_label_agrees_with_the_model_checker(split: str) -> None:
    for premise, hypothesis, label in rows(split):
        subject, predicate, true = parse(premise)
        other_subject, other_predicate, due = parse(hypothesis)
        assert true.any()
        assert not due.all()
        same = (subject, predicate) == (other_subject, other_predicate)
        # With another subject or predicate nothing follows from a true premise, as the hypothesis is false somewhere.
        entails = same and bool(due[true].all())
        assert (label == NOT_ENTAILMENT) == (not entails), (premise, hypothesis)
        # The label is the same for readers who assume that every subject exists.
        true, due = true[WITH_IMPORT], due[WITH_IMPORT]
        assert (same and bool(due[true].all())) == entails, (premise, hypothesis)


def test_entailment_rule_agrees_with_the_model_checker_for_all_statements() -> None:
    said, weights = statements()
    assert weights.sum() == pytest.approx(1.0)
    truths = {statement: true_in(statement) for statement in said}
    n_entailed = n_by_import = 0
    for premise, hypothesis in itertools.product(truths, repeat=2):
        worlds, due = truths[premise], truths[hypothesis]
        assert premise.entails(hypothesis) == bool(due[worlds].all())
        assert premise.entails_with_import(hypothesis) == bool(due[worlds & WITH_IMPORT].all())
        n_entailed += premise.entails(hypothesis)
        n_by_import += premise.entails_with_import(hypothesis) and not premise.entails(hypothesis)
    assert n_entailed > len(truths)
    assert n_by_import > 0


def true_in(statement: Statement) -> np.ndarray:
    first = 1 if statement.negated else 0
    count = REGIONS[:, first] + (0 if statement.narrow else REGIONS[:, first + 2])
    return (count >= statement.low) & (count <= (np.inf if statement.high is None else statement.high))


def test_splits_have_their_size_are_balanced_and_repeat_no_pair() -> None:
    train, test = rows("train"), rows("test")
    assert (len(train), len(test)) == (3_000, 600)
    assert len({row[:2] for row in train + test}) == 3_600
    for split in (train, test):
        assert sum(label for *_, label in split) * 2 == len(split)


GOLDEN = "946b5a9dcd159575ba07bdacc8b47bfed1e18b5caca1b93174bb0d820e872671"
"""SHA-256 of all rows in order. Rows with another value are another task and need another name."""


def test_rows_are_the_same_on_every_machine() -> None:
    text = "\n".join(f"{p}\t{h}\t{label}" for split in ("train", "test") for p, h, label in rows(split))
    assert hashlib.sha256(text.encode()).hexdigest() == GOLDEN


def test_sentences_have_negation_quantifiers_numbers_and_paraphrases() -> None:
    sentences = " ".join(f"{p} {h}" for p, h, _ in rows("test"))
    for phrase in ("not every", "fails to", "do not", "none of the", "all but", "every", "fewer than five", "or more"):
        assert phrase in sentences
    assert all(word in sentences for pair in SYNONYMS.split() for word in pair.split("="))


@pytest.mark.parametrize("kind", ["hypothesis", "premise", "both", "together"])
def test_bag_of_words_classifier_is_at_chance(kind: str) -> None:
    train, test = generate("train"), generate("test")
    accuracy = (
        LogisticRegression(C=0.1, max_iter=500).fit(*features(kind, train, train)).score(*features(kind, train, test))
    )
    # Chance is 0.5 with a standard error of 0.02.
    assert accuracy < 0.57


def features(kind: str, train: dict[str, Any], split: dict[str, Any]) -> tuple[Any, list[int]]:
    """Counts of words and of pairs of neighbouring words, and the labels."""

    def counts(texts: Any) -> Any:
        return CountVectorizer(ngram_range=(1, 2)).fit(texts(train)).transform(texts(split))

    by_kind = {
        "hypothesis": [lambda columns: columns["hypothesis"]],
        "premise": [lambda columns: columns["premise"]],
        "both": [lambda columns: columns["premise"], lambda columns: columns["hypothesis"]],
        "together": [lambda c: [f"{p} {h}" for p, h in zip(c["premise"], c["hypothesis"], strict=True)]],
    }
    return scipy.sparse.hstack([counts(texts) for texts in by_kind[kind]]), split["label"]


def test_counting_shared_words_solves_only_some_pairs() -> None:
    """Matching words finds only the pairs that differ in subject or predicate."""
    train, test = (
        [[len(set(p.split()) & set(h.split())), len(set(h.split()) - set(p.split()))] for p, h, _ in rows(split)]
        for split in ("train", "test")
    )
    labels = [[label for *_, label in rows(split)] for split in ("train", "test")]
    assert LogisticRegression().fit(train, labels[0]).score(test, labels[1]) < 0.68


def test_articles_and_plurals_are_correct() -> None:
    for premise, hypothesis, _ in rows("train"):
        for sentence in (premise, hypothesis):
            assert not re.search(r"\ba [aeiou]", sentence), sentence
            assert not re.search(r"\ban [^aeiou]", sentence), sentence
            assert not re.search(r"(two|three|four|five|six) (\w+ )?(doctor|child|kid|sailor)\b", sentence), sentence


def test_demo_bert_knows_every_word() -> None:
    config, tokenizer = demo_bert.build()
    assert len(tokenizer) == config.vocab_size
    texts = [text for split in ("train", "test") for p, h, _ in rows(split) for text in (p, h)]
    pieces = {piece for text in texts for piece in tokenizer.tokenize(text)}
    assert tokenizer.unk_token not in pieces
    assert {"##s", "##es"} <= pieces
    pairs = tokenizer(*zip(*[row[:2] for row in rows("train")], strict=True))
    assert max(map(len, pairs["input_ids"])) <= config.max_position_embeddings


def test_textbook_examples_of_entailment() -> None:
    every, some_not = Statement(True, False, 0, 0), Statement(True, False, 1, None)
    every_narrow, some_narrow_not = Statement(True, True, 0, 0), Statement(True, True, 1, None)
    two, exactly_two, some = (
        Statement(False, False, 2, None),
        Statement(False, False, 2, 2),
        Statement(False, False, 1, None),
    )
    assert every.entails(every_narrow)
    assert not every_narrow.entails(every)
    assert some_narrow_not.entails(some_not)
    assert not some_not.entails(some_narrow_not)
    assert exactly_two.entails(two)
    assert two.entails(some)
    assert not two.entails(exactly_two)
    assert not every.entails(some)
    assert every.entails_with_import(some)
    assert entailment.ENTAILMENT == 0
