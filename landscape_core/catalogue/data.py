"""The catalogued data sets, and which of them are on this machine. numpy only.

A data set's files are looked for in this order:

    fashion-mnist-sample    always there: it ships with the package
    devils-dictionary       always there, too: text as bytes, for language models
    fashion-mnist           <folder>/fashion-mnist/ or FashionMNIST/raw/, then Debian's package; IDX files, .gz or not
    mnist                   <folder>/mnist/ or MNIST/raw/ (where torchvision puts them); IDX files, .gz or not
    cifar10                 <folder>/cifar-10-batches-bin/ or <folder>/cifar10/; the "binary version", which has no pickles
"""

from __future__ import annotations

from pathlib import Path

from landscape_core.catalogue.idx import idx_shape
from landscape_core.errors import DatasetRejected, NotFound
from landscape_core.requests import Message

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
SAMPLE_FILE = Path(__file__).parent / "samples" / "fashion-mnist-sample.npz"

SAMPLE_SPLITS = {"train": 3000, "test": 1000}
"""Examples in the shipped sample; a test holds it against the file."""

TEXT_SAMPLE = "devils-dictionary"
TEXT_SAMPLE_FILE = SAMPLE_FILE.with_name("devils-dictionary.txt")
TEXT_SAMPLE_LENGTH = 64
"""Tokens in one sequence of the shipped text; each token is a byte, whose label is the byte after it."""

TEXT_SAMPLE_SPLITS = {"train": 512, "test": 128}
"""Sequences in the shipped text, the test sequences after the others; a test holds them against the file."""

SHIPPED = {"fashion-mnist-sample": SAMPLE_SPLITS, TEXT_SAMPLE: TEXT_SAMPLE_SPLITS}

CIFAR10_RECORD = 1 + 3 * 32 * 32
"""Bytes of one example in CIFAR-10's binary version: the label, then the red, green and blue planes."""

CIFAR10_FILES = {"train": tuple(f"data_batch_{n}.bin" for n in range(1, 6)), "test": ("test_batch.bin",)}
IDX_STEMS = {"train": "train", "test": "t10k"}


class DatasetEntry(Message):
    """A catalogued data set, whether or not it is on this machine.

    Attributes:
        id: What a request's `data.dataset` takes.
        title: For people.
        shape: (channels, height, width) of one example; (tokens,) of a sequence.
        dtype: numpy name of the stored type, as in `DatasetFacts`.
        classes: How many classes its labels have; one more than the largest id of a token.
        preprocessing: The name of the preprocessing that is usual for it.
        source: Where it comes from, and its licence.

    Example:
        >>> entry = dataset_entry("cifar10")
        >>> entry.title, entry.shape, entry.classes
        ('CIFAR-10', (3, 32, 32), 10)
    """

    id: str
    title: str
    shape: tuple[int, ...]
    dtype: str = "uint8"
    classes: int
    preprocessing: str
    source: str


class DatasetFacts(Message):
    """What is known of a data set without holding its examples.

    Attributes:
        id: Catalogued name, or SHA-256 of an uploaded file.
        title: For people.
        splits: Name of each split -> how many examples it has.
        shape: (channels, height, width) or (features,) of one example; (tokens,) of a sequence.
        dtype: numpy name of the stored type; `uint8` is scaled to [0, 1], floating types are taken as they are, and other
            whole numbers are ids of tokens.
        classes: How many classes: one more than the largest label; one more than the largest id of a token.
        preprocessing: The name of the preprocessing that is usual for it.
        source: Where it comes from, and its licence.

    Example:
        >>> mine = DatasetFacts(id="mine", title="Mine", splits={"train": 100}, shape=(64,), dtype="int32", classes=50)
        >>> mine.holds_tokens, mine.decisions  # 64 tokens a sequence
        (True, 64)
    """

    id: str
    title: str
    splits: dict[str, int]
    shape: tuple[int, ...]
    dtype: str = "uint8"
    classes: int
    preprocessing: str = "none"
    source: str = ""

    @property
    def holds_tokens(self) -> bool:
        """Whether an example is a sequence of token ids, with the token that follows as the label of each."""
        return holds_tokens(self.dtype)

    @property
    def decisions(self) -> int:
        """How many decisions an example asks for: 1, or the tokens of a sequence."""
        return self.shape[0] if self.holds_tokens else 1


def holds_tokens(dtype: str) -> bool:
    """Whether data of this stored type are ids of tokens: whole numbers, but not uint8, which are pixels.

    Args:
        dtype: Its numpy name.

    Example:
        >>> holds_tokens("uint16"), holds_tokens("uint8"), holds_tokens("float32")
        (True, False, False)
    """
    return "int" in dtype and dtype != "uint8"


