"""Serve what training left: token frames on stdin, logit frames on stdout, in lockstep until EOF.

    python serve.py --profile cpu --checkpoint out

Takes unsigned tokens (B, T), gives float32 logits (B, T, V). This process sees inputs only, never
targets; it runs the patched train.py, so evaluate.py checks what it says and computes the loss
itself.

Where it runs on the CPU, it is sealed before the first line of train.py runs: what train.py
imports, as a rehearsal has shown, is imported by then, and the weights are read; after that no file
can be opened and no process started. seal.py says why. On a GPU it is not sealed, since drivers and
compilers open files whenever they like.
"""

import argparse
from pathlib import Path

import numpy as np
from sealed_torch import prepare_torch
from serving import PatchedFile, serve, take_pipes

DEVICES = {"cpu": "cpu", "secret": "cpu", "smoke": "cpu", "h100x8": "cuda"}
EXAMPLES = {name: np.zeros((1, 64), np.uint8) for name in ("cpu", "secret", "smoke")}
"""Tokens of a rehearsal. Profiles that are not here are not sealed."""
COMPILED = "_orig_mod."
"""What torch.compile puts before the names of a module's weights."""


def read_model(profile, checkpoint):
    """The function that builds the answering model; it reads no file when it is called.

    Args:
        profile: The size.
        checkpoint: Folder with what training left.
    """
    import torch
    from safetensors.torch import load

    patched = PatchedFile("train.py")
    weights = load((checkpoint / "model.safetensors").read_bytes())
    torch.set_num_threads(1)

    def build():
        model = patched.run().build_model(profile)
        load_weights(model, weights)
        model = model.to(DEVICES[profile]).eval()
        return lambda tokens_B_T: answer(model, tokens_B_T, device=DEVICES[profile])

    return build


def load_weights(model, weights):
    """Puts all weights into the model, whether either was compiled or not.

    A tensor with several names is in the file under one of them.

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


def answer(model, tokens_B_T, *, device):
    """Logits (B, T, V) of one batch as float32."""
    import torch

    inputs = torch.from_numpy(tokens_B_T.astype(np.int64)).to(device)
    with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
        logits = model(inputs)
    return np.ascontiguousarray(logits.float().cpu().numpy())


def main():
    """Takes stdout first, so that nothing but frames goes there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", choices=sorted(DEVICES), required=True)
    parser.add_argument("--checkpoint", type=Path, required=True, help="what training left")
    args = parser.parse_args()
    pipes = take_pipes()
    build = read_model(args.profile, args.checkpoint)
    serve(pipes, build, example=EXAMPLES.get(args.profile), before_seal=prepare_torch)


if __name__ == "__main__":
    main()
