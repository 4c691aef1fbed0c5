"""A module of the user's own is scored in the middle of its training, and nobody can tell afterwards."""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from conftest import blobs
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import repdiag
from repdiag.encoders import Preprocessing
from repdiag.errors import DataError, ResourceError, UsageError

GRAY = Preprocessing(8, 8, "bilinear", (0.5,) * 3, (0.25,) * 3, 3, "test")
PIXELS = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
INPUTS = torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(24) % 3


class Net(nn.Module):
    """Batch norm, dropout, a frozen and an eval part, a buffer that forward replaces and one it writes to."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(3, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.drop = nn.Dropout(0.5)
        self.frozen = nn.Conv2d(6, 5, 1).requires_grad_(False)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", torch.zeros(1))
        self.frozen.eval()

    def train(self, mode: bool = True) -> Net:
        super().train(mode)
        self.frozen.eval()
        with torch.no_grad():
            self.conv.weight += 1  # as adapters that merge do; nobody may call this
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.last = x.detach().float().mean().reshape(1)
        return self.drop(self.frozen(self.norm(self.conv(x)).relu())).mean((2, 3))


def loader(**more: Any) -> DataLoader[Any]:
    return DataLoader(TensorDataset(INPUTS, LABELS), batch_size=10, **more)


def everything(net: nn.Module) -> dict[str, Any]:
    """All that a training step depends on, by value and by identity."""
    return {
        "modes": [part.training for part in net.modules()],
        "values": {name: value.clone() for name, value in net.state_dict().items()},
        "same": [id(value) for value in (*net.parameters(), *net.buffers())],
        "gradients": [p.requires_grad for p in net.parameters()],
        "places": [(p.device, p.dtype, p.stride()) for p in net.parameters()],
        "hooks": [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in net.modules()],
        "keys": [sorted(part.__dict__) for part in net.modules()],
        "python": random.getstate(),
        "numpy": str(np.random.get_state()),  # noqa: NPY002
        "torch": torch.get_rng_state(),
    }


def assert_unchanged(net: nn.Module, before: dict[str, Any]) -> None:
    after = everything(net)
    for name in ("values", "torch"):
        torch.testing.assert_close(after.pop(name), before[name], rtol=0, atol=0)
    assert after == {name: before[name] for name in after}


def test_the_check_for_traces_finds_each_kind_of_trace() -> None:
    def touch(change: Callable[[Net], object]) -> None:
        net = Net()
        before = everything(net)
        change(net)
        with pytest.raises(AssertionError):
            assert_unchanged(net, before)

    touch(lambda net: net.norm.eval())
    touch(lambda net: net.norm.running_mean.add_(1))
    touch(lambda net: setattr(net, "last", net.last.clone()))
    touch(lambda net: net.conv.weight.requires_grad_(False))
    touch(lambda net: net.conv.to(memory_format=torch.channels_last))
    touch(lambda net: net.conv.register_forward_hook(lambda *_: None))
    touch(lambda net: torch.rand(1))
    touch(lambda net: random.random())
    touch(lambda net: np.random.rand())  # noqa: NPY002


USES: dict[str, Callable[[nn.Module], object]] = {
    "inputs": lambda net: repdiag.embed(net, loader(shuffle=True)),
    "images": lambda net: repdiag.embed(net, PIXELS, preprocessing=GRAY, views=2),
    "function": lambda net: repdiag.embed(net, PIXELS, preprocessing=to_tensor, views=1),
    "layer": lambda net: repdiag.embed(net, loader(), layer="norm", pool="gem", l2=True),
    "score": lambda net: repdiag.score(
        net, loader(), metrics=["rankme", "knn_accuracy"], draw_map=False, bootstrap=50
    ),
    "failing": lambda net: must_fail(lambda: repdiag.embed(net, torch.zeros(4, 5, 8, 8))),
}


def to_tensor(image: Any) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255


def must_fail(call: Callable[[], object]) -> None:
    with pytest.raises(UsageError):
        call()


@pytest.mark.parametrize("use", list(USES))
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_module_and_all_random_numbers_come_back_as_they_were(use: str, mode: str) -> None:
    net = Net()
    if mode == "eval":
        net.eval()
    before = everything(net)
    USES[use](net)
    assert_unchanged(net, before)


def test_training_steps_around_it_are_bit_equal_to_those_without() -> None:
    def trained(look: bool) -> dict[str, torch.Tensor]:
        net, batches = Net(), loader(shuffle=True, generator=torch.Generator().manual_seed(3))
        optimizer = torch.optim.Adam(net.parameters())
        for _ in range(3):
            for x, _y in batches:
                loss = (net(x) + torch.rand(5)).square().mean()
                if look:  # even with a graph that waits for its backward pass
                    repdiag.embed(net, batches)
                loss.backward()
                optimizer.step()
        return net.state_dict()

    torch.testing.assert_close(trained(True), trained(False), rtol=0, atol=0)


def test_the_embeddings_are_those_of_eval_mode_in_order_with_their_labels() -> None:
    net = Net()
    found = repdiag.embed(net, loader())
    expected = copy.deepcopy(net)
    for part in expected.modules():
        part.training = False
    with torch.no_grad():
        np.testing.assert_allclose(found.features, expected(INPUTS).numpy(), rtol=1e-5, atol=1e-6)
    assert found.features.dtype == np.float32
    assert found.labels is not None
    assert found.labels.tolist() == LABELS.tolist()
    assert found.ids[:2] == ("00", "01")


@contextlib.contextmanager
def surroundings(name: str) -> Iterator[None]:
    if name == "float64":
        torch.set_default_dtype(torch.float64)
    manager: Any = {
        "inference": torch.inference_mode,
        "no_grad": torch.no_grad,
        "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    }.get(name, contextlib.nullcontext)()
    try:
        with manager:
            yield
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", ["inference", "no_grad", "autocast", "float64"])
def test_numbers_do_not_depend_on_the_modes_that_torch_is_in(name: str) -> None:
    net = Net()

    def found() -> tuple[Any, Any]:
        report = repdiag.score(
            net, loader(), metrics=["linear_probe_accuracy", "rankme"], draw_map=False, bootstrap=50
        )
        return report.measurements[0].outcome, report.measurements[1].outcome

    plain = found()
    with surroundings(name):
        assert [o.value for o in found()] == [o.value for o in plain]
        repdiag.embed(net, loader())
    assert torch.get_default_dtype() == torch.float32
    net(INPUTS).sum().backward()  # nothing that it keeps was made in inference mode
    assert net.conv.weight.grad is not None


def test_a_module_built_in_inference_mode_runs_there_and_outside() -> None:
    with torch.inference_mode():
        net = Net()
        inside = repdiag.embed(net, loader())
    before = everything(net)
    np.testing.assert_array_equal(repdiag.embed(net, loader()).features, inside.features)
    assert_unchanged(net, before)


def test_autocast_weights_made_without_gradients_do_not_serve_the_next_training_step() -> None:
    net = Net()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        repdiag.embed(net, loader(), precision="bfloat16")
        net(INPUTS).sum().backward()
    assert net.conv.weight.grad is not None
    assert float(net.conv.weight.grad.abs().sum()) > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_inputs_follow_the_number_format_of_the_weights(dtype: torch.dtype) -> None:
    whole = repdiag.embed(Net(), loader())
    found = repdiag.embed(Net().to(dtype), loader())
    assert found.features.dtype == np.float32
    np.testing.assert_allclose(found.features, whole.features, atol=0.02)


def test_compiled_and_distributed_wrappers_are_looked_through(tmp_path: Any) -> None:
    net = Net()
    plain = repdiag.embed(net, loader()).features
    np.testing.assert_array_equal(repdiag.embed(nn.DataParallel(net), loader()).features, plain)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(net)
        before = everything(wrapped)
        np.testing.assert_array_equal(repdiag.embed(wrapped, loader()).features, plain)
        assert_unchanged(wrapped, before)
    finally:
        torch.distributed.destroy_process_group()


def test_compiled_modules_run_uncompiled() -> None:
    compiled_calls: list[int] = []

    def backend(graph: Any, inputs: Any) -> Any:
        compiled_calls.append(1)
        return graph.forward

    net = Net()
    plain = repdiag.embed(net, loader()).features
    for compiled in (torch.compile(net, backend=backend), nn.Sequential(torch.compile(net, backend=backend))):
        before = everything(compiled)
        np.testing.assert_array_equal(repdiag.embed(compiled, loader()).features, plain)
        assert_unchanged(compiled, before)
    assert compiled_calls == []


def test_a_torchscript_program_is_a_module_too() -> None:
    with pytest.warns(FutureWarning):
        program = torch.jit.trace(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval(), INPUTS[:2])
    program.train()
    found = repdiag.embed(program, loader())
    assert found.dim == 4
    assert all(part.training for part in program.modules())


# ------------------------------------------------------------------------------------------ what modules give


class Gives(nn.Module):
    """A network that answers with `make(x)`."""

    def __init__(self, make: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.make = make

    def forward(self, x: torch.Tensor) -> Any:
        return self.make(x)


def test_maps_are_averaged_and_the_first_token_is_taken() -> None:
    maps = repdiag.embed(Gives(lambda x: x), INPUTS)
    np.testing.assert_allclose(maps.features, INPUTS.mean((2, 3)).numpy(), rtol=1e-5, atol=1e-7)
    tokens = repdiag.embed(Gives(lambda x: x.flatten(2)), INPUTS)
    np.testing.assert_array_equal(tokens.features, INPUTS.flatten(2)[:, 0].numpy())


def test_hugging_face_answers_give_the_last_hidden_state_and_the_pooler_only_without_it() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        image_size=8,
        patch_size=4,
        hidden_size=12,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    vit = transformers.ViTModel(config).train()
    before = everything(vit)
    found = repdiag.embed(vit, INPUTS)
    assert_unchanged(vit, before)
    with torch.no_grad():
        expected = vit.eval()(INPUTS).last_hidden_state[:, 0]
    np.testing.assert_allclose(found.features, expected.numpy(), rtol=1e-4, atol=1e-5)
    pooled = repdiag.embed(vit, INPUTS, output=lambda out: out.pooler_output)
    with torch.no_grad():
        np.testing.assert_allclose(pooled.features, vit(INPUTS).pooler_output.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda x: {"a": x, "b": x}, r"a dict of 'a', 'b'.*output=lambda out: out\['features'\]"),
        (lambda x: (x, x), r"a tuple of 2.*output=lambda out: out\[0\]"),
        (lambda x: None, "a NoneType, not one tensor"),
        (lambda x: x.mean((1, 2, 3)), r"gives \(10,\) float32.*\(B, D\)"),
        (lambda x: x.long(), "int64"),
        (lambda x: x[:3].mean((2, 3)), "3 rows of features for 10 inputs"),
        (lambda x: x @ torch.zeros(3, 1), "cannot take inputs of shape"),
    ],
)
def test_an_answer_that_is_no_features_is_refused_with_the_way_out(make: Any, said: str) -> None:
    with pytest.raises(UsageError, match=f"(?s){said}"):
        repdiag.embed(Gives(make), loader())


def test_output_picks_from_any_answer() -> None:
    found = repdiag.embed(Gives(lambda x: {"z": (x, 1)}), INPUTS, output=lambda out: out["z"][0].mean((2, 3)))
    np.testing.assert_allclose(found.features, INPUTS.mean((2, 3)).numpy(), rtol=1e-5, atol=1e-7)


def test_features_that_change_in_number_or_are_not_finite_are_refused() -> None:
    with pytest.raises(UsageError, match="4 features for samples 20 to 23, but 10 for those before"):
        repdiag.embed(Gives(lambda x: x[:, 0, 0, :1].expand(-1, len(x)).clone()), loader())
    with pytest.raises(DataError, match="NaN or infinity for 10 of 10 samples"):
        repdiag.embed(Gives(lambda x: x.mean((2, 3)) / 0 * 0), loader())


def test_too_little_memory_is_said_in_a_sentence() -> None:
    def fail(x: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(ResourceError, match=r"too small for a batch of 10\. Make the batches smaller"):
        repdiag.embed(Gives(fail), loader())


def test_networks_that_cannot_be_run_alone_are_refused() -> None:
    class FullyShardedDataParallel(nn.Module):
        """Stands for torch's by its name, which is all that is looked at."""

    with pytest.raises(UsageError, match="sharded over processes"):
        repdiag.embed(nn.Sequential(FullyShardedDataParallel()), loader())
    with pytest.raises(UsageError, match="lazy layers"):
        repdiag.embed(nn.LazyConv2d(3, 3), loader())
    with pytest.raises(UsageError, match=r"The model is on cpu, not on meta|There is no device"):
        repdiag.embed(Net(), loader(), device="meta")


