"""Serve what training left: token frames on stdin, logit frames on stdout, in lockstep until EOF.

    python serve.py --profile cpu --checkpoint out

A frame is an 8-byte little-endian length and one .npy record. In come unsigned tokens (B, T), out go
float32 logits (B, T, V). This process sees inputs only, never what they should have been; it runs
the patched train.py, so what it says is checked by evaluate.py and its word is not taken for a loss.
"""

import argparse
import io
import os
import sys
from pathlib import Path

import numpy as np

DEVICES = {"cpu": "cpu", "h100x8": "cuda"}


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


def load_model(profile, checkpoint):
    """The trained model in evaluation mode; imports torch and the patched train.py."""
    import torch
    import train
    from safetensors.torch import load_model as load_weights

    torch.set_num_threads(1)
    model = train.build_model(profile)
    load_weights(model, str(checkpoint / "model.safetensors"))
    return model.to(DEVICES[profile]).eval()


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

    model = load_model(args.profile, args.checkpoint)
    while (tokens_B_T := read_frame(frames_in)) is not None:
        write_frame(frames_out, answer(model, tokens_B_T, device=DEVICES[args.profile]))


if __name__ == "__main__":
    main()
