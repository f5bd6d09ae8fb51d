"""Loading one split of a catalogued data set or of an `.npz` file into memory, as it is stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from landscape_core.catalogue import DatasetFacts, facts, read_idx, split_files
from landscape_core.catalogue.data import (
    CIFAR10_RECORD,
    TEXT_SAMPLE,
    TEXT_SAMPLE_LENGTH,
    TEXT_SAMPLE_SPLITS,
    dataset_entry,
    holds_tokens,
)
from landscape_core.errors import DatasetRejected, InvalidRequest, NotFound
from landscape_core.reading import read_dataset


@dataclass(frozen=True)
class Examples:
    """One split of a data set, as it is stored.

    Attributes:
        x: (N, H, W, C), (N, H, W) or (N, F) uint8, or floating: (N, C, H, W), (N, H, W) or (N, F); or (N, T) token ids of any
            other integer type.
        y: (N,) labels from 0, of any integer type; for tokens (N, T), the one that follows each.
        facts: What is known of the whole data set.

    Example:
        >>> examples = Examples.from_arrays(np.zeros((5, 8, 8, 3), np.uint8), np.array([0, 1, 2, 1, 0]))
        >>> examples.facts.shape, examples.facts.classes
        ((3, 8, 8), 3)
    """

    x: np.ndarray
    y: np.ndarray
    facts: DatasetFacts

    def __post_init__(self) -> None:
        wanted = self.x.shape if holds_tokens(self.x.dtype.name) else self.x.shape[:1]
        if self.y.shape != wanted or self.y.size == 0:
            raise DatasetRejected(
                f"x has the shape {self.x.shape} and y {self.y.shape}; expected as many labels as examples (of tokens, as many "
                "as tokens), and at least one."
            )
        if self.y.dtype.kind not in "iu" or int(self.y.min()) < 0:
            raise DatasetRejected(f"The labels y are {self.y.dtype} from {self.y.min()}; expected whole numbers from 0.")
        if holds_tokens(self.x.dtype.name) and int(self.x.min()) < 0:
            raise DatasetRejected(f"x holds the token id {self.x.min()}; expected ids from 0.")
        if int(self.y.max()) >= self.facts.classes:
            raise DatasetRejected(
                f"A label is {self.y.max()}, but {self.facts.title} has the classes 0 to {self.facts.classes - 1}; "
                "the file is damaged or another."
            )
        if self.x.dtype.kind not in "fiu":
            raise DatasetRejected(
                f"x is {self.x.dtype}; expected uint8 images, floating numbers that are used as they are, or token ids of "
                "another integer type."
            )
        if example_shape(self.x) != self.facts.shape:
            raise DatasetRejected(
                f"x holds examples of the shape {example_shape(self.x)}, but the data set is said to have {self.facts.shape}."
            )

    @classmethod
    def from_arrays(cls, x: np.ndarray, y: np.ndarray, name: str = "arrays") -> Examples:
        """Examples that are not from a file, as a data set with a train split only.

        Args:
            x: See `Examples.x`.
            y: (N,) labels from 0; for tokens (N, T).
            name: The data set's id and title.

        Raises:
            DatasetRejected: They are no examples and labels.
        """
        return cls(x, y, facts_of(name, name, {"train": len(x)}, x, y))


def example_shape(x: np.ndarray) -> tuple[int, ...]:
    """(channels, height, width) or (features,) of one example of a stored array.

    uint8 images of four dimensions are (N, H, W, C); floating ones are (N, C, H, W), as the network takes them. Sequences of
    tokens are (N, T).

    Raises:
        DatasetRejected: The array has no such form.
    """
    if holds_tokens(x.dtype.name) and x.ndim != 2:
        raise DatasetRejected(f"x of {x.dtype} has {x.ndim} dimensions; expected token ids (N, T), or uint8 for pixels.")
    if x.ndim == 2:
        return (x.shape[1],)
    if x.ndim == 3:
        return (1, x.shape[1], x.shape[2])
    if x.ndim == 4:
        rest = x.shape[1:]
        return (rest[2], rest[0], rest[1]) if x.dtype == np.uint8 else tuple(rest)
    raise DatasetRejected(f"x has {x.ndim} dimensions; expected images (N, H, W, C) or (N, H, W), or rows of numbers (N, F).")


def facts_of(name: str, title: str, splits: dict[str, int], x: np.ndarray, *labels: np.ndarray) -> DatasetFacts:
    """What is known of a data set that is not in the catalogue.

    Args:
        name: Its id: the SHA-256 of its file.
        title: For people.
        splits: Name of each split -> how many examples it has.
        x: The examples of one split.
        *labels: The labels of every split; for tokens also the examples of the other.

    Raises:
        DatasetRejected: x has no form that examples can have.
    """
    ids = (*labels, x) if holds_tokens(x.dtype.name) else labels
    classes = 1 + max((int(y.max()) for y in ids if y.size), default=0)
    return DatasetFacts(
        id=name, title=title, splits=splits, shape=example_shape(x), dtype=x.dtype.name, classes=classes, source="uploaded"
    )


def load_dataset(name: str | Path, split: str, folder: Path) -> Examples:
    """One split of a data set, in memory.

    Args:
        name: A catalogued name, or the path of an `.npz` with x and y (and x_test, y_test for its test split).
        split: `train` or `test`.
        folder: Where catalogued data sets are kept.

    Returns:
        The examples as they are stored; see `prepare`.

    Raises:
        NotFound: There is no such data set, or its files are not on this machine; the text says where they belong.
        DatasetRejected: Its files are damaged.
        InvalidRequest: It has no such split.

    Example:
        >>> np.savez("mine.npz", x=np.zeros((5, 2), np.float32), y=np.array([0, 1, 0, 1, 1]))
        >>> load_dataset(Path("mine.npz"), "train", Path(".")).facts.splits["train"]
        5
    """
    path = Path(name)
    if path.suffix == ".npz":
        return _from_npz(path, split)
    entry = dataset_entry(str(name))
    known = facts(entry.id, folder)
    if known is None:
        raise NotFound(f"{entry.title} is not on this machine; put its files into {_place(entry.id, folder)}.")
    if split not in known.splits:
        raise InvalidRequest(f"{entry.title} on this machine has no {split} split.", field="data.split")
    files = split_files(entry.id, split, folder)
    if entry.id == "fashion-mnist-sample":
        x, y = _sample(files[0], split)
    elif entry.id == TEXT_SAMPLE:
        x, y = _token_sample(files[0], split)
    elif entry.id == "cifar10":
        x, y = _cifar10(files)
    else:
        x, y = read_idx(files[0]), read_idx(files[1])
    return Examples(x, y, known)


def _place(name: str, folder: Path) -> str:
    if name == "cifar10":
        return f"{folder / 'cifar-10-batches-bin'} (data_batch_1.bin … test_batch.bin of the binary version)"
    debian = ", or install Debian's package dataset-fashion-mnist" if name == "fashion-mnist" else ""
    return f"{folder / name} (train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-…){debian}"


def _from_npz(path: Path, split: str) -> Examples:
    contents = read_dataset(path)
    arrays = {"train": (contents.x, contents.y), "test": (contents.x_test, contents.y_test)}
    labels = [y for _, y in arrays.values() if y is not None]
    if holds_tokens(contents.x.dtype.name) and contents.x_test is not None:
        labels.append(contents.x_test)
    known = facts_of(path.stem, path.name, contents.splits, contents.x, *labels)
    x, y = arrays[split]
    if x is None or y is None:
        raise InvalidRequest(
            f"{path.name} has no {split} split; x_test and y_test would be its test split.", field="data.split"
        )
    return Examples(x, y, known)


def _sample(path: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return file[f"x_{split}"], file[f"y_{split}"]


def _token_sample(path: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Sequences of bytes without overlap, in the order of the text, and the byte after each byte."""
    text = np.frombuffer(path.read_bytes(), np.uint8).astype(np.int32)
    count = sum(TEXT_SAMPLE_SPLITS.values())
    x, y = (text[start : start + count * TEXT_SAMPLE_LENGTH].reshape(count, -1) for start in (0, 1))
    first = TEXT_SAMPLE_SPLITS["train"]
    part = slice(first) if split == "train" else slice(first, None)
    return x[part], y[part]


def _cifar10(files: tuple[Path, ...]) -> tuple[np.ndarray, np.ndarray]:
    records = []
    for file in files:
        flat = np.fromfile(file, np.uint8)
        if flat.size == 0 or flat.size % CIFAR10_RECORD:
            raise DatasetRejected(
                f"{file.name} has {flat.size} bytes, which is no whole number of CIFAR-10's {CIFAR10_RECORD}-byte records; "
                "fetch the binary version again."
            )
        records.append(flat.reshape(-1, CIFAR10_RECORD))
    whole = np.concatenate(records)
    images = whole[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return images, whole[:, 0]
