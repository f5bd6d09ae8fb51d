"""Options of planes that more than one command has."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, get_args

import click

from landscape_core.requests import Norm

DIRECTION_HELP = "First direction: random:SEED, towards:CHECKPOINT, principal:NUMBER, hessian:NUMBER or file:DIRECTIONS.h5."

_SCALED = (
    click.option("--curve", is_flag=True, help="One direction only."),
    click.option(
        "--norm", type=click.Choice(get_args(Norm)), default="filter", show_default=True, help="Of random directions."
    ),
    click.option("--ignore", type=click.Choice(["biasbn", "none"]), default="biasbn", show_default=True, help="What stays."),
    click.option("--of", type=click.Choice(["weights", "states"]), default="weights", show_default=True, help="What moves."),
)


def scaled_directions(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command --curve, --norm, --ignore and --of."""
    return reduce(lambda made, option: option(made), reversed(_SCALED), command)


class WithManyFiles(click.Command):
    """A command whose `--checkpoints` takes all words up to the next option, as a shell's `epoch_*.pt` makes them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Takes the words, each file with an option of its own."""
        words: list[str] = []
        listing = False
        for position, word in enumerate(args):
            if word == "--checkpoints":
                listing = True
                if position + 1 == len(args) or args[position + 1].startswith("-"):
                    raise click.BadOptionUsage(word, f"Option {word!r} requires an argument.", ctx)
                continue
            listing = listing and not word.startswith("-")
            words += ["--checkpoints", word] if listing else [word]
        return super().parse_args(ctx, words)
