# SPDX-License-Identifier: Apache-2.0
"""The fused kernel for CPUs: the recurrence, and what happens where it cannot be built."""

import logging
import shutil

import pytest
import torch

from anomalib_fsad.models.vmamba import scan_native
from anomalib_fsad.models.vmamba.scan import scan_plain
from anomalib_fsad.models.vmamba.scan_native import COMPILERS, built_library, native_scan
from anomalib_fsad.models.vmamba.ss2d import SS2D
from anomalib_fsad.models.vmamba.walks import Walks


@pytest.fixture(autouse=True)
def _asked_anew(monkeypatch, tmp_path):
    monkeypatch.setenv("ANOMALIB_FSAD_NATIVE_SCAN", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    native_scan.cache_clear()
    yield
    native_scan.cache_clear()


@pytest.fixture
def kernel():
    if not any(map(shutil.which, COMPILERS)):
        pytest.skip("needs a C++ compiler")
    kernel = native_scan()
    if kernel is None:
        pytest.skip("this compiler builds no kernel")
    return kernel


@pytest.mark.parametrize(
    ("batch", "height", "width", "channels", "states"),
    [(1, 4, 4, 16, 16), (2, 5, 3, 24, 16), (3, 2, 7, 37, 5), (1, 1, 1, 1, 1)],
)
def test_it_is_the_recurrence_along_every_walk(kernel, batch, height, width, channels, states):
    torch.manual_seed(0)
    length = height * width
    u, D, bias = torch.randn(batch, length, channels), torch.randn(4, channels), torch.randn(4, channels)
    delta = torch.randn(batch, 4, length, channels) * 20  # from 0 to what overflows an exponential
    A = -torch.randn(4, channels, states).exp()
    B, C = torch.randn(2, batch, length, 4, states)
    walks = Walks.over(height, width)
    expected = torch.zeros(batch, length, channels, dtype=torch.float64)
    for k, walk in enumerate(walks.positions):
        y = scan_plain(
            *(x.double().transpose(1, 2).unsqueeze(1) for x in (
                u[:, walk], torch.nn.functional.softplus(delta[:, k].double() + bias[k])[:, walk]
            )),
            A[k : k + 1].double(),
            *(x[:, walk, k].double().transpose(1, 2).unsqueeze(1) for x in (B, C)),
        )  # fmt: skip
        expected[:, walk] += y[:, 0].transpose(1, 2) + D[k] * u[:, walk]
    actual = kernel(u, delta, A, B, C, D, bias, walks)
    assert (actual - expected).abs().max() <= 1e-5 * (1 + expected.abs().max())


def test_steps_without_delta_leave_the_state_alone(kernel):
    """A decay of 1 + 1e-7 would have grown the state by half a thousandth."""
    length = 4096
    delta = torch.full((1, 1, length, 16), -60.0)
    delta[:, :, 0] = 1.0
    ones = torch.ones(1, length, 1, 16)
    walks = Walks(torch.arange(length)[None], torch.arange(length)[None])
    u = torch.zeros(1, length, 16)
    u[:, 0] = 1
    A, none = -torch.ones(1, 16, 16), torch.zeros(1, 16)
    y = kernel(u, delta, A, ones, ones, none, none, walks)
    torch.testing.assert_close(y[:, -1], y[:, 0], atol=0, rtol=1e-6)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_layer_gives_the_same_with_it(kernel, monkeypatch, precision):
    del kernel
    torch.manual_seed(0)
    layer, x = SS2D(8).eval(), torch.randn(2, 6, 5, 8)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
        native = layer(x)
        monkeypatch.setenv("ANOMALIB_FSAD_NATIVE_SCAN", "0")
        native_scan.cache_clear()
        eager = layer(x)
    tolerance = 1e-5 if precision == torch.float32 else 2e-2
    assert native.dtype == eager.dtype
    assert (native - eager).abs().max() <= tolerance * (1 + eager.abs().max())


def test_it_keeps_off_where_a_gradient_is_wanted(kernel):
    del kernel
    layer = SS2D(4)
    layer(torch.randn(1, 3, 3, 4)).sum().backward()
    assert layer.A_logs.grad is not None


def test_it_is_built_once(kernel):
    del kernel
    first = built_library().stat().st_mtime_ns
    assert built_library().stat().st_mtime_ns == first
    assert [path.name for path in built_library().parent.iterdir()] == [built_library().name]


def test_nobody_asked(monkeypatch):
    monkeypatch.delenv("ANOMALIB_FSAD_NATIVE_SCAN")
    monkeypatch.setattr(scan_native, "built_library", lambda: pytest.fail("must not be tried"))
    assert native_scan() is None


@pytest.mark.parametrize("compiler", ["missing", "failing"])
def test_a_failure_is_one_line(monkeypatch, tmp_path, caplog, compiler):
    program = tmp_path / compiler
    if compiler == "failing":
        program.write_text("#!/bin/sh\n[ $1 = --version ] && exit 0\necho first >&2\necho no such flag >&2\nexit 1\n")
        program.chmod(0o755)
    monkeypatch.setenv("CXX", str(program))
    with caplog.at_level(logging.WARNING), torch.no_grad():
        assert native_scan() is None
        assert SS2D(4)(torch.zeros(1, 3, 3, 4)).shape == (1, 3, 3, 4)
    (record,) = caplog.records
    assert "ANOMALIB_FSAD_NATIVE_SCAN=1" in record.getMessage()
    assert "\n" not in record.getMessage()
