"""Models: held to the rules of glTF 2.0 that a viewer relies on, and their numbers to the surface's."""

from __future__ import annotations

import json

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings

from landscape_core.errors import InvalidRequest, SurfaceRejected
from landscape_core.formats import glb
from landscape_core.formats.heights import whole_facets
from landscape_core.results import NOT_FINITE, Surface

from .surfaces import bowl, over, perforated

NAN = np.nan
COMPONENTS = {5123: np.dtype("<u2"), 5125: np.dtype("<u4"), 5126: np.dtype("<f4")}
WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}
POSITION, NORMAL, COLOUR, INDEX = range(4)


class Model:
    """A `.glb`, refused unless it keeps to the sections of the glTF 2.0 specification that are named."""

    def __init__(self, data: bytes) -> None:
        magic, version, length = np.frombuffer(data[:12], "<u4").tolist()  # 4.4.2
        assert (magic.to_bytes(4, "little"), version, length) == (b"glTF", 2, len(data))
        (text, binary), rest = self._chunks(data[12:])
        assert rest == b""
        self.document = json.loads(text)
        (buffer,) = self.document[
            "buffers"
        ]  # 3.6.1.2: the first buffer without a uri is the BIN chunk, padded by up to 3 bytes
        assert set(buffer) == {"byteLength"}
        assert 0 <= len(binary) - buffer["byteLength"] < 4
        assert text.isascii()
        assert self.document["asset"]["version"] == "2.0"
        self.arrays = [self._array(accessor, binary[: buffer["byteLength"]]) for accessor in self.document["accessors"]]
        self._check_graph()
        self._check_attributes()
        self.triangles = self.arrays[INDEX].reshape(-1, 3)

    def _chunks(self, data: bytes) -> tuple[list[bytes], bytes]:
        found = []
        for kind in (b"JSON", b"BIN\0"):  # 4.4.3
            size = int.from_bytes(data[:4], "little")
            assert size % 4 == 0
            assert data[4:8] == kind
            found.append(data[8 : 8 + size])
            assert len(found[-1]) == size
            data = data[8 + size :]
        return found, data

    def _array(self, accessor: dict, binary: bytes) -> np.ndarray:
        view = self.document["bufferViews"][accessor["bufferView"]]
        assert view["buffer"] == 0
        component, width = COMPONENTS[accessor["componentType"]], WIDTHS[accessor["type"]]
        assert accessor["count"] >= 1
        assert view["byteLength"] == accessor["count"] * width * component.itemsize
        assert view["byteOffset"] + view["byteLength"] <= len(binary)
        assert view["byteOffset"] % 4 == 0  # 3.6.2.4: of component and, for vertices, of each element
        array = np.frombuffer(binary, component, accessor["count"] * width, view["byteOffset"]).reshape(-1, width)
        assert (array.itemsize * width) % 4 == 0
        assert np.isfinite(array).all()
        for name, found in (("min", array.min(axis=0)), ("max", array.max(axis=0))):  # 3.6.2.5
            assert accessor.get(name, found.tolist()) == found.tolist()
        return array

    def _check_graph(self) -> None:
        document = self.document
        (scene,), (node,), (mesh,), (material,) = (document[name] for name in ("scenes", "nodes", "meshes", "materials"))
        assert (document["scene"], scene["nodes"], node["mesh"]) == (0, [0], 0)
        (primitive,) = mesh["primitives"]
        assert (primitive["mode"], primitive["material"], primitive["indices"]) == (4, 0, INDEX)
        assert primitive["attributes"] == {"POSITION": POSITION, "NORMAL": NORMAL, "COLOR_0": COLOUR}
        assert material["doubleSided"] is True
        assert set(document) <= {
            "asset", "scene", "scenes", "nodes", "meshes", "materials", "accessors", "bufferViews", "buffers",
        }  # fmt: skip
        self.extras = mesh["extras"]

    def _check_attributes(self) -> None:
        accessors, views = self.document["accessors"], self.document["bufferViews"]
        assert [a["type"] for a in accessors] == ["VEC3", "VEC3", "VEC4", "SCALAR"]
        assert len({a["count"] for a in accessors[:INDEX]}) == 1  # 3.7.2.1
        assert {"min", "max"} <= set(accessors[POSITION])
        assert accessors[COLOUR]["normalized"] is True
        assert [v["target"] for v in views] == [34962, 34962, 34962, 34963]
        starts = [v["byteOffset"] for v in views]
        assert all(a + v["byteLength"] <= b for a, v, b in zip(starts, views, starts[1:], strict=False))
        np.testing.assert_allclose(np.linalg.norm(self.arrays[NORMAL].astype(float), axis=1), 1, atol=1e-6)
        assert accessors[INDEX]["count"] % 3 == 0
        indices = self.arrays[INDEX]
        assert indices.max() == accessors[POSITION]["count"] - 1  # 3.7.2.1: and so below the restart value
        assert set(indices.ravel().tolist()) == set(range(accessors[POSITION]["count"]))

    @property
    def faces(self) -> np.ndarray:
        """(triangles, 3) normals by the winding, as long as twice the area."""
        a, b, c = (self.arrays[POSITION].astype(float)[self.triangles[:, k]] for k in range(3))
        return np.cross(b - a, c - a)


