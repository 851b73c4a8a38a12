"""What a job is told about the machine that runs it: `place.json`, next to its specification.

A specification is the same wherever the job runs; paths and GPU numbers are the worker's, and the
launcher that found the worker writes them down.
"""

from dataclasses import dataclass

from launchers.plain import json_text, read_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One machine, as a job sees it."""

    python: str
    """Path of the interpreter that runs the environment."""
    data: str
    """Folder with the prepared data of the hash that the specification names."""
    runs: str
    """Folder of run folders, where the outputs of earlier jobs are taken from."""
    turns: str
    """Folder of the locks by which all jobs of the machine take turns."""
    gpus: tuple[int, ...] = ()
    """Numbers of the GPUs that the job was given."""

    def to_json(self) -> str:
        """The text of place.json."""
        return json_text(self)

    @classmethod
    def from_json(cls, text: str) -> "Place":
        """Reads place.json.

        Raises:
            ValueError: a field is missing, unknown or of another type, or the text is no object.
        """
        return read_text(cls, text, "place.json")