# ------------------------------------------------------------------------------------------ preparing images


def test_images_need_a_preprocessing_and_never_get_one_by_guess() -> None:
    for data in (PIXELS, list(map(str, range(3)))):
        with pytest.raises(UsageError, match="Give preprocessing="):
            repdiag.embed(Net(), data)
    stated = Net()
    stated.input_size, stated.mean, stated.std = 8, (0.5,) * 3, (0.25,) * 3
    found = repdiag.embed(stated, PIXELS)
    np.testing.assert_array_equal(found.features, repdiag.embed(Net(), PIXELS, preprocessing=GRAY).features)


def test_a_function_and_the_same_preprocessing_give_the_same_embeddings() -> None:
    def function(image: Any) -> torch.Tensor:
        return (to_tensor(image) - 0.5) / 0.25

    one = repdiag.embed(Net(), PIXELS, preprocessing=GRAY)
    other = repdiag.embed(Net(), PIXELS, preprocessing=function)
    np.testing.assert_allclose(one.features, other.features, rtol=1e-4, atol=1e-5)
    assert one.ids == other.ids
    assert "function" in other.provenance["inputs"]


@pytest.mark.parametrize(
    ("function", "said"),
    [(lambda image: image, "must give floats"), (lambda image: 1 / 0, "failed: ZeroDivisionError")],
)
def test_a_preprocessing_that_does_not_give_inputs_is_refused(function: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        repdiag.embed(Net(), PIXELS, preprocessing=function)


def test_one_layer_is_taken_by_name_and_pool() -> None:
    with pytest.raises(UsageError, match=r"embed_layers or score_layers"):
        repdiag.embed(Net(), loader(), layer="conv,norm")
    found = repdiag.embed(Net(), loader(), layer="conv", pool="flatten")
    with torch.no_grad():
        np.testing.assert_allclose(
            found.features, Net().conv(INPUTS).flatten(1).numpy(), rtol=1e-5, atol=1e-6
        )
    unit = repdiag.embed(Net(), loader(), l2=True, views=1, view_transform=torch.clone)
    np.testing.assert_allclose(np.linalg.norm(unit.features, axis=1), 1, rtol=1e-5)
    assert unit.views is not None
    np.testing.assert_allclose(unit.views.features[0], unit.features, rtol=1e-5)


class Counted(Net):
    """Counts the inputs that pass."""

    passed = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passed += len(x)
        return super().forward(x)


@pytest.mark.parametrize("data", [(INPUTS, LABELS), (PIXELS, LABELS)], ids=["inputs", "images"])
def test_several_layers_are_taken_in_one_pass(data: Any, tmp_path: Any) -> None:
    more: dict[str, Any] = {"preprocessing": GRAY, "views": 0}
    single = {
        name: repdiag.embed(Net(), data, layer=name, **more).features for name in ("conv", "norm", "output")
    }
    net = Counted()
    before = everything(net)
    found = repdiag.embed_layers(net, data, list(single), **more)
    assert net.passed < 2 * len(INPUTS)  # one pass, and a small batch to look at the layers
    net.passed = 0
    assert_unchanged(net, {**before, "keys": everything(net)["keys"]})
    for name, features in single.items():
        np.testing.assert_array_equal(found[name].features, features)
    reports = repdiag.score_layers(
        net, data, ["conv", "norm"], metrics=["rankme"], out=tmp_path, draw_map=False, bootstrap=50, **more
    )
    assert [report.encoder["layer"] for report in reports.values()] == ["conv", "norm"]
    assert "features of norm" in reports["norm"].encoder["summary"]
    assert (tmp_path / "layers.csv").is_file()
    assert (tmp_path / "conv" / "report.json").is_file()


def test_layers_need_a_list_and_a_model() -> None:
    for layers in ("conv", []):
        with pytest.raises(UsageError, match="layers is a list of names"):
            repdiag.embed_layers(Net(), INPUTS, layers)
    with pytest.raises(UsageError, match="layer= need a model"):
        repdiag.score_layers(None, blobs(), ["conv"])
    with pytest.raises(UsageError, match=r"no layer 'cov' \(Net\). Did you mean 'conv'"):
        repdiag.embed_layers(Net(), INPUTS, ["cov"])


def test_a_module_on_embeddings_is_refused() -> None:
    with pytest.raises(UsageError, match="Give None as model"):
        repdiag.embed(Net(), blobs())
