"""Lay down the data of nanogpt: `train/`, `hidden/`, `second/` and `data.json`.

    python prepare.py --profile cpu --out data
    python prepare.py --profile secret --out data
    python prepare.py --profile h100x8 --source /folder/with/fineweb10B --out data

Profile `cpu` downloads nothing. Its corpus is the .py sources in the installed torch wheel, read
as bytes and found without importing torch: their content is fixed by the pin, so one committed hash
covers every machine. The hidden shards come from packages that neither training nor `torch.compile`
imports on a CPU, which is why a sandbox can mask them. Generated and vendored files are left out:
they repeat themselves, or differ between builds of one version.

What profile `cpu` hides was published: a language model may know it by heart. All text of profile
`secret` is drawn for one installation instead (invented.py), from a seed that lies beside `--out`
as `OUT.seed` and is made once: whoever has the seed can make the same text again, nobody else can.
Rows of its hidden texts that the training text gives away are left out.

Profile `h100x8` copies GPT-2 token shards of FineWeb from a folder that the user names.

Everything is written beside `--out` and moved there by one rename: half a data folder never exists.
"""

import argparse
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

import invented

# ---------------------------------------------------------------------------- what the data are

TORCH_VERSION = "2.13.0"
"""The build suffix (`+cpu`, `+cu130`) is free: the sources used are the same in all of them."""
CPU_SHA256 = "43c6aeb9f392a8427be999c77dee5a9fb8e2f95f3ab490117b55f3268149d97f"
"""Hash over all shards of profile `cpu`; a committed baseline is only comparable under this hash.
Measured equal for the Linux CPU, Linux CUDA, macOS arm64 and Windows wheels of this version."""

TRAIN_BYTES = 6_000_000
HIDDEN_BYTES = 262_145
SECOND_BYTES = 65_537
HIDDEN_FILE_BYTES = 6 * 1024
"""No more of one hidden file, so that no file dominates the score."""
SMALLEST_FILE_BYTES = 400
"""Below this a file is a licence header or a list of imports."""

HIDDEN = ("distributed/elastic/", "distributed/pipelining/", "testing/_internal/opinfo/")
SECOND = ("distributed/checkpoint/",)
LEFT_OUT = (
    "version.py",
    "masked/_docs.py",
    "testing/_internal/",
    "_vendor/",
    "_inductor/autoheuristic/artifacts/",
    "_inductor/fx_passes/serialized_patterns/",
    "_inductor/kernel/vendored_templates/",
)
"""Generated, vendored, or kin of the hidden files. Checked after HIDDEN and SECOND."""

SHAPES_BYTES = 500_000
"""Of the training text of `cpu`: they lend their shapes to `secret`. Few, so that the training text
of `secret` shows all of them many times."""
SEED_BYTES = 32

FINEWEB_MAGIC, FINEWEB_VERSION, FINEWEB_HEADER_BYTES = 20240520, 1, 1024
FINEWEB_HIDDEN_TOKENS = 10_485_760 + 1
FINEWEB_SECOND_TOKENS = 1_048_576 + 1


class Asked(NamedTuple):
    """What the command line says."""

    out: Path
    source: str | None


def refuse(*, where: str, found: str, expected: str, do: str) -> NoReturn:
    """Ends the program with exit code 1 and a message of four parts."""
    raise SystemExit(f"{where}\n  found:    {found}\n  expected: {expected}\n  do next:  {do}")


# ---------------------------------------------------------------------------- cpu: torch's sources


def torch_folder() -> Path:
    """Folder of the installed torch package; refuses any version but the pinned one."""
    spec = importlib.util.find_spec("torch")
    version = importlib.metadata.version("torch") if spec else "no torch"
    if version.split("+")[0] != TORCH_VERSION or not spec or not spec.submodule_search_locations:
        refuse(
            where="prepare.py: the corpus rests on the sources of one torch version",
            found=f"torch {version}" if spec else "no torch in this interpreter",
            expected=f"torch {TORCH_VERSION} (any build)",
            do=f"pip install torch=={TORCH_VERSION}, or give the interpreter that has it",
        )
    return Path(spec.submodule_search_locations[0])


