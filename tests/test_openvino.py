"""OpenVINO's files are read as data, and only whole."""

import numpy as np
import pytest

from faceflax.models.openvino import Graph

XML = """<?xml version="1.0"?>
<net name="tiny" version="10"><layers>
<layer id="0" name="x" type="Parameter"><data shape="1, 2" element_type="f32"/></layer>
<layer id="1" name="kernel" type="Const"><data element_type="f16" shape="2, 2" offset="0" size="8"/></layer>
<layer id="2" name="product" type="MatMul"/>
<layer id="3" name="bias" type="Const"><data element_type="f32" shape="1, 2" offset="8" size="8"/></layer>
<layer id="4" name="sum" type="Add"/>
</layers><edges>
<edge from-layer="0" from-port="0" to-layer="2" to-port="0"/>
<edge from-layer="1" from-port="0" to-layer="2" to-port="1"/>
<edge from-layer="2" from-port="2" to-layer="4" to-port="0"/>
<edge from-layer="3" from-port="0" to-layer="4" to-port="1"/>
</edges></net>
"""
KERNEL, BIAS = np.array([[1, 2], [3, 4]], "<f2"), np.array([[5, 6]], "<f4")


def read(folder, xml=XML):
    (folder / "net.xml").write_text(xml)
    (folder / "net.bin").write_bytes(KERNEL.tobytes() + BIAS.tobytes())
    return Graph(folder / "net.xml", folder / "net.bin")


def test_constants_are_found_by_name_shape_and_place(tmp_path):
    graph = read(tmp_path)
    np.testing.assert_array_equal(graph.named("kernel"), KERNEL)
    (found,) = graph.shaped(2, 2)
    np.testing.assert_array_equal(found, KERNEL)
    (bias,) = graph.following("kernel", "MatMul", "Add")
    np.testing.assert_array_equal(bias, BIAS)


def test_a_chain_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="0 layers PReLU follow"):
        read(tmp_path).following("kernel", "MatMul", "PReLU")


def test_entities_are_refused(tmp_path):
    bomb = '<!DOCTYPE net [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    with pytest.raises(ValueError, match="entities"):
        read(tmp_path, XML.replace('<net name="tiny"', f'{bomb}<net name="&b;"'))


@pytest.mark.parametrize(
    "change", [('size="8"', 'size="4"'), ('offset="8"', 'offset="9"'), ('offset="8"', 'offset="-8"')]
)
def test_arrays_lie_within_the_file(tmp_path, change):
    with pytest.raises(ValueError, match="does not lie"):
        read(tmp_path, XML.replace(*change))


def test_half_a_description_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not XML"):
        read(tmp_path, XML[: len(XML) // 2])
