"""What word counts alone reach: TF-IDF over words and pieces of words, and a logistic regression. No language is known.

It stands beside a model's figures to show how much of the data is told by its words; over 97 % a set is too easy.
"""

from __future__ import annotations

from collections.abc import Sequence

from slmbench.core import Example


def predict(train: Sequence[Example], test: Sequence[Example], seed: int = 42) -> list[str]:
    """The intent of each example of `test`, learnt from `train`."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    pieces = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    model = make_pipeline(make_union(words, pieces), LogisticRegression(C=30, max_iter=2000, random_state=seed))
    model.fit([e.text for e in train], [e.target["intent"] for e in train])
    return [str(intent) for intent in model.predict([e.text for e in test])]


def overlap(train: Sequence[Example], test: Sequence[Example], n: int = 3) -> float:
    """The share of the word n-grams of `test`, each counted once, that stand in `train` too."""
    theirs, ours = (set().union(*(grams(e.text, n) for e in examples)) for examples in (train, test))
    return len(ours & theirs) / len(ours)


def grams(text: str, n: int) -> set[tuple[str, ...]]:
    """The runs of n words of a text."""
    from slmbench.data import normalised

    words = normalised(text).split()
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}
