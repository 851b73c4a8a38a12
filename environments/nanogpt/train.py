"""Train a GPT-2 on next-token prediction: one file, one story, read from top to bottom.

    python train.py --profile cpu --seed 0 --data data/train --out out --budget-seconds 120

This is the file that ideas edit. Model, optimizer, schedule and batches are the paper's baseline:
GPT-2 with RMSNorm without gain, learned positions, a tied head and AdamW. What training leaves is
`model.safetensors` in `--out`, written by rename, so that it is whole or not there at all.
serve.py imports this file, builds the model with `build_model(profile)`, loads the weights into it
and asks `forward(tokens) -> logits`; a patch may change everything else. Nothing here measures the
score: evaluate.py does, on data that this file never sees.

Axes: B sequences in a batch, T positions, C channels, V vocabulary.
"""

import argparse
import math
import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import save_model
from torch import nn
from torch.nn import functional as F

STARTED = time.monotonic()

# ---------------------------------------------------------------------------- hyper-parameters

STEPS = 500
"""Optimizer steps of profile `cpu`, whose limit is CPU time: costlier steps need fewer of them."""

LEARNING_RATE = 1.5e-3
BETA1 = 0.9
BETA2 = 0.95
WEIGHT_DECAY = 0.1
GRADIENT_CLIP = 1.0
FINAL_LEARNING_RATE = 0.09
"""Where the linear decay ends, as a fraction of LEARNING_RATE."""

EMBEDDING_STD = 0.02
ATTENTION_DIVISOR = 24
"""Attention output is divided by its square root: twice the layers of GPT-2 124M."""

RESERVE_SECONDS = 60
"""Part of the wall budget kept for compiling at the start and saving at the end (not `cpu`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A size of the same training: nothing but the machine and how much of everything."""

    device: str
    processes: int
    layers: int
    width: int
    heads: int
    context: int
    vocabulary: int
    batch: int
    """Sequences per optimizer step, over all processes."""
    warmup: int
    """Steps until the learning rate is reached."""
    steps: int | None
    """Length of the training; None trains as long as the wall budget lasts."""


PROFILES = {
    "cpu": Profile(
        device="cpu",
        processes=1,
        layers=2,
        width=64,
        heads=2,
        context=64,
        vocabulary=256,
        batch=8,
        warmup=10,
        steps=STEPS,
    ),
    "h100x8": Profile(
        device="cuda",
        processes=8,
        layers=12,
        width=768,
        heads=12,
        context=1024,
        vocabulary=50304,
        batch=256,
        warmup=256,
        steps=None,
    ),
}
PROFILES["secret"] = PROFILES["cpu"]  # other data
PROFILES["smoke"] = replace(PROFILES["cpu"], warmup=2, steps=5)  # whether a patch runs at all

# ---------------------------------------------------------------------------- model


class Norm(nn.Module):
    """Root-mean-square norm over the channels, without a gain."""

    def __init__(self, width):
        super().__init__()
        self.shape = (width,)

    def forward(self, x_B_T_C):
        """Same shape in and out."""
        return F.rms_norm(x_B_T_C, self.shape)


