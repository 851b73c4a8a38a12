"""The stages of an epoch, declared once: graph, order, schemas and chains follow from it.

The definitions form a graph. A stage is read by later stages of its own epoch, and may rest on a
stage of all earlier epochs; each entry names its readers. One more stage is a word in `Stage`, a
row type, one entry here, and its work in `assets.work`. A campaign has the stages of every campaign
and those of its strategy; chains are resolved over all definitions, so that an epoch without a
stage keeps what lies behind it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lake.tables import Idea, Patch, Row, Run, Score, Selection, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class StageDefinition:
    """One stage."""

    stage: Stage
    """Its name, also that of its asset."""
    rows: type[Row]
    """What its attempts commit."""
    description: str
    """The grain of its table, in a sentence."""
    read_by: tuple[Stage, ...] = ()
    """Stages of the same epoch that rest on it."""
    rests_on: Stage | None = None
    """Stage of all earlier epochs that it rests on; closes the loop."""
    compares: bool = False
    """Whether it compares with the runs of the first epoch's baselines."""
    only_for: frozenset[str] = frozenset()
    """Kinds of strategy whose campaigns have it; none named: every campaign has it."""

    @property
    def table(self) -> str:
        """Name of the table of its rows."""
        return self.rows.table


Definitions = Sequence[StageDefinition]

DEFINITIONS: tuple[StageDefinition, ...] = (
    StageDefinition(
        stage=Stage.EVOLUTION,
        rows=Selection,
        description="One row per parent or context idea chosen from the scores of earlier epochs.",
        read_by=(Stage.IDEAS,),
        rests_on=Stage.SCORES,
    ),
    StageDefinition(
        stage=Stage.IDEAS,
        rows=Idea,
        description="One row per idea proposed for the epoch.",
        read_by=(Stage.PATCHES,),
    ),
    StageDefinition(
        stage=Stage.PATCHES,
        rows=Patch,
        description="One row per try to turn an idea into a diff of the environment.",
        read_by=(Stage.RUNS,),
    ),
    StageDefinition(
        stage=Stage.RUNS,
        rows=Run,
        description="One row per job that trained patched code, failures included.",
        read_by=(Stage.SCORES,),
        compares=True,
    ),
    StageDefinition(
        stage=Stage.SCORES,
        rows=Score,
        description=(
            "One row per job and evaluator: the value that trusted code gave, or why there is none."
        ),
        compares=True,
    ),
)
"""In the order of the work."""


def stages_of(definitions: Definitions = DEFINITIONS) -> tuple[Stage, ...]:
    """The stages in the order of the work."""
    return tuple(each.stage for each in definitions)


def of_strategy(kind: str, definitions: Definitions = DEFINITIONS) -> Definitions:
    """The stages of a campaign with this kind of strategy, in the order of the work."""
    return tuple(each for each in definitions if not each.only_for or kind in each.only_for)


def definition_of(stage: Stage, definitions: Definitions = DEFINITIONS) -> StageDefinition:
    """The definition of a stage."""
    return next(each for each in definitions if each.stage is stage)


def stage_of(row_type: type[Row], definitions: Definitions = DEFINITIONS) -> Stage:
    """The stage that commits rows of a type."""
    return next(each.stage for each in definitions if each.rows is row_type)


def upstream_of(stage: Stage, definitions: Definitions = DEFINITIONS) -> tuple[Stage, ...]:
    """The stages of the same epoch that a stage reads, in the order of the work."""
    return tuple(each.stage for each in definitions if stage in each.read_by)


def after(stage: Stage, definitions: Definitions = DEFINITIONS) -> tuple[Stage, ...]:
    """A stage and all that rest on it in its own epoch, in the order of the work."""
    found = {stage}
    for each in definitions:
        if each.stage in found:
            found |= set(each.read_by)
    return tuple(each.stage for each in definitions if each.stage in found)


STAGE_TABLE: dict[Stage, str] = {each.stage: each.table for each in DEFINITIONS}
STAGE_TABLES = frozenset(STAGE_TABLE.values())
"""Tables whose rows an attempt commits together."""
