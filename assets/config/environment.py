"""Read an environment folder: its manifest, its files, and what identifies it.

The *tree* is every file of the folder but README.md, the manifest, the catalog, hidden files and
caches. Patches may change the *editable* part; the rest is copied from here unchanged.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from assets.config.home import PROJECT
from assets.errors import ManifestError
from lake.ids import content_hash
from launchers.tree import tree_hash
from launchers.visible import quoted

CATALOG_FILE = "catalog.toml"
"""Known ideas of an environment; no job needs them."""
NOT_IN_THE_TREE = {"README.md", "pyproject.toml", CATALOG_FILE}
CACHES = {"__pycache__", "node_modules"}
MAX_FILE_BYTES = 1 << 20


class Table(BaseModel):
    """A table of the manifest: unknown keys are errors, integers may stand for floats."""

    model_config = ConfigDict(extra="forbid", frozen=True)


COMPUTE_LIMIT = 1.2
"""Most CPU time of training and of scoring together, as a share of what the campaign's own baseline
takes."""
TIMED_AGAIN = 1.5
"""A share up to this is timed again, beside the baseline, before it is refused: CPU time depends on
what else the machine does."""


class OutputRule(Table):
    """What training may leave under one declared name or glob."""

    max: Annotated[int, Field(ge=1, le=1000)] = 1
    bytes: Annotated[int, Field(ge=1)]


class Baseline(Table):
    """What the unpatched folder scores, measured over seeds."""

    mean: float
    sd: Annotated[float, Field(gt=0)]
    n: Annotated[int, Field(ge=2)]
    cpu_seconds: Annotated[float, Field(gt=0)] | None = None
    lead_sd: Annotated[float, Field(gt=0)] | None = None
    """Standard deviation over seeds of the lead: by how much the metric is better on the hidden
    shard than on the second one."""

    @property
    def in_words(self) -> str:
        """Mean and spread."""
        return f"{self.mean:g} on average, standard deviation {self.sd:g} over {self.n} seeds"


class AuditRule(Table):
    """How many cuts of the leak audit a score needs; 0 where the input holds no target."""

    cuts: Annotated[int, Field(ge=0)] = 0
    """For every score."""
    deep: Annotated[int, Field(ge=0)] = 0
    """For a score that may become a parent or a winner."""

    @model_validator(mode="after")
    def _deep_is_deeper(self) -> "AuditRule":
        if self.deep and not 0 < self.cuts <= self.deep:
            raise ValueError("expected 0 < cuts <= deep, or deep = 0 for no deep audit")
        return self


class Profile(Table):
    """One size of an environment."""

    python: Literal["this", "venv"] = "this"
    budget_seconds: Annotated[float, Field(gt=0)]
    score_seconds: Annotated[float, Field(gt=0)] = 600
    compute: Literal["cpu", "wall"] = "wall"
    deterministic: bool = False
    threads: Annotated[int, Field(ge=1)] = 1
    accelerators: str | None = None
    masked: tuple[Annotated[str, Field(pattern=r"^[\w.-]+(/[\w.-]+)*$")], ...] = ()
    """Paths below a folder of installed packages that hold hidden data."""
    published: bool = False
    """Whether the hidden data were published, so that a model may know them by heart."""
    memory_bytes: Annotated[int, Field(ge=1 << 20)] = 8 << 30
    """Most that all processes of a job may use together."""
    processes: Annotated[int, Field(ge=1)] = 256
    """Most processes and threads of a job at once."""
    outputs: Annotated[dict[str, OutputRule], Field(min_length=1)]
    baseline: Baseline | None = None

    @property
    def cost_rule(self) -> str:
        """What a run may cost, in words."""
        machine = self.accelerators or f"{self.threads} CPU thread(s)"
        if self.compute == "wall":
            return f"training is ended after {self.budget_seconds:g} s of wall clock on {machine}"
        seconds = self.baseline.cpu_seconds if self.baseline else None
        known = f" (training: about {seconds:g} s)" if seconds else ""
        return (
            f"training and scoring together may use {COMPUTE_LIMIT:g} times the CPU time of the "
            f"unpatched code{known}, more gives no score; training is ended after "
            f"{self.budget_seconds:g} s of wall clock on {machine}"
        )


class Manifest(Table):
    """`[tool.varve]` of an environment's pyproject.toml."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    summary: Annotated[str, Field(min_length=1)]
    editable: Annotated[list[str], Field(min_length=1)]
    scoring: Annotated[list[str], Field(min_length=1)]
    metric: Annotated[str, Field(min_length=1)]
    direction: Literal["minimize", "maximize"]
    floor: float
    audit: AuditRule = AuditRule()
    profiles: Annotated[dict[str, Profile], Field(min_length=1)]

    @field_validator("floor")
    @classmethod
    def _has_an_inverse(cls, floor: float, info: ValidationInfo) -> float:
        if info.data.get("direction") == "minimize" and not floor > 0:
            raise ValueError(
                "where direction is minimize, expected a number above 0: the reward is 1 / value, "
                "so that no value at or below 0 may count. Shift or rescale the metric in "
                "evaluate.py so that it stays above 0, or maximize its negative"
            )
        return floor


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A folder that can be trained and scored, as it is on disk now."""

    path: Path
    manifest: Manifest
    files: Mapping[str, bytes]
    """The pristine tree: relative path -> content."""

    @property
    def tree(self) -> str:
        """Hash of the pristine tree."""
        return tree_hash(self.files)

    @property
    def frozen(self) -> tuple[str, ...]:
        """Paths that no patch may change, prepare.py among them."""
        return tuple(path for path in sorted(self.files) if not self.may_edit(path))

    @property
    def frozen_tree(self) -> str:
        """Hash of the files that no patch may change."""
        return tree_hash({path: self.files[path] for path in self.frozen})

    @property
    def editable(self) -> tuple[str, ...]:
        """Paths that a patch may change."""
        return tuple(path for path in sorted(self.files) if self.may_edit(path))

    def may_edit(self, path: str) -> bool:
        """Whether a patch may create or change `path`."""
        return _matches(path, self.manifest.editable) and not _matches(path, self.manifest.scoring)

    def training_tree(self, files: Mapping[str, bytes]) -> str:
        """Hash of what training depends on: editable and frozen files without the scoring files."""
        return tree_hash({p: c for p, c in files.items() if not _matches(p, self.manifest.scoring)})

    def scoring_hash(self) -> str:
        """Hash of the scoring files."""
        return tree_hash(
            {p: c for p, c in self.files.items() if _matches(p, self.manifest.scoring)}
        )

    def profile(self, name: str) -> Profile:
        """The profile called `name`.

        Raises:
            ManifestError: it is not declared.
        """
        where = f"{self.path / 'pyproject.toml'}: tool.varve.profiles"
        if name not in self.manifest.profiles:
            known = ", ".join(sorted(self.manifest.profiles))
            raise ManifestError(f"{where}: no profile {name!r}; expected one of {known}")
        return self.manifest.profiles[name]


def find_environment(name: str) -> Path:
    """The folder of an environment: a name in `environments/`, or a path from the project's top."""
    named = PROJECT / "environments" / name
    return named if os.path.isdir(named) else (PROJECT / name)  # a name may be too long to ask for