def datasets() -> list[DatasetEntry]:
    """All catalogued data sets; `available_datasets` tells which are on this machine.

    Example:
        >>> {"cifar10", "mnist", "fashion-mnist"} <= {entry.id for entry in datasets()}
        True
    """
    zalando = "Zalando Research, Fashion-MNIST (Xiao, Rasul, Vollgraf 2017), MIT licence"

    def entry(name: str, title: str, shape: tuple[int, ...], preprocessing: str, source: str) -> DatasetEntry:
        return DatasetEntry(id=name, title=title, shape=shape, classes=10, preprocessing=preprocessing, source=source)

    return [
        entry("fashion-mnist-sample", "Fashion-MNIST sample", (1, 28, 28), "fashion-mnist", f"{zalando}; the first images"),
        entry("fashion-mnist", "Fashion-MNIST", (1, 28, 28), "fashion-mnist", zalando),
        entry("mnist", "MNIST", (1, 28, 28), "mnist", "LeCun, Cortes, Burges 1998"),
        entry("cifar10", "CIFAR-10", (3, 32, 32), "cifar10", "Krizhevsky 2009"),
        DatasetEntry(
            id=TEXT_SAMPLE,
            title="The Devil's Dictionary, as bytes",
            shape=(TEXT_SAMPLE_LENGTH,),
            dtype="int32",
            classes=1 + ord("z"),
            preprocessing="none",
            source="Ambrose Bierce 1911, public domain, from NOTORIETY to QUOTATION; a token's id is its byte, so a "
            "network with another tokenizer finds no words in it",
        ),
    ]


FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def class_names(dataset: str) -> tuple[str, ...] | None:
    """What the classes of a data set are called, in the order of their labels; None where that is not known.

    Args:
        dataset: A catalogued name, or the id of an uploaded data set, whose classes have no names.

    Example:
        >>> class_names("cifar10")[:2], class_names("0" * 64)
        (('airplane', 'automobile'), None)
    """
    known = {
        "fashion-mnist-sample": FASHION_CLASSES,
        "fashion-mnist": FASHION_CLASSES,
        "cifar10": CIFAR10_CLASSES,
        "mnist": tuple(f"digit {digit}" for digit in range(10)),
    }
    return known.get(dataset)


def dataset_entry(name: str) -> DatasetEntry:
    """The catalogued data set of this name.

    Args:
        name: As a request's `data.dataset` gives it.

    Raises:
        NotFound: There is none.

    Example:
        >>> dataset_entry("mnist").preprocessing
        'mnist'
    """
    known = {entry.id: entry for entry in datasets()}
    if name not in known:
        raise NotFound(f"There is no data set {name!r}; choose one of {', '.join(known)}, or give an .npz file.")
    return known[name]


def split_files(name: str, split: str, folder: Path) -> tuple[Path, ...]:
    """The files that hold one split of a catalogued data set.

    Args:
        name: A catalogued data set.
        split: `train` or `test`.
        folder: Where data sets are kept.

    Returns:
        (images, labels) for IDX files, the batches for CIFAR-10, the one file of the sample; empty if they are not here.

    Example:
        >>> split_files("cifar10", "train", Path("nowhere"))
        ()
        >>> len(split_files("fashion-mnist-sample", "test", Path("nowhere")))
        1
    """
    if name in SHIPPED:
        return (TEXT_SAMPLE_FILE if name == TEXT_SAMPLE else SAMPLE_FILE,)
    if name == "cifar10":
        for place in (folder / "cifar-10-batches-bin", folder / "cifar10"):
            files = tuple(place / file for file in CIFAR10_FILES[split])
            if all(file.is_file() for file in files):
                return files
        return ()
    torchvision = folder / {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}[name] / "raw"
    for place in (folder / name, torchvision, *([DEBIAN_FASHION_MNIST] if name == "fashion-mnist" else [])):
        stems = (f"{IDX_STEMS[split]}-images-idx3-ubyte", f"{IDX_STEMS[split]}-labels-idx1-ubyte")
        found = [next((p for p in (place / s, place / f"{s}.gz") if p.is_file()), None) for s in stems]
        if None not in found:
            return tuple(path for path in found if path is not None)
    return ()


def _split_size(name: str, files: tuple[Path, ...]) -> int:
    if name == "cifar10":
        return sum(file.stat().st_size // CIFAR10_RECORD for file in files)
    return idx_shape(files[0])[0]


def facts(name: str, folder: Path) -> DatasetFacts | None:
    """What is known of a catalogued data set on this machine; None if its files are not here.

    Args:
        name: A catalogued name.
        folder: Where data sets are kept.

    Raises:
        NotFound: There is no data set of this name.
        DatasetRejected: Its files are damaged.

    Example:
        >>> found = facts("fashion-mnist-sample", Path("nowhere"))
        >>> found.shape, found.classes
        ((1, 28, 28), 10)
        >>> facts("cifar10", Path("nowhere")) is None
        True
    """
    entry = dataset_entry(name)
    if name in SHIPPED:
        splits = dict(SHIPPED[name])
    else:
        files = {split: split_files(name, split, folder) for split in ("train", "test")}
        splits = {split: _split_size(name, paths) for split, paths in files.items() if paths}
    if not splits:
        return None
    return DatasetFacts(splits=splits, **entry.model_dump())


def available_datasets(folder: Path) -> list[DatasetFacts]:
    """The catalogued data sets that are on this machine: the shipped samples always, the others where their files are.

    A data set whose files are damaged is left out; loading it by name says what is wrong.

    Args:
        folder: Where data sets are kept; it need not exist.

    Example:
        >>> "fashion-mnist-sample" in [found.id for found in available_datasets(Path("nowhere"))]  # it is shipped
        True
    """
    found = []
    for entry in datasets():
        try:
            known = facts(entry.id, folder)
        except DatasetRejected:
            continue
        if known is not None:
            found.append(known)
    return found
