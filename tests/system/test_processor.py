"""Processors whose names are alike are told apart."""

import platform

import pytest

from streamspread.system.devices import processor_name

AMD = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 17
model name\t: AMD EPYC
stepping\t: 1
"""
ARM = """processor\t: 0
BogoMIPS\t: 50.00
CPU architecture: 8
CPU part\t: 0xd0c
"""


@pytest.mark.parametrize(
    ("listing", "name"),
    [
        (AMD, "AMD EPYC, family 25, model 17"),
        (AMD * 2, "AMD EPYC, family 25, model 17"),
        ("model name\t: Some Core\n", "Some Core"),
        ("model name\t: \ncpu family\t: 6\n", None),
        (ARM, None),
        ("", None),
    ],
)
def test_the_name_with_family_and_model_or_else_the_architecture(tmp_path, listing, name):
    path = tmp_path / "cpuinfo"
    path.write_text(listing)
    assert processor_name(path) == (name or platform.processor() or platform.machine())
