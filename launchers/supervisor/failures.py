"""How a job ends without a result of its work: blamed on one boundary, or cancelled."""


class JobFailedError(Exception):
    """The job ends here without a value, blamed on one boundary."""

    def __init__(self, blame: str, reason: str) -> None:
        """Takes the boundary (`train`, `evaluate`, `timeout`, ...) and what happened there."""
        super().__init__(reason)
        self.blame = blame
        self.reason = reason


class CancelledError(Exception):
    """The supervisor was told to stop; says nothing about the idea."""
