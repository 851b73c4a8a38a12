"""Every damaged answer of the corpus: none may apply wrongly, few that are right be refused."""

from collections import Counter

from damage.corpus import Case, corpus
from damage.traps import TRAPS
from damage.ways import WAYS

from assets.diffs.git import apply_diff
from assets.ladder import apply_answer
from launchers import tree_hash

LEAST_RIGHT = 0.97


def test_the_corpus_has_many_cases_of_every_way_and_is_the_same_each_time():
    cases = corpus()
    ways = Counter(case.way for case in cases)
    assert len(cases) >= 300
    assert ways.keys() == WAYS.keys() | TRAPS.keys()
    assert min(ways.values()) >= 1
    answers = [case.answer for case in cases]
    corpus.cache_clear()
    assert answers == [case.answer for case in corpus()]


def test_no_damaged_answer_applies_wrongly_and_nearly_all_end_right():
    wrong, refused = [], []
    for case in corpus():
        applied = apply_answer(case.edit.environment, case.answer)
        assert (applied.tree is None) == bool(applied.reason), case.name
        if applied.tree is None:
            refused += [(case.name, applied.reason)] * (case.tree is not None)
            continue
        if applied.tree != case.tree:
            wrong.append((case.name, applied.diff))
        assert _replayed(case, applied.diff) == applied.tree, case.name
    assert not wrong
    possible = sum(case.tree is not None for case in corpus())
    assert len(refused) <= (1 - LEAST_RIGHT) * possible, refused


def _replayed(case: Case, diff: str) -> str:
    return tree_hash(apply_diff(case.edit.environment.files, diff))