class Attention(nn.Module):
    """Causal self-attention."""

    def __init__(self, profile):
        super().__init__()
        self.heads = profile.heads
        self.qkv = nn.Linear(profile.width, 3 * profile.width, bias=False)
        self.out = nn.Linear(profile.width, profile.width, bias=False)

    def forward(self, x_B_T_C):
        """Same shape in and out."""
        B, T, C = x_B_T_C.shape
        q, k, v = (
            part.view(B, T, self.heads, C // self.heads).transpose(1, 2)
            for part in self.qkv(x_B_T_C).split(C, dim=2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        y_B_T_C = y.transpose(1, 2).reshape(B, T, C)
        return self.out(y_B_T_C) / math.sqrt(ATTENTION_DIVISOR)


class MLP(nn.Module):
    """Two layers, four times as wide between them."""

    def __init__(self, profile):
        super().__init__()
        self.up = nn.Linear(profile.width, 4 * profile.width, bias=False)
        self.down = nn.Linear(4 * profile.width, profile.width, bias=False)

    def forward(self, x_B_T_C):
        """Same shape in and out."""
        hidden = F.gelu(self.up(x_B_T_C))
        return self.down(hidden)


class Block(nn.Module):
    """Attention, then the MLP, each on normed input and added to the residual stream."""

    def __init__(self, profile):
        super().__init__()
        self.norm1 = Norm(profile.width)
        self.attention = Attention(profile)
        self.norm2 = Norm(profile.width)
        self.mlp = MLP(profile)

    def forward(self, x_B_T_C):
        """Same shape in and out."""
        x_B_T_C = x_B_T_C + self.attention(self.norm1(x_B_T_C))
        x_B_T_C = x_B_T_C + self.mlp(self.norm2(x_B_T_C))
        return x_B_T_C


class GPT(nn.Module):
    """Token and position embeddings, the blocks, and a head that shares the token embedding."""

    def __init__(self, profile):
        super().__init__()
        self.tokens = nn.Embedding(profile.vocabulary, profile.width)
        self.positions = nn.Embedding(profile.context, profile.width)
        self.blocks = nn.ModuleList(Block(profile) for _ in range(profile.layers))
        self.norm = Norm(profile.width)
        self.head = nn.Linear(profile.width, profile.vocabulary, bias=False)
        self.head.weight = self.tokens.weight
        self.init_weights()

    def init_weights(self):
        """Small embeddings; linear layers keep torch's own initialisation."""
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=EMBEDDING_STD)

    def forward(self, tokens_B_T):
        """Logits (B, T, V) of the token after each position."""
        x_B_T_C = self.tokens(tokens_B_T)
        x_B_T_C = x_B_T_C + self.positions.weight[: tokens_B_T.size(1)]
        for block in self.blocks:
            x_B_T_C = block(x_B_T_C)
        x_B_T_C = self.norm(x_B_T_C)
        logits_B_T_V = self.head(x_B_T_C)
        return logits_B_T_V


def build_model(profile_name):
    """The untrained model of a profile. serve.py calls it too, before it loads the weights."""
    return GPT(PROFILES[profile_name])


# ---------------------------------------------------------------------------- optimizer


def build_optimizers(model):
    """One AdamW over all parameters."""
    parameters = list(model.parameters())
    adamw = torch.optim.AdamW(
        parameters,
        lr=LEARNING_RATE,
        betas=(BETA1, BETA2),
        weight_decay=WEIGHT_DECAY,
        fused=True,
    )
    return [adamw]


def decay(progress):
    """Fraction of the learning rate after `progress` (0 to 1) of the training: linear."""
    return 1 - (1 - FINAL_LEARNING_RATE) * progress


def set_learning_rates(optimizers, *, step, progress, warmup):
    """Warm-up by steps, decay by progress."""
    factor = min(1.0, (step + 1) / warmup) * decay(progress)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group.setdefault("peak", group["lr"])
            group["lr"] = group["peak"] * factor


def loss_of(logits_B_T_V, targets_B_T):
    """Mean cross-entropy in nats."""
    logits = logits_B_T_V.float().flatten(0, 1)
    return F.cross_entropy(logits, targets_B_T.flatten())


# ---------------------------------------------------------------------------- data


class Batches:
    """Windows at random places of the token shards; every process draws from its own stream."""

    def __init__(self, folder, profile, *, seed, rank):
        dtype = np.uint8 if profile.vocabulary <= 256 else np.dtype("<u2")
        self.shards = [np.memmap(path, dtype, "r") for path in sorted(folder.glob("*.bin"))]
        self.profile = profile
        self.rows = profile.batch // profile.processes
        self.random = torch.Generator().manual_seed(1000 * seed + rank)

    def draw(self):
        """Inputs and targets (B, T), the targets one token later."""
        shard = self.shards[self.below(len(self.shards), 1)[0]]
        length = self.profile.context + 1
        starts = self.below(len(shard) - length, self.rows)
        windows = np.stack([shard[start : start + length] for start in starts]).astype(np.int64)
        tokens = torch.from_numpy(windows).to(self.profile.device)
        return tokens[:, :-1], tokens[:, 1:]

    def below(self, limit, count):
        """`count` random integers from 0 to below `limit`."""
        return torch.randint(limit, (count,), generator=self.random).tolist()


# ---------------------------------------------------------------------------- training


def start_all_processes(profile):
    """Starts this command again under torchrun, where a profile wants more than one process."""
    if profile.processes > 1 and "RANK" not in os.environ:
        torchrun = ["-m", "torch.distributed.run", "--standalone"]
        torchrun.append(f"--nproc-per-node={profile.processes}")
        os.execv(sys.executable, [sys.executable, *torchrun, *sys.argv])
    if profile.processes > 1:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("nccl")
        return dist.get_rank()
    torch.set_num_threads(1)
    return 0


def progress_of(step, profile, *, budget_seconds):
    """How much of the training is done: steps where they are fixed, else time, as rank 0 sees it."""
    if profile.steps is not None:
        return step / profile.steps
    elapsed = torch.tensor(time.monotonic() - STARTED, device=profile.device)
    dist.broadcast(elapsed, 0)
    return elapsed.item() / (budget_seconds - RESERVE_SECONDS)


def save(model, out):
    """Writes the checkpoint by rename."""
    out.mkdir(parents=True, exist_ok=True)
    partial = out / ".model.safetensors.partial"
    save_model(model, str(partial))
    os.replace(partial, out / "model.safetensors")


def train(profile_name, *, seed, data, out, budget_seconds):
    """The whole training."""
    profile = PROFILES[profile_name]
    rank = start_all_processes(profile)
    torch.manual_seed(seed)
    model = build_model(profile_name).to(profile.device)
    forward = model
    if profile.processes > 1:
        forward = nn.parallel.DistributedDataParallel(torch.compile(model))
    optimizers = build_optimizers(model)
    batches = Batches(data, profile, seed=seed, rank=rank)
    bf16 = torch.autocast(profile.device, torch.bfloat16, enabled=profile.device == "cuda")

    step = 0
    while (progress := progress_of(step, profile, budget_seconds=budget_seconds)) < 1:
        set_learning_rates(optimizers, step=step, progress=progress, warmup=profile.warmup)
        inputs_B_T, targets_B_T = batches.draw()
        with bf16:
            logits_B_T_V = forward(inputs_B_T)
        loss = loss_of(logits_B_T_V, targets_B_T)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_CLIP)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        step += 1
        if rank == 0 and step % 50 == 0:
            print(f"step {step}  {progress:.0%}  training loss {loss.item():.4f}", flush=True)

    if rank == 0:
        save(model, out)
    if profile.processes > 1:
        dist.destroy_process_group()


def main():
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", choices=sorted(PROFILES), required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder with the training shards")
    parser.add_argument("--out", type=Path, required=True, help="folder for model.safetensors")
    parser.add_argument(
        "--budget-seconds", type=float, required=True, help="wall clock; binds where steps do not"
    )
    args = parser.parse_args()
    train(
        args.profile,
        seed=args.seed,
        data=args.data,
        out=args.out,
        budget_seconds=args.budget_seconds,
    )


if __name__ == "__main__":
    main()
