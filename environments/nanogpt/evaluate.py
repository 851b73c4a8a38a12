"""Score what training left: the mean loss, in nats per token, on text that training never saw.

    python evaluate.py --profile cpu --outputs out --data data/train --hidden data/hidden \
        --second data/second --result result.json --cuts 512 --serve python serve.py

This process is the trusted one. It holds the hidden tokens, starts a server for the patched model,
gives it inputs only and computes the loss itself from the logits that come back. Needs numpy only.

What keeps the score honest here:
- Only every second window of a shard is scored, so no scored row contains another row's target.
- Rows go out in a secret order, in batches of one shape; their losses are put back before summing,
  so that the value does not depend on the order.
- Nothing that a server says is quoted in a reason: it could be hidden text.
- The first batch is nothing but zeros: a server that answers it has finished its start-up, and no
  hidden text lies in a pipe meanwhile.
- What a server takes from the moment at which patched code begins in it is measured from outside
  and told: a model may go on training there.
- A server that crashes, hangs, does not end by itself, or answers anything but finite logits of the
  right shape gives a reason instead of a value.
- The leak audit (`--cuts`). A server sees whole rows, so a model may answer a position with the
  help of later tokens, of other rows, or of what it was asked before. After the scored pass a fresh
  server gets the same rows in another order, but each row is cut at a random position and goes on
  with other text, and one row in eight is other text throughout. An answer at or before the cut
  must be worth the same loss again: the true future is no longer there to be used. The cuts are
  drawn after the scored pass, so a server gains nothing by recognising an audit: a loss that was
  too good in the scored pass cannot be repeated. With K cuts a leak at a fraction f of the
  positions is missed with probability (1 - f) ** K.
- A model that has memorised the hidden text is better on it than on a second one. One that has
  memorised both does not show: keeping both out of its reach is the sandbox's part.

Axes: N rows, B rows in a batch, T positions, V vocabulary, K rows with a cut.
"""

import argparse
import json
import os
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from array_frames import Form
from server_process import Refusal, Server


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What is scored, and how it is fed."""

    context: int
    vocabulary: int
    token: str
    """numpy type of a token, in the shards and in the frames."""
    hidden_rows: int
    second_rows: int
    batch: int
    """Rows in a frame; divides the sum of both."""
    seconds: float
    """Deadline of a pass. The manifest's score_seconds has room for as many as are wanted."""
    tolerance: float
    """Nats by which a loss may differ between passes. Honest models differ by nothing where this
    was measured; a leak that stays within it is worth less than a tenth of the baseline's noise."""
    gap: float | None
    """Nats by which the second text's loss may be above the hidden one's; None: not measured.
    Source: README.md; honest models came to -0.003 at most, and one that knows nothing has 0."""


PROFILES = {
    "cpu": Profile(
        context=64,
        vocabulary=256,
        token="|u1",
        hidden_rows=2048,
        second_rows=512,
        batch=32,
        seconds=50,
        tolerance=1e-3,
        gap=0.03,
    ),
    "h100x8": Profile(
        context=1024,
        vocabulary=50304,
        token="<u2",
        hidden_rows=576,
        second_rows=64,
        batch=8,
        seconds=720,
        tolerance=1e-3,
        gap=None,
    ),
}
PROFILES["secret"] = replace(PROFILES["cpu"], gap=0.12)
"""Its second text is no easier than the hidden one, and 512 rows are few: the natural gap was
-0.013 to +0.026 in five installations."""
PROFILES["smoke"] = replace(PROFILES["cpu"], hidden_rows=64, second_rows=32, gap=None)
"""Whether a patch runs at all; its value is nobody's score."""


ROWS_PER_REPLACED = 8
"""One row in so many is other text throughout in an audit pass: only that moves first tokens."""
REDRAWS = 16
"""Times that other text is drawn again where its first token is the true one by chance."""


class Rows(NamedTuple):
    """Windows of hidden text."""

    inputs_N_T: np.ndarray
    targets_N_T: np.ndarray


class Probe(NamedTuple):
    """What the server is given in an audit pass."""

    inputs_N_T: np.ndarray
    """The rows up to their cuts, and other text after them."""
    cuts_N: np.ndarray
    """Last position that is still true; -1 where the whole row is other text. A row that is cut at
    its last position is whole, and tests what the other rows do to it."""


