"""The families of architectures that there are, in the order in which a file is tried. A new one is added to `FAMILIES`."""

from landscape_core.catalogue.families.convnets import Convnets
from landscape_core.catalogue.families.densenets import DenseNets
from landscape_core.catalogue.families.four_stage_resnets import FourStageResNets
from landscape_core.catalogue.families.gpts import Gpts
from landscape_core.catalogue.families.perceptrons import Perceptrons
from landscape_core.catalogue.families.three_stage_resnets import ThreeStageResNets
from landscape_core.catalogue.families.uva_resnets import UvaResNets
from landscape_core.catalogue.families.vgg import Vgg
from landscape_core.catalogue.families.vits import Vits
from landscape_core.catalogue.family import Family

__all__ = ["FAMILIES"]

FAMILIES: tuple[Family, ...] = (
    *(ThreeStageResNets(), FourStageResNets(), Vgg(), DenseNets(), UvaResNets(), Gpts(), Vits()),
    *(Convnets(), Perceptrons()),
)
