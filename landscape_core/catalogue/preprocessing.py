"""The named preprocessings: mean and standard deviation of each channel, in units of pixel values in [0, 1]. No torch."""

from __future__ import annotations

from landscape_core.errors import InvalidRequest
from landscape_core.requests import Standardisation


def preprocessings() -> dict[str, Standardisation | None]:
    """Every named preprocessing; None leaves values as they are.

    Sources: `cifar10-li2018` is data_loader.py of the code of Li et al. 2018; `imagenet` is torchvision's; the others are
    the mean and standard deviation of the training images.

    Example:
        >>> len(preprocessings()["cifar10-li2018"].mean), preprocessings()["none"]
        (3, None)
    """
    thirds = ((125.3 / 255, 123.0 / 255, 113.9 / 255), (63.0 / 255, 62.1 / 255, 66.7 / 255))
    return {
        "none": None,
        "mnist": Standardisation(mean=(0.1307,), std=(0.3081,)),
        "fashion-mnist": Standardisation(mean=(0.2860,), std=(0.3530,)),
        "cifar10": Standardisation(mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616)),
        "cifar10-li2018": Standardisation(mean=thirds[0], std=thirds[1]),
        "imagenet": Standardisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    }


def standardisation(preprocessing: str | Standardisation) -> Standardisation | None:
    """The mean and standard deviation that a request's `data.preprocessing` stands for; None leaves values as they are.

    Args:
        preprocessing: A name, or mean and standard deviation themselves, in units of pixel values in [0, 1].

    Raises:
        InvalidRequest: There is no preprocessing of this name.

    Example:
        >>> standardisation("none") is None, len(standardisation("imagenet").std)
        (True, 3)
    """
    if isinstance(preprocessing, Standardisation):
        return preprocessing
    named = preprocessings()
    if preprocessing not in named:
        raise InvalidRequest(
            f"There is no preprocessing {preprocessing!r}; choose one of {', '.join(named)}, or give mean and std.",
            field="data.preprocessing",
        )
    return named[preprocessing]