class AuditPass(NamedTuple):
    """What one audit pass found in its rows with a cut."""

    seed: str
    replaced: int
    """Rows that were other text throughout."""
    deviations_K: np.ndarray
    """Largest difference of a loss at or before the cut to the scored pass, nats."""
    gains_K: np.ndarray
    """Loss at the cut less that of the scored pass, nats: what the true future was worth there."""


@dataclass(slots=True)
class Meter:
    """Processor time of every server that was asked to the end, None where it is not known."""

    starting: list = field(default_factory=list)
    """Up to where patched code begins."""
    answering: list = field(default_factory=list)
    """From there on."""

    def add(self, server):
        """Takes in what a server took, which has ended."""
        self.starting.append(server.starting_seconds)
        self.answering.append(server.answering_seconds)

    def measures(self):
        """Sums over the servers; nothing where one is not known."""
        if None in self.starting or None in self.answering:
            return {}
        return {
            "starting_cpu_seconds": sum(self.starting),
            "answering_cpu_seconds": sum(self.answering),
        }


class Verdict(NamedTuple):
    """How a rule was judged."""

    text: str
    """Begins with passed, violated, not judged or not audited."""
    refusal: Refusal | None = None
    """Why there is no value, if the rule says so."""


# ---------------------------------------------------------------------------- rows


def open_shards(folder, *, profile):
    """The token shards of a folder in order of their names, read where they are looked at."""
    return [np.memmap(path, profile.token, "r") for path in sorted(folder.glob("*.bin"))]


def read_rows(folder, *, count, profile):
    """The first `count` of every second window of the shards, so that no two of them touch."""
    tokens = np.concatenate(open_shards(folder, profile=profile))
    starts_N = 2 * profile.context * np.arange(count)
    windows = tokens[starts_N[:, None] + np.arange(profile.context + 1)]
    return Rows(windows[:, :-1], windows[:, 1:])


def secret_seed():
    """A seed that nobody can guess, 32 hexadecimal digits."""
    return os.urandom(16).hex()


def generator(seed):
    """The random numbers of a seed."""
    return np.random.default_rng(int(seed, 16))


def row_order(count, *, seed):
    """Permutation of the rows; row `order[i]` goes into slot i."""
    return generator(seed).permutation(count)


# ---------------------------------------------------------------------------- cuts


def draw_windows(shards, *, count, random, profile):
    """Random windows (count, T) of the shards."""
    windows = np.empty((count, profile.context), profile.token)
    for window, number in zip(windows, random.integers(len(shards), size=count), strict=True):
        start = random.integers(len(shards[number]) - profile.context + 1)
        window[:] = shards[number][start : start + profile.context]
    return windows


