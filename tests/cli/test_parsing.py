from __future__ import annotations

from pathlib import Path

import pytest

from cli.parsing import Principal, Towards, parse_direction, parse_grid, parse_standardisation
from landscape_core.errors import InvalidRequest
from landscape_core.requests import Axis, Grid, HessianDirection, RandomDirection


@pytest.mark.parametrize(
    ("text", "grid"),
    [
        ("-1:1:51x-1:1:51", Grid(x=Axis(start=-1, stop=1, points=51), y=Axis(start=-1, stop=1, points=51))),
        ("-.5:1e1:3×0:0:1", Grid(x=Axis(start=-0.5, stop=10, points=3), y=Axis(start=0, stop=0, points=1))),
        ("0:1:501x-2:-1:2", Grid(x=Axis(start=0, stop=1, points=501), y=Axis(start=-2, stop=-1, points=2))),
    ],
)
def test_grids(text, grid):
    assert parse_grid(text, curve=False) == grid


def test_a_curve_has_one_axis():
    assert parse_grid("-1:1:9", curve=True) == Grid(x=Axis(start=-1, stop=1, points=9))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("-1:1:0x-1:1:5", "along x should be from 1 to 501, but 0 came"),
        ("-1:1:5x-1:1:-3", "along y should be from 1 to 501, but -3 came"),
        ("-1:1:10000x-1:1:5", "along x should be from 1 to 501, but 10,000 came"),
        ("-1:1:abcx-1:1:5", "along x should be a whole number from 1 to 501, but 'abc' came"),
        ("-1:1:5.5x-1:1:5", "a whole number"),
        ("-1:1:5x1:-1:5", "The y axis should start below where it stops, but 1 is not below -1"),
        ("1:1:5x-1:1:5", "1 is not below 1"),
        ("a:1:5x-1:1:5", "The x axis needs numbers, but 'a' came"),
        ("nan:1:5x-1:1:5", "between -1e6 and 1e6"),
        ("-inf:1:5x-1:1:5", "between -1e6 and 1e6"),
        ("-1:1x-1:1:5", "An axis is start:stop:points"),
        ("", "--grid takes two axes"),
        ("-1:1:5", "or add --curve"),
        ("-1:1:5x-1:1:5x-1:1:5", "--grid takes two axes"),
    ],
)
def test_grids_that_cannot_be(text, sentence):
    with pytest.raises(InvalidRequest) as refused:
        parse_grid(text, curve=False)
    assert sentence in str(refused.value)


def test_a_curve_refuses_two_axes():
    with pytest.raises(InvalidRequest, match="one axis for a curve"):
        parse_grid("-1:1:5x-1:1:5", curve=True)


def test_directions():
    assert parse_direction("random:7", "--x") == RandomDirection(seed=7)
    assert parse_direction("file:a:b.h5", "--x") == Path("a:b.h5")
    assert parse_direction("towards:a:b.pt", "--x") == Towards(Path("a:b.pt"))
    assert parse_direction("principal:2", "--x") == Principal(2)
    assert parse_direction("hessian:-1", "--x") == HessianDirection(index=-1, examples=512)
    assert parse_direction("hessian:2:99", "--x") == HessianDirection(index=2, examples=99)


@pytest.mark.parametrize(
    "text", ["towards:", "principal", "hessian", "random", "", "file:", "x", "random:", "random:-1", f"random:{2**63}"]
)
def test_directions_that_cannot_be(text):
    with pytest.raises(
        InvalidRequest,
        match=r"--y (takes random:SEED, towards:CHECKPOINT, principal:NUMBER, hessian:NUMBER or file:DIRECTIONS.h5|random:SEED needs)",
    ):
        parse_direction(text, "--y")


def test_standardisation():
    assert parse_standardisation(None, None) is None
    given = parse_standardisation("0.5,0.25, 0", "1,2,3")
    assert given is not None
    assert (given.mean, given.std) == ((0.5, 0.25, 0.0), (1.0, 2.0, 3.0))


@pytest.mark.parametrize(
    ("mean", "std", "sentence"),
    [
        ("1", None, "belong together"),
        (None, "1", "belong together"),
        ("1,2", "1", "--mean has 2 numbers and --std 1"),
        ("1,b", "1,1", "--mean takes numbers"),
        ("1", "0", "--std should be positive"),
        ("nan", "1", "finite numbers"),
        ("", "1", "--mean takes numbers"),
    ],
)
def test_standardisations_that_cannot_be(mean, std, sentence):
    with pytest.raises(InvalidRequest) as refused:
        parse_standardisation(mean, std)
    assert sentence in str(refused.value)