def read_environment(path: Path) -> Environment:
    """Load and check an environment folder.

    Raises:
        ManifestError: naming the file and the key, with what was found and expected.
    """
    if not os.path.isdir(path):
        raise ManifestError(
            f"{path}: no such environment folder; expected a name in environments/ "
            "or a path from the project's top"
        )
    manifest = _read_manifest(path / "pyproject.toml")
    environment = Environment(path=path, manifest=manifest, files=_read_tree(path))
    _check_globs(environment)
    return environment


def resolved_profile(profile: Profile) -> str:
    """Identity of a profile: everything in it that a job's result depends on."""
    return content_hash(profile.model_dump(mode="json", exclude={"baseline", "published"}))


def _read_manifest(path: Path) -> Manifest:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ManifestError(
            f"{path}: missing; expected a pyproject.toml with a [tool.varve] table, "
            "as environments/README.md describes"
        ) from error
    except (OSError, ValueError) as error:
        raise ManifestError(f"{path}: cannot be read as TOML: {error}") from error
    table = document.get("tool", {}).get("varve")
    if table is None:
        raise ManifestError(f"{path}: no [tool.varve] table; see environments/README.md")
    try:
        return Manifest.model_validate(table)
    except ValidationError as error:
        raise ManifestError(_explain(path, error)) from error


def _explain(path: Path, error: ValidationError) -> str:
    lines = [f"{path}: [tool.varve] cannot be used; environments/README.md describes every key"]
    for problem in error.errors(include_url=False):
        key = ".".join(str(part) for part in problem["loc"])
        found = "" if problem["type"] == "missing" else f" (found {quoted(problem['input'])})"
        lines.append(f"  {key}: {problem['msg']}{found}")
    return "\n".join(lines)


def _read_tree(folder: Path) -> dict[str, bytes]:
    files = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_dir() or _is_private(relative):
            continue
        if path.is_symlink() or path.stat().st_size > MAX_FILE_BYTES:
            raise ManifestError(
                f"{path}: found a link or a file over {MAX_FILE_BYTES} bytes; expected small plain "
                "files only: let prepare.py make the data"
            )
        files[relative.as_posix()] = path.read_bytes()
    return files


def _is_private(relative: Path) -> bool:
    hidden = any(part.startswith(".") or part in CACHES for part in relative.parts)
    return hidden or relative.as_posix() in NOT_IN_THE_TREE or relative.suffix == ".pyc"


def _matches(path: str, globs: list[str]) -> bool:
    return any(fnmatchcase(path, glob) for glob in globs)


def _check_globs(environment: Environment) -> None:
    manifest, where = environment.manifest, environment.path / "pyproject.toml"
    for key, globs in (("editable", manifest.editable), ("scoring", manifest.scoring)):
        for glob in globs:
            if not any(fnmatchcase(path, glob) for path in environment.files):
                raise ManifestError(
                    f"{where}: {key}: {glob!r} matches no file; the folder has "
                    f"{', '.join(environment.files) or 'none'}"
                )
    both = [
        path
        for path in environment.files
        if _matches(path, manifest.editable) and _matches(path, manifest.scoring)
    ]
    if both:
        raise ManifestError(
            f"{where}: editable: {both[0]!r} is a scoring file too; expected no overlap, "
            "since a patch must not change how it is scored"
        )
