"""Serve what training left: token frames on stdin, logit frames on stdout, in lockstep until EOF.

    python serve.py --profile cpu --checkpoint out

A frame is an 8-byte little-endian length and one .npy record. In come unsigned tokens (B, T), out go
float32 logits (B, T, V). This process sees inputs only, never what they should have been; it runs
the patched train.py, so what it says is checked by evaluate.py and its word is not taken for a loss.

Where it runs on the CPU, it is sealed before the first line of train.py runs: what train.py imports is
imported by then, as a rehearsal has shown, and the weights are read; no file can be opened and no
process started after. seal.py says why. On a GPU it is not sealed: drivers and compilers open files
whenever they like.
"""

import argparse
import io
import linecache
import os
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
from rehearsal import import_all, rehearse
from seal import can_seal, seal

DEVICES = {"cpu": "cpu", "smoke": "cpu", "h100x8": "cuda"}
REHEARSED = {"cpu": (1, 64), "smoke": (1, 64)}
"""Shape of the tokens in a rehearsal. Profiles that are not here are not sealed."""
COMPILED = "_orig_mod."
"""What torch.compile puts before the names of a module's weights."""


def read_frame(stream):
    """The next array, or None at the end of the stream."""
    head = stream.read(8)
    if not head:
        return None
    record = io.BytesIO(stream.read(int.from_bytes(head, "little")))
    return np.lib.format.read_array(record, allow_pickle=False)


def write_frame(stream, array):
    """Sends one array without copying it."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    size = header.tell() + array.nbytes
    stream.write(size.to_bytes(8, "little") + header.getvalue())
    stream.write(array.data)
    stream.flush()


def run_as_module(path, source):
    """The module that a Python file is, from what was read of it."""
    module = sys.modules[path.stem] = ModuleType(path.stem)
    module.__file__ = str(path)
    exec(compile(source, str(path), "exec"), module.__dict__)
    return module


def load_weights(model, weights):
    """Puts all weights into the model, whether either was compiled or not.

    Of a tensor with several names, the file has one.

    Raises:
        RuntimeError: a weight is missing, left over or of another shape.
    """
    state = model.state_dict()
    own = {name.replace(COMPILED, ""): name for name in state}
    weights = {own.get(name.replace(COMPILED, ""), name): weights[name] for name in weights}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    loaded = {state[name].data_ptr() for name in weights if name in state}
    missing = [name for name in missing if state[name].data_ptr() not in loaded]
    if missing or unexpected:
        raise RuntimeError(f"model.safetensors lacks {missing}, and the model lacks {unexpected}")


def load_model(profile, checkpoint, *, keep):
    """The trained model in evaluation mode; here the patched train.py begins to run.

    Args:
        profile: The size.
        checkpoint: Folder with what training left.
        keep: File descriptors that the server goes on using.
    """
    import torch
    from safetensors.torch import load

    path = Path("train.py").resolve()
    source = path.read_bytes()
    weights = load((checkpoint / "model.safetensors").read_bytes())
    torch.set_num_threads(1)

    def build():
        model = run_as_module(path, source).build_model(profile)
        load_weights(model, weights)
        return model.to(DEVICES[profile]).eval()

    if profile in REHEARSED and can_seal():
        get_ready(path, source)
        tokens = np.zeros(REHEARSED[profile], np.uint8)
        import_all(rehearse(lambda: answer(build(), tokens, device=DEVICES[profile])))
        seal(keep=keep)
    else:
        print("serve.py: not sealed on this system or at this profile", file=sys.stderr)
    return build()


def get_ready(path, source):
    """Makes that train.py does not need what it cannot have in a sealed process.

    A compiler reads files and starts processes, so that a model is served as it is written, and with
    the threads that there are; torch.jit.script finds the source of train.py in memory.
    """
    import torch

    torch.compile = uncompiled
    torch.set_num_threads = torch.set_num_interop_threads = lambda count: None
    x = torch.ones(8, 8)
    torch.nn.functional.gelu(x @ x)  # the first operation looks at the processor, in files
    lines = source.decode(errors="replace").splitlines(keepends=True)
    linecache.cache[str(path)] = (len(source), None, lines, str(path))


def uncompiled(model=None, **_options):
    """Stands for torch.compile, as a call or as a decorator, and leaves everything as it is."""
    return (lambda function: function) if model is None else model


def answer(model, tokens_B_T, *, device):
    """Logits (B, T, V) of one batch as float32."""
    import torch

    inputs = torch.from_numpy(tokens_B_T.astype(np.int64)).to(device)
    with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
        logits = model(inputs)
    return np.ascontiguousarray(logits.float().cpu().numpy())


def main():
    """Keeps stdout for frames: whatever the patched code prints goes to stderr."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", choices=sorted(DEVICES), required=True)
    parser.add_argument("--checkpoint", type=Path, required=True, help="what training left")
    args = parser.parse_args()
    frames_in = sys.stdin.buffer
    frames_out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    keep = [0, 1, 2, frames_out.fileno()]
    model = load_model(args.profile, args.checkpoint, keep=keep)
    while (tokens_B_T := read_frame(frames_in)) is not None:
        write_frame(frames_out, answer(model, tokens_B_T, device=DEVICES[args.profile]))


if __name__ == "__main__":
    main()