def sources(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Path and content of every source of some size, in an order that only the paths decide."""
    paths = [path.relative_to(folder).as_posix() for path in folder.rglob("*.py")]
    for path in sorted(paths, key=lambda path: hashlib.sha256(path.encode()).digest()):
        content = (folder / path).read_bytes().replace(b"\r\n", b"\n")  # as Windows wheels have it
        if len(content) >= SMALLEST_FILE_BYTES:
            yield path, content


def torch_shards(folder: Path) -> dict[str, bytes]:
    """The three shards of profile `cpu`, bytes as tokens."""
    train, hidden, second = bytearray(), bytearray(), bytearray()
    for path, content in sources(folder):
        if path.startswith(HIDDEN):
            hidden += content[:HIDDEN_FILE_BYTES]
        elif path.startswith(SECOND):
            second += content[:HIDDEN_FILE_BYTES]
        elif not path.startswith(LEFT_OUT) and len(train) < TRAIN_BYTES:
            train += content
    return {
        "train/000.bin": bytes(train[:TRAIN_BYTES]),
        "hidden/000.bin": bytes(hidden[:HIDDEN_BYTES]),
        "second/000.bin": bytes(second[:SECOND_BYTES]),
    }


def checked_shards() -> dict[str, bytes]:
    """The three shards of profile `cpu`; refuses sources that are not the committed ones."""
    folder = torch_folder()
    shards = torch_shards(folder)
    found = shards_sha256({name: sha256(content) for name, content in shards.items()})
    if found != CPU_SHA256:
        refuse(
            where=f"prepare.py: sources under {folder}",
            found=f"torch {importlib.metadata.version('torch')} with corpus sha256 {found}",
            expected=f"torch {TORCH_VERSION} with corpus sha256 {CPU_SHA256}",
            do=f"reinstall torch=={TORCH_VERSION}: files of this one were edited, added or removed",
        )
    return shards


def prepare_cpu(out: Path, _asked: Asked) -> None:
    """Writes the torch corpus."""
    write_all(out, checked_shards())


# ---------------------------------------------------------------------------- secret: invented text


def seed_of(out: Path) -> str:
    """The installation's own seed, beside its data; drawn where there is none."""
    path = out.with_name(f"{out.name}.seed")
    if not path.exists():
        partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(os.urandom(SEED_BYTES).hex())
        os.rename(partial, path)
    seed = path.read_text()
    if not re.fullmatch(f"[0-9a-f]{{{2 * SEED_BYTES}}}", seed):
        refuse(
            where=f"prepare.py, profile secret: {path}",
            found=f"{len(seed)} characters that are no seed",
            expected=f"{2 * SEED_BYTES} hexadecimal digits",
            do="put the seed of this installation there again, or remove the file for another text",
        )
    return seed


def prepare_secret(out: Path, asked: Asked) -> None:
    """Writes the text of this installation."""
    source = checked_shards()["train/000.bin"][:SHAPES_BYTES]
    sizes = invented.Sizes(train=TRAIN_BYTES, hidden=HIDDEN_BYTES, second=SECOND_BYTES)
    write_all(out, invented.shards(source, seed_of(asked.out), sizes))


# ---------------------------------------------------------------------------- h100x8: FineWeb


def fineweb_tokens(path: Path) -> bytes:
    """Tokens of one shard, little-endian uint16, without the header of 256 int32."""
    content = path.read_bytes()
    head = [int.from_bytes(content[i : i + 4], "little") for i in (0, 4, 8)]
    size = len(content) - FINEWEB_HEADER_BYTES
    if head != [FINEWEB_MAGIC, FINEWEB_VERSION, size // 2]:
        refuse(
            where=f"prepare.py, profile h100x8: {path}",
            found=f"magic, version and count {head}, {size} bytes of tokens",
            expected=f"[{FINEWEB_MAGIC}, {FINEWEB_VERSION}, {size // 2}]: a GPT-2 token shard",
            do="fetch this shard again",
        )
    return content[FINEWEB_HEADER_BYTES:]


def prepare_h100x8(out: Path, asked: Asked) -> None:
    """Copies FineWeb shards; hidden and second tokens come from the validation shard."""
    source = asked.source
    folder = Path(source or "")
    train = sorted(folder.glob("fineweb_train_*.bin")) if source else []
    validation = sorted(folder.glob("fineweb_val_*.bin")) if source else []
    if not train or not validation:
        refuse(
            where="prepare.py, profile h100x8: the corpus is FineWeb as GPT-2 tokens",
            found=f"--source {source}, {len(train)} training, {len(validation)} validation shards",
            expected="--source FOLDER with fineweb_train_*.bin and fineweb_val_*.bin",
            do="download the shards of FineWeb 10B in that form and name their folder",
        )
    for number, path in enumerate(train):
        write(out / f"train/{number:03}.bin", fineweb_tokens(path))
    held = fineweb_tokens(validation[0])
    hidden, second = 2 * FINEWEB_HIDDEN_TOKENS, 2 * FINEWEB_SECOND_TOKENS
    write(out / "hidden/000.bin", held[:hidden])
    write(out / "second/000.bin", held[hidden : hidden + second])


# ---------------------------------------------------------------------------- laying it down

PREPARE = {
    "cpu": prepare_cpu,
    "smoke": prepare_cpu,
    "secret": prepare_secret,
    "h100x8": prepare_h100x8,
}


def write(path: Path, content: bytes) -> None:
    """Writes one shard with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def write_all(out: Path, shards: Mapping[str, bytes]) -> None:
    """Writes shards by their names."""
    for name, content in shards.items():
        write(out / name, content)


def sha256(content: bytes) -> str:
    """Of one shard."""
    return hashlib.sha256(content).hexdigest()


def shard_hashes(out: Path) -> dict[str, str]:
    """Relative path -> sha256 of every shard under `out`, sorted."""
    shards = sorted(path.relative_to(out).as_posix() for path in out.glob("*/*.bin"))
    return {name: sha256((out / name).read_bytes()) for name in shards}


def shards_sha256(hashes: dict[str, str]) -> str:
    """One hash over all shards and their names."""
    lines = "".join(f"{name} {digest}\n" for name, digest in sorted(hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def is_prepared(out: Path, *, profile: str) -> bool:
    """Whether `out` already holds this profile's data, byte for byte as its data.json says."""
    if not (out / "data.json").is_file():
        return False
    record = json.loads((out / "data.json").read_text())
    return record["profile"] == profile and record["files"] == shard_hashes(out)


def prepare(out: Path, *, profile: str, source: str | None) -> None:
    """Prepares into a sibling folder and renames it to `out`."""
    partial = out.with_name(f".{out.name}.partial-{os.getpid()}")
    try:
        PREPARE[profile](partial, Asked(out, source))
        hashes = shard_hashes(partial)
        record = {"profile": profile, "sha256": shards_sha256(hashes), "files": hashes}
        (partial / "data.json").write_text(json.dumps(record, indent=2) + "\n")
        os.rename(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def main() -> None:
    """Reads the command line; does nothing where the data already lie."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", choices=sorted(PREPARE), required=True)
    parser.add_argument("--out", type=Path, required=True, help="data folder to make")
    parser.add_argument("--source", help="h100x8 only: folder with the FineWeb shards")
    args = parser.parse_args()
    out = args.out.resolve()
    if is_prepared(out, profile=args.profile):
        print(f"{args.out}: already prepared for profile {args.profile}")
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        refuse(
            where=f"prepare.py --out {args.out}",
            found="something else than this profile's data",
            expected="no such folder, or an empty one",
            do="remove it or choose another --out",
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    prepare(out, profile=args.profile, source=args.source)
    print(f"{args.out}: prepared for profile {args.profile}")


if __name__ == "__main__":
    main()