def draw_cuts(order, *, random, profile):
    """Cuts (N,), uniform over all positions; -1 for some rows of every batch."""
    cuts_N = random.integers(profile.context, size=len(order))
    replaced_B = np.arange(profile.batch) < max(1, profile.batch // ROWS_PER_REPLACED)
    slots = np.tile(replaced_B, (len(order) // profile.batch, 1))
    cuts_N[order[random.permuted(slots, axis=1).ravel()]] = -1
    return cuts_N


def draw_probe(inputs_N_T, order, *, data, seed, profile):
    """The rows of an audit pass.

    Args:
        inputs_N_T: The true rows.
        order: Permutation of N, that of the pass.
        data: Folder of the training shards. Other text comes from there, so that it is natural and
            holds the future of no scored row.
        seed: Same seed and order, same probe.
        profile: Batch size and token type.
    """
    random, shards = generator(seed), open_shards(data, profile=profile)
    cuts_N = draw_cuts(order, random=random, profile=profile)
    other_N_T = np.empty_like(inputs_N_T)
    first_N = np.minimum(cuts_N + 1, profile.context - 1)
    drawn = np.arange(len(order))  # rows whose other text begins like the true one are drawn again
    for _ in range(REDRAWS):
        other_N_T[drawn] = draw_windows(shards, count=len(drawn), random=random, profile=profile)
        drawn = drawn[other_N_T[drawn, first_N[drawn]] == inputs_N_T[drawn, first_N[drawn]]]
    replaced_N_T = np.arange(profile.context) > cuts_N[:, None]
    return Probe(np.where(replaced_N_T, other_N_T, inputs_N_T), cuts_N)


# ---------------------------------------------------------------------------- loss


def token_losses(logits_V, targets):
    """Negative log-likelihood in nats of each target, float64.

    Args:
        logits_V: Logits (..., V).
        targets: Tokens (...).

    Raises:
        Refusal: where a logit is not finite.
    """
    largest = logits_V.max(axis=-1, initial=-np.inf)
    if not (np.isfinite(largest).all() and np.isfinite(logits_V.min(initial=0))):
        raise Refusal("evaluate", "logits are not finite")
    with np.errstate(over="ignore"):  # of a difference: its exponential is rightly zero
        exponentials_V = np.exp(logits_V - largest[..., None])
    normalizers = np.log(exponentials_V.sum(axis=-1, dtype=np.float32).astype(np.float64))
    chosen = np.take_along_axis(logits_V, targets[..., None].astype(np.int64), axis=-1)[..., 0]
    return normalizers + largest - chosen.astype(np.float64)


def wanted_losses(logits_B_T_V, targets_B_T, wanted_B_T):
    """Losses (B, T), nan where they are not wanted; None wants all, and copies nothing."""
    if wanted_B_T is None:
        return token_losses(logits_B_T_V, targets_B_T)
    losses_B_T = np.full(targets_B_T.shape, np.nan)
    losses_B_T[wanted_B_T] = token_losses(logits_B_T_V[wanted_B_T], targets_B_T[wanted_B_T])
    return losses_B_T


def ask_logits(server, tokens_B_T, *, vocabulary):
    """Logits (B, T, V) float32 of one batch, in a buffer that the next call uses again."""
    form = Form("<f4", (*tokens_B_T.shape, vocabulary))
    return server.ask(tokens_B_T, expected=form, called="logits")


def run_pass(serve, rows, order, *, profile, meter, wanted_N_T=None):
    """One pass of a fresh server over all rows; when it returns, the server has ended.

    Args:
        serve: The server's command line.
        rows: Inputs and targets (N, T).
        order: Permutation of N; row `order[i]` goes into slot i. A second pass that is to be
            compared with a first one takes another order: what batches share then shows.
        profile: Batch size, vocabulary, deadline in seconds.
        meter: Takes in what the server took.
        wanted_N_T: Positions whose loss is wanted; None is all of them.

    Returns:
        Losses (N, T) in the order of `rows`, nats, float64; nan where they are not wanted.

    Raises:
        Refusal: the server crashed, hung or answered anything but finite logits.
    """
    losses_N_T = np.full(rows.targets_N_T.shape, np.nan)
    with Server(serve, seconds=profile.seconds) as server:
        server.greet()
        nothing_B_T = np.zeros_like(rows.inputs_N_T[: profile.batch])
        ask_logits(server, nothing_B_T, vocabulary=profile.vocabulary)
        for start in range(0, len(order), profile.batch):
            batch = order[start : start + profile.batch]
            inputs_B_T = rows.inputs_N_T[batch]
            logits_B_T_V = ask_logits(server, inputs_B_T, vocabulary=profile.vocabulary)
            wanted_B_T = None if wanted_N_T is None else wanted_N_T[batch]
            losses_N_T[batch] = wanted_losses(logits_B_T_V, rows.targets_N_T[batch], wanted_B_T)
        server.finish()
    meter.add(server)
    return losses_N_T


# ---------------------------------------------------------------------------- audit


def audit_pass(serve, rows, losses_N_T, *, data, profile, meter):
    """One pass of a fresh server over cut rows, compared with the scored pass.

    The rows come in another order than before, so that what a server carries from batch to batch
    shows. The targets are those of the true rows: at its cut a row's target is the token that was
    replaced.

    Args:
        serve: The server's command line.
        rows: The true rows.
        losses_N_T: What the scored pass gave.
        data: Folder of the training shards.
        profile: As for the scored pass.
        meter: As for the scored pass.

    Raises:
        Refusal: the server crashed, hung or answered anything but finite logits.
    """
    seed = secret_seed()
    order = row_order(len(rows.inputs_N_T), seed=seed)
    probe = draw_probe(rows.inputs_N_T, order, data=data, seed=seed, profile=profile)
    wanted_N_T = np.arange(profile.context) <= probe.cuts_N[:, None]
    changed = Rows(probe.inputs_N_T, rows.targets_N_T)
    again_N_T = run_pass(serve, changed, order, profile=profile, meter=meter, wanted_N_T=wanted_N_T)
    cut_K = np.flatnonzero(probe.cuts_N >= 0)
    moved_K_T = np.where(wanted_N_T, again_N_T - losses_N_T, 0)[cut_K]
    gains_K = np.take_along_axis(moved_K_T, probe.cuts_N[cut_K, None], axis=1)[:, 0]
    replaced = len(order) - len(cut_K)
    return AuditPass(seed, replaced, np.abs(moved_K_T).max(axis=1), gains_K)


class Audit:
    """Audit passes until enough cuts were made, one has moved, or a server failed."""

    def __init__(self, *, tolerance):
        self.tolerance = tolerance
        self.passes = []
        self.refusal = None

    def run(self, cuts, once):
        """Makes at least `cuts` cuts; `once` does one pass."""
        try:
            while self.cuts < cuts and not self.moved:
                self.passes.append(once())
        except Refusal as refusal:
            reason = f"audit pass {len(self.passes) + 1}: {refusal}"
            self.refusal = Refusal(refusal.blame, reason)

    @property
    def deviations_K(self):
        """Of the rows with a cut, in all passes."""
        return np.concatenate([[], *(found.deviations_K for found in self.passes)])

    @property
    def cuts(self):
        """Rows with a cut in all passes."""
        return len(self.deviations_K)

    @property
    def moved(self):
        """Rows whose loss differs from that of the scored pass."""
        return int(np.count_nonzero(~(self.deviations_K <= self.tolerance)))

    def measures(self):
        """What the passes that were finished came to; nothing where there was none."""
        if not self.passes:
            return {}
        return {
            "cuts": self.cuts,
            "audit_passes": len(self.passes),
            "largest_deviation": float(self.deviations_K.max()),
            "leak": float(np.concatenate([found.gains_K for found in self.passes]).mean()),
        }


# ---------------------------------------------------------------------------- judging


def judge_gap(gap, *, profile):
    """Whether the hidden text is predicted better than the second by more than honest models do.

    Args:
        gap: Loss on the second text less loss on the hidden one, nats.
        profile: Largest gap of an honest model. A low one is harmless: it gains nothing.
    """
    if profile.gap is None:
        return Verdict("not judged: the natural gap was not measured")
    found = f"loss on the second text less loss on the hidden one is {gap:+.4f} nats"
    bound = f"at most {profile.gap:+} without memorising"
    if gap <= profile.gap:
        return Verdict(f"passed: {found}, {bound}")
    reason = f"{found}, {bound}: the model knows the hidden text itself"
    return Verdict(f"violated: {reason}", Refusal("guard", reason))


def judge_audit(audit, *, order_seed):
    """Whether every answer was the same without the true future.

    Args:
        audit: The passes.
        order_seed: Of the scored pass. Those of the audit passes reproduce their order and cuts.
    """
    if audit.refusal is not None:
        return Verdict(f"not judged: {audit.refusal}", audit.refusal)
    if not audit.passes:
        return Verdict("not audited: no cuts were asked for")
    count, measures = len(audit.passes), audit.measures()
    seeds = f"seeds: order {order_seed}, cuts {' '.join(found.seed for found in audit.passes)}"
    passes = f"{count} pass" if count == 1 else f"{count} passes"
    replaced = sum(found.replaced for found in audit.passes)
    extent = f"in {passes}, {replaced} rows replaced"
    largest = f"largest deviation {measures['largest_deviation']:.3g}"
    if not audit.moved:
        return Verdict(f"passed: {audit.cuts} cuts {extent}, {largest}, {seeds}")
    reason = (
        f"answers moved in {audit.moved} of {audit.cuts} rows although only later text or other "
        f"rows had changed ({largest} nats, mean gain at the cut {measures['leak']:.3g} nats): the "
        "model looks ahead, mixes rows, carries state from batch to batch, or is random"
    )
    return Verdict(f"violated: {reason}; {extent}, {seeds}", Refusal("guard", reason))


def score(serve, *, hidden, second, profile, data=None, cuts=0):
    """The result of one evaluation, ready to be written.

    Args:
        serve: The server's command line.
        hidden: Folder of the shard whose loss is the value.
        second: Folder of the shard whose loss is only a measure: memorised text shows as a gap.
        profile: What is scored.
        data: Folder of the training shards, for the audit.
        cuts: Least number of cuts of the leak audit; 0 is no audit.
    """
    parts = [
        read_rows(hidden, count=profile.hidden_rows, profile=profile),
        read_rows(second, count=profile.second_rows, profile=profile),
    ]
    rows = Rows(*(np.concatenate(part) for part in zip(*parts, strict=True)))
    seed = secret_seed()
    order = row_order(len(rows.inputs_N_T), seed=seed)
    meter = Meter()
    try:
        losses_N_T = run_pass(serve, rows, order, profile=profile, meter=meter)
    except Refusal as refusal:
        return result(verdicts={"finite": Verdict(f"violated: {refusal}", refusal)}, measures={})
    value, other = (
        float(part.mean()) for part in np.split(losses_N_T, [profile.hidden_rows], axis=0)
    )
    audit = Audit(tolerance=profile.tolerance)
    again = {"data": data, "profile": profile, "meter": meter}
    audit.run(cuts, lambda: audit_pass(serve, rows, losses_N_T, **again))
    verdicts = {
        "finite": Verdict(f"passed: {losses_N_T.size} token losses"),
        "causal": judge_audit(audit, order_seed=seed),
        "memorised": judge_gap(other - value, profile=profile),
    }
    tokens = profile.hidden_rows * profile.context
    measures = {"second": other, "tokens": tokens} | meter.measures() | audit.measures()
    return result(value=value, verdicts=verdicts, measures=measures)


def result(*, verdicts, measures, value=None):
    """The result file's content; the first refusal among the verdicts takes the value away."""
    refusals = [verdict.refusal for verdict in verdicts.values() if verdict.refusal]
    return {
        "metric": "val_loss",
        "value": None if refusals else value,
        "reason": str(refusals[0]) if refusals else None,
        "blame": refusals[0].blame if refusals else None,
        "verdicts": {name: verdict.text for name, verdict in verdicts.items()},
        "measures": measures,
    }


def write_result(path, content):
    """Writes the result file by rename."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    os.replace(partial, path)


def parse_arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", choices=sorted(PROFILES), required=True)
    parser.add_argument("--outputs", type=Path, required=True, help="what training left")
    parser.add_argument("--data", type=Path, help="folder with the training shards, for the audit")
    parser.add_argument("--hidden", type=Path, required=True, help="folder of the hidden shard")
    parser.add_argument("--second", type=Path, required=True, help="folder of the second shard")
    parser.add_argument("--result", type=Path, required=True, help="JSON file to write")
    parser.add_argument(
        "--cuts",
        type=int,
        default=0,
        help="least number of cuts of the leak audit, one more pass each 2240 (cpu) or 560 "
        "(h100x8); 512 for a score, 8192 for a winner, 0 for no audit",
    )
    parser.add_argument(
        "--serve", nargs=argparse.REMAINDER, required=True, help="command of a server; goes last"
    )
    args = parser.parse_args()
    if args.cuts > 0 and args.data is None:
        parser.error("--cuts needs --data: the audit takes other text from the training shards")
    return args


def main():
    """Exit code 0 whenever a result was written, whatever it says."""
    args = parse_arguments()
    content = score(
        [*args.serve, "--profile", args.profile, "--checkpoint", str(args.outputs)],
        hidden=args.hidden,
        second=args.second,
        profile=PROFILES[args.profile],
        data=args.data,
        cuts=args.cuts,
    )
    write_result(args.result, content)
    print(json.dumps(content), file=sys.stderr)


if __name__ == "__main__":
    main()