def test_a_plane_lies_where_its_coordinates_say():
    x, y = np.linspace(-2, 2, 5), np.linspace(0, 1, 3)
    surface = over(x.tolist(), y.tolist(), x[None, :] + 4 * y[:, None])
    model = Model(glb.dump(surface))
    position = model.arrays[POSITION]
    assert (position.min(axis=0).tolist(), position.max(axis=0).tolist()) == (
        pytest.approx([-0.5, 0, -0.125]),
        pytest.approx([0.5, 0.66, 0.125]),
    )
    far = position[position[:, 2].argmin()]  # the second direction goes away from the viewer
    assert far[1] >= 0.33
    slope = 0.66 / 8 / 0.25  # of height over either direction: 8 units of loss over 4 of x, 1 of which is 0.25 long
    normal = np.array([-slope, 1, 4 * slope]) / np.linalg.norm([slope, 1, 4 * slope])
    np.testing.assert_allclose(model.arrays[NORMAL], np.broadcast_to(normal, position.shape), atol=1e-6)
    np.testing.assert_allclose(
        model.faces / np.linalg.norm(model.faces, axis=1, keepdims=True), np.broadcast_to(normal, (16, 3)), atol=1e-6
    )


def test_the_extras_bring_back_coordinates_and_losses():
    surface = bowl(7, 5)
    model = Model(glb.dump(surface))
    told, (right, up, near) = model.extras, model.arrays[POSITION].astype(float).T
    x = right / told["per_coordinate"] + told["centre"][0]
    y = -near / told["per_coordinate"] + told["centre"][1]
    loss = up / told["per_height"] + told["lowest"]
    mesh_x, mesh_y = np.meshgrid(surface.x, surface.y)
    np.testing.assert_allclose(np.stack([x, y, loss]), [mesh_x.ravel(), mesh_y.ravel(), surface.loss.ravel()], atol=1e-5)
    assert (told["x"], told["y"]) == (surface.x.tolist(), surface.y.tolist())
    assert told["loss"] == [surface.loss.min(), surface.loss.max()] == [told["lowest"], told["highest"]]
    assert (told["request"], told["height"], told["max_loss"]) == (surface.request.digest, "loss", None)
    assert (told["not_computed"], told["not_finite"]) == (0, 0)


def test_colours_are_viridis_as_linear_light():
    surface = bowl()
    model = Model(glb.dump(surface))
    light = model.arrays[COLOUR] / 65535
    assert (light[:, 3] == 1).all()
    shown = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    share = (surface.loss.ravel() - surface.loss.min()) / np.ptp(surface.loss)
    np.testing.assert_allclose(shown[:, :3], mpl.colormaps["viridis"](share)[:, :3], atol=2 / 255)
    assert shown[share.argmax(), :3] == pytest.approx(mpl.colormaps["viridis"](1.0)[:3], abs=1e-3)


def test_logarithm_and_limit_are_told():
    model = Model(glb.dump(over([0, 1], [0, 1], [[0.5, 3], [20, 1e300]]), log=True, max_loss=10.0))
    assert model.extras["height"] == "ln(loss + 0.1)"
    assert model.extras["max_loss"] == 10
    assert (model.extras["lowest"], model.extras["highest"]) == (pytest.approx(np.log(0.6)), pytest.approx(np.log(10.1)))
    assert model.extras["loss"] == [0.5, 1e300]
    assert model.arrays[POSITION][:, 1].max() == pytest.approx(0.66)
    with pytest.raises(InvalidRequest, match="do without it"):
        glb.dump(over([0, 1], [0, 1], [[-1, 3], [2, 1]]), log=True)


def test_a_hole_takes_its_facets_along_and_a_lonely_cell_has_no_say():
    loss = np.ones((4, 4))
    loss[0, 0], loss[1, 0], loss[0, 1], loss[1, 1] = 1e6, NAN, NAN, 2.0
    surface = over([0, 1, 2, 3], [0, 1, 2, 3], loss)
    surface.state[1, 0] = NOT_FINITE
    model = Model(glb.dump(surface))
    assert len(model.triangles) == 2 * 6
    assert len(model.arrays[POSITION]) == 13
    assert (model.extras["lowest"], model.extras["highest"], model.extras["loss"]) == (1, 2, [1, 1e6])
    assert (model.extras["not_computed"], model.extras["not_finite"]) == (1, 1)


def test_a_constant_surface_is_flat():
    model = Model(glb.dump(over([0, 1], [0, 1], [[3, 3], [3, 3]])))
    assert (model.arrays[POSITION][:, 1] == 0).all()
    assert (model.arrays[NORMAL] == [0, 1, 0]).all()
    assert (model.extras["per_height"], model.extras["lowest"]) == (0, 3)


def test_what_has_no_area_is_refused():
    with pytest.raises(SurfaceRejected, match=r"A .glb needs at least 2 x 2 cells: a curve has no area"):
        glb.dump(bowl(9, None))
    with pytest.raises(SurfaceRejected, match="no finite loss"):
        glb.dump(over([0, 1], [0, 1], [[NAN] * 2] * 2))
    with pytest.raises(SurfaceRejected, match=r"too uneven for a \.glb"):
        glb.dump(over([0, 1e-5, 1], [0, 1], np.ones((2, 3))))


@settings(max_examples=150, deadline=None)
@given(surface=perforated())
def test_any_surface_is_a_valid_model_that_faces_upwards(surface: Surface):
    whole = whole_facets(surface.loss)
    if not whole.any():
        with pytest.raises(SurfaceRejected):
            glb.dump(surface)
        return
    data = glb.dump(surface)
    assert glb.dump(surface) == data
    model = Model(data)
    assert len(model.triangles) == 2 * whole.sum()
    assert (model.faces[:, 1] > 0).all()
    assert (model.arrays[NORMAL][:, 1] >= 0).all()
    assert model.arrays[POSITION].min(axis=0)[1] == 0
