"""The process environment of a job: an allow-list at every level.

No key, token or proxy of whoever started the search reaches the code of a patch. What is handed
down is decided here alone; nothing reads the process environment at import.
"""

from collections.abc import Mapping, Sequence

PASSED_ON = ("PATH", "LANG")
"""All that a job inherits."""
DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
THREAD_COUNTS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
RUN_MARKER = "VARVE_RUN"
"""Names the run folder in the environment of each process of a job, to find what a crash left.
Not the run's id: two projects that run the same campaign have the same ids."""


def passed_environment(outer: Mapping[str, str]) -> dict[str, str]:
    """What may be handed down of a process environment: never a key, token, proxy or LD_ name."""
    kept = {name: outer[name] for name in PASSED_ON if outer.get(name)}
    return {"PATH": DEFAULT_PATH, "LANG": "C.UTF-8"} | kept


def job_environment(
    outer: Mapping[str, str], *, run: str, threads: int, gpus: Sequence[int]
) -> dict[str, str]:
    """The whole process environment of training and scoring, but for HOME and TMPDIR.

    Args:
        outer: the supervisor's own environment.
        run: the run folder; marks the processes of the job.
        threads: how many a numerical library may start; 0 lets it choose.
        gpus: numbers of the GPUs that the job was given.
    """
    counts = {name: str(threads) for name in THREAD_COUNTS} if threads else {}
    return {
        **passed_environment(outer),
        **counts,
        RUN_MARKER: run,
        "CUDA_VISIBLE_DEVICES": ",".join(map(str, gpus)),
        "USER": "varve",
        "LOGNAME": "varve",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_OFFLINE": "1",
        "WANDB_MODE": "offline",
    }
