"""Model folders in Hugging Face's layout compute exactly what transformers computes, or are refused with a reason."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from repdiag.encoders import Encoder, load_encoder
from repdiag.errors import CheckpointError, RepdiagError, UnsafeCheckpointError, UsageError
from repdiag.exporting import export

TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 8,
}
CONV: dict[str, Any] = {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "image_size": 32}
TEXT = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 50,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
MAE = {
    "decoder_hidden_size": 16,
    "decoder_num_attention_heads": 2,
    "decoder_num_hidden_layers": 1,
    "decoder_intermediate_size": 16,
}
SWIN: dict[str, Any] = {
    "image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4
}  # fmt: skip

Features = Callable[[Any, torch.Tensor], torch.Tensor]


def pooler(model: Any, x: torch.Tensor) -> torch.Tensor:
    return model(pixel_values=x).pooler_output.flatten(1)


def first(model: Any, x: torch.Tensor) -> torch.Tensor:
    return model(pixel_values=x).last_hidden_state[:, 0]


def average(model: Any, x: torch.Tensor) -> torch.Tensor:
    return model(pixel_values=x).last_hidden_state.mean(1)


def all_patches(model: Any, x: torch.Tensor) -> torch.Tensor:
    """The class token of a masked autoencoder that sees every patch, in order."""
    model.vit.config.mask_ratio = 0.0
    order = torch.arange(16.0).expand(len(x), 16)
    return model.vit(pixel_values=x, noise=order).last_hidden_state[:, 0]


def case(name: str, config: Any, wanted: Features, found: str = "", inner: str = "") -> Any:
    return pytest.param(name, config, wanted, found or name, inner, id=name)


T = transformers
FAMILIES = [
    case("ViTModel", T.ViTConfig(**TINY), pooler),
    case("ViTForImageClassification", T.ViTConfig(**TINY), first, "ViTModel", "vit"),
    case("ViTForMaskedImageModeling", T.ViTConfig(**TINY), first, "ViTModel", "vit"),
    case("ViTMAEForPreTraining", T.ViTMAEConfig(**TINY, **MAE), all_patches, "ViTMAEModel"),
    case("ViTMSNModel", T.ViTMSNConfig(**TINY), first),
    case("DeiTModel", T.DeiTConfig(**TINY), pooler),
    case("Dinov2Model", T.Dinov2Config(**TINY), pooler),
    case("Dinov2ForImageClassification", T.Dinov2Config(**TINY), pooler, "Dinov2Model", "dinov2"),
    case("Dinov2WithRegistersModel", T.Dinov2WithRegistersConfig(**TINY), pooler),
    case("DINOv3ViTModel", T.DINOv3ViTConfig(**TINY, num_register_tokens=2), pooler),
    case("IJepaModel", T.IJepaConfig(**TINY), average),
    case("BeitModel", T.BeitConfig(**TINY, use_relative_position_bias=True), pooler),
    case("Data2VecVisionModel", T.Data2VecVisionConfig(**TINY), first),
    case("SwinForImageClassification", T.SwinConfig(**SWIN), pooler, "SwinModel", "swin"),
    case("ConvNextModel", T.ConvNextConfig(**CONV), pooler),
    case(
        "ConvNextV2ForImageClassification",
        T.ConvNextV2Config(**CONV),
        pooler,
        "ConvNextV2Model",
        "convnextv2",
    ),
    case("ResNetModel", T.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1]), pooler),
    case("CLIPVisionModel", T.CLIPVisionConfig(**TINY), pooler),
    case(
        "CLIPModel",
        T.CLIPConfig(text_config=TEXT, vision_config=TINY, projection_dim=8),
        pooler,
        "CLIPVisionModel",
        "vision_model",
    ),
    case("SiglipVisionModel", T.SiglipVisionConfig(**TINY), pooler),
    case(
        "SiglipModel",
        T.SiglipConfig(text_config=TEXT, vision_config=TINY),
        pooler,
        "SiglipVisionModel",
        "vision_model",
    ),
]


@pytest.fixture(autouse=True, scope="module")
def silent() -> None:
    T.utils.logging.disable_progress_bar()
    T.logging.set_verbosity_error()


def made(name: str, config: Any, seed: int = 0) -> Any:
    """A model whose every tensor is different, so that a mix-up shows."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = getattr(T, name)(config)
    generator = torch.Generator().manual_seed(seed)
    for key, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.rand(tensor.shape, generator=generator) * 0.2
            tensor.copy_(noise + 0.9 if key.endswith("running_var") else tensor + noise - 0.1)
    return model.eval().requires_grad_(False)  # as an encoder is: attention has another path for gradients


def images(size: int = 32, batch: int = 3) -> torch.Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(3))


def run(module: Callable[..., torch.Tensor], *inputs: Any) -> torch.Tensor:
    with torch.inference_mode():
        return module(*inputs)


def edited(folder: Path, changes: dict[str, Any]) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refused(folder: Path, kind: type[RepdiagError], pattern: str) -> None:
    with pytest.raises(kind, match=pattern):
        load_encoder(str(folder))


@pytest.fixture
def vit(tmp_path: Path) -> Path:
    """A classifier's folder: no pooler, a head."""
    folder = tmp_path / "vit"
    made("ViTForImageClassification", T.ViTConfig(**TINY)).save_pretrained(folder)
    return folder


# --------------------------------------------------------------------------------------------- families


@pytest.mark.parametrize(("name", "config", "wanted", "found", "inner"), FAMILIES)
def test_every_family_gives_the_models_own_features(
    name: str, config: Any, wanted: Features, found: str, inner: str, tmp_path: Path
) -> None:
    """Bit-equal, twice the same fingerprint, every tensor of the file accounted for; again after an export."""
    model = made(name, config)
    model.save_pretrained(tmp_path / "m")
    encoder = load_encoder(str(tmp_path / "m"))
    assert encoder.architecture == f"transformers:{found}"
    x = images(encoder.preprocessing.size)
    with torch.inference_mode():
        expected = wanted(model.get_submodule(inner), x)
    assert torch.equal(run(encoder.module, x), expected)
    assert encoder.dim == expected.shape[1]
    assert load_encoder(str(tmp_path / "m")).fingerprint == encoder.fingerprint
    loading, file = encoder.loading, load_file(tmp_path / "m" / "model.safetensors")
    assert loading.loaded + len(loading.dropped) + len(loading.ignored) == len(file)
    assert "is taken" in loading.readings[0]
    assert all("pooler" in name for name in loading.missing)

    done = export(encoder, tmp_path / "a.safetensors")
    again = load_encoder(str(done.path))
    assert not done.flags
    assert torch.equal(run(again.module, x), expected)
    assert again.fingerprint == encoder.fingerprint


def test_names_of_earlier_versions_are_understood(vit: Path) -> None:
    """Published files have them; the installed transformers names its modules otherwise."""
    names = load_file(vit / "model.safetensors").keys()
    assert "vit.encoder.layer.0.attention.attention.query.weight" in names
    encoder = load_encoder(str(vit))
    assert encoder.loading.loaded == len(names) - 2
    assert set(encoder.loading.dropped) == {"classifier.weight", "classifier.bias"}
    assert "no trained pooler" in encoder.loading.readings[0]


def test_the_printed_lines_open_an_export_in_transformers(vit: Path, tmp_path: Path) -> None:
    encoder = load_encoder(str(vit))
    done = export(encoder, tmp_path / "a.safetensors")
    names: dict[str, Any] = {}
    exec("\n".join(done.code).replace("a.safetensors", str(done.path)), names)
    assert torch.equal(run(first, names["net"].eval(), images()), run(encoder.module, images()))


def test_programs_are_made_of_folders_too(vit: Path, tmp_path: Path) -> None:
    for suffix in (".ts", ".pt2"):
        assert export(str(vit), tmp_path / f"a{suffix}").max_relative_difference <= 1e-6


def test_other_sizes_interpolate_the_position_embeddings(tmp_path: Path) -> None:
    """As the model does it itself; and it is said."""
    model = made("ViTModel", T.ViTConfig(**TINY))
    model.save_pretrained(tmp_path / "m")
    encoder = load_encoder(str(tmp_path / "m"), size=48)
    with torch.inference_mode():
        wanted = model(images(48), interpolate_pos_encoding=True).pooler_output
    assert torch.equal(run(encoder.module, images(48)), wanted)
    assert any("from 32 to 48 pixels" in text for text in encoder.loading.readings)


def test_tokens_can_be_pooled_otherwise(tmp_path: Path) -> None:
    """Class and register tokens are no patches."""
    model = made("Dinov2WithRegistersModel", T.Dinov2WithRegistersConfig(**TINY, num_register_tokens=3))
    model.save_pretrained(tmp_path / "m")
    encoder = load_encoder(str(tmp_path / "m"), pool="mean")
    with torch.inference_mode():
        wanted = model(images()).last_hidden_state[:, 4:].mean(1)
    assert torch.equal(run(encoder.module, images()), wanted)


# --------------------------------------------------------------------------------------------- identity


def test_the_config_is_part_of_the_fingerprint(vit: Path) -> None:
    """Equal weights do not compute the same with another activation; labels and number formats change nothing."""
    before = load_encoder(str(vit)).fingerprint
    marks = {before}
    for change in ({"hidden_act": "relu"}, {"layer_norm_eps": 1e-5}, {"num_attention_heads": 4}):
        edited(vit, change)
        marks.add(load_encoder(str(vit)).fingerprint)
    assert len(marks) == 4
    edited(vit, {"hidden_act": "gelu", "layer_norm_eps": 1e-12, "num_attention_heads": 2})
    edited(vit, {"id2label": {"0": "cat"}, "label2id": {"cat": 0}, "dtype": "float16", "_name_or_path": "x"})
    edited(vit, {"transformers_version": "4.0.0", "torch_dtype": "bfloat16", "output_hidden_states": True})
    assert load_encoder(str(vit)).fingerprint == before


def test_half_precision_files_are_computed_in_float32(tmp_path: Path) -> None:
    model = made("Dinov2Model", T.Dinov2Config(**TINY)).half()
    model.save_pretrained(tmp_path / "m")
    encoder = load_encoder(str(tmp_path / "m"))
    assert torch.equal(run(encoder.module, images()), run(pooler, model.float(), images()))
    assert any("float16" in text for text in encoder.loading.readings)


# --------------------------------------------------------------------------------------------- files


def test_shards_and_pickled_weights_are_read(vit: Path) -> None:
    """The same encoder from one safetensors file, three shards, a .bin and two .bin shards."""
    wanted = load_encoder(str(vit)).fingerprint
    state = load_file(vit / "model.safetensors")
    (vit / "model.safetensors").unlink()

    def shards(
        index: str, form: str, count: int, write: Callable[[dict[str, torch.Tensor], Path], Any]
    ) -> None:
        places = {key: form.format(i % count) for i, key in enumerate(state)}
        for shard in set(places.values()):
            write({k: v for k, v in state.items() if places[k] == shard}, vit / shard)
        (vit / index).write_text(json.dumps({"metadata": {}, "weight_map": places}))

    shards("pytorch_model.bin.index.json", "b{}.bin", 2, torch.save)
    assert load_encoder(str(vit)).fingerprint == wanted
    torch.save(state, vit / "pytorch_model.bin")
    assert "torch.save" in load_encoder(str(vit)).loading.container
    assert load_encoder(str(vit)).fingerprint == wanted
    shards("model.safetensors.index.json", "s{}.safetensors", 3, save_file)
    encoder = load_encoder(str(vit))
    assert encoder.fingerprint == wanted
    assert encoder.loading.container == "Hugging Face folder (3 shards of safetensors)"
    assert any("pytorch_model.bin" in text and "was not" in text for text in encoder.loading.readings)

    index = vit / "model.safetensors.index.json"
    good = json.loads(index.read_text())
    index.write_text(json.dumps({"weight_map": {**good["weight_map"], "vit.more.weight": "s0.safetensors"}}))
    refused(vit, CheckpointError, r"lack 1 tensors.*vit\.more\.weight")
    index.write_text(json.dumps({"weight_map": {**good["weight_map"], "x": "../s0.safetensors"}}))
    refused(vit, CheckpointError, "outside of the folder")
    index.write_text(json.dumps(good))
    (vit / "s1.safetensors").unlink()
    refused(vit, CheckpointError, "shard s1.safetensors is missing")


def test_tensors_that_do_not_fit_are_refused(vit: Path) -> None:
    """A hole, a tensor too many, another shape, NaN, integers."""
    path = vit / "model.safetensors"
    state = load_file(path)
    gone = "vit.encoder.layer.1.output.dense.bias"
    extra = {k.replace("layer.1.", "layer.2."): v.clone() for k, v in state.items() if "layer.1." in k}
    name = "vit.layernorm.weight"
    for wrong, pattern in (
        (
            {k: v for k, v in state.items() if k != gone},
            r"ViTModel: the weights lack 1 of its 38 .*layers\.1\.",
        ),
        (state | extra, r"16 more tensors inside the parts of ViTModel"),
        (state | {name: torch.ones(17)}, r"1 tensors do not fit the config\.json: .*layernorm\.weight"),
        (state | {name: torch.full((16,), torch.nan)}, r"vit\.layernorm\.weight holds NaN"),
        ({k: v.to(torch.int8) if v.dim() == 2 else v for k, v in state.items()}, "quantized"),
        ({"model.weight": torch.ones(3)}, "lack 38 of its 38"),
    ):
        save_file(wrong, path)
        refused(vit, CheckpointError, pattern)


def test_folders_that_are_not_whole_are_one_sentence(vit: Path, tmp_path: Path) -> None:
    refused_configs = (
        ("[1]", "holds no JSON object"),
        ("{", "is no JSON"),
        ("{}", "names no model_type"),
        ('{"model_type": "vitt"}', r"model_type 'vitt'.*Did you mean 'vit'"),
        ('{"model_type": "bert"}', r"\(BertModel\) is no image encoder"),
        ('{"model_type": "vit", "hidden_size": "wide"}', "config.json cannot be used"),
    )
    config = vit / "config.json"
    good = config.read_text()
    for text, pattern in refused_configs:
        config.write_text(text)
        refused(vit, CheckpointError, pattern)
    config.write_text(good)
    (vit / "model.safetensors").unlink()
    refused(vit, CheckpointError, r"config\.json but no weights.*model\.safetensors or pytorch_model\.bin")
    with pytest.raises(
        UsageError, match=r"--arch, --key tell about a checkpoint file, but this is a model folder"
    ):
        load_encoder(str(vit), arch="resnet18", key="x")


# --------------------------------------------------------------------------------------------- safety


def test_code_that_comes_with_a_folder_is_never_run(vit: Path, tmp_path: Path) -> None:
    """Neither a modeling file, nor a pickle, nor kernels that the config names."""
    canary = tmp_path / "canary"
    (vit / "evil.py").write_text(f"open({str(canary)!r}, 'w')\nclass Net: ...\n")
    good = (vit / "config.json").read_text()
    edited(vit, {"auto_map": {"AutoModel": "evil.Net", "AutoConfig": "evil.Net"}})
    refused(vit, UnsafeCheckpointError, r"run Python code that comes with the weights \(evil\.Net")
    (vit / "config.json").write_text(good)

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return open, (str(canary), "w")

    wanted = load_encoder(str(vit)).fingerprint
    kernel = {"attn_implementation": "somebody/kernel", "_attn_implementation": "somebody/kernel"}
    edited(vit, {**kernel, "experts_implementation": "somebody/kernel"})
    assert load_encoder(str(vit)).fingerprint == wanted
    (vit / "model.safetensors").unlink()
    (vit / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    refused(vit, CheckpointError, "pickle")
    torch.save({"a": Evil()}, vit / "pytorch_model.bin")
    refused(vit, UnsafeCheckpointError, "nothing was run")
    assert not canary.exists()


def test_quantized_folders_are_refused(vit: Path) -> None:
    edited(vit, {"quantization_config": {"quant_method": "bitsandbytes"}})
    refused(vit, CheckpointError, "weights are quantized")


def test_without_transformers_the_command_is_named(vit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    refused(vit, UsageError, r"transformers must be installed.*pip install 'repdiag\[hf\]'")


def test_a_tampered_export_is_refused(vit: Path, tmp_path: Path) -> None:
    """Its config is read by the same rules as a folder's."""
    done = export(str(vit), tmp_path / "a.safetensors")
    tensors = load_file(done.path)
    said = {"repdiag.architecture": "transformers:ViTModel", "repdiag.preprocessing": "{}"}
    save_file(tensors, done.path, said)
    with pytest.raises(CheckpointError, match="lacks its config"):
        load_encoder(str(done.path))
    how = json.dumps({"size": 32, "mean": [0, 0, 0], "std": [1, 1, 1]})
    config = json.dumps({"model_type": "vit", "auto_map": {"AutoModel": "evil.Net"}})
    save_file(tensors, done.path, said | {"repdiag.preprocessing": how, "repdiag.config": config})
    with pytest.raises(UnsafeCheckpointError, match="asks to run Python code"):
        load_encoder(str(done.path))


# --------------------------------------------------------------------------------------------- preprocessing

PROCESSORS: list[tuple[str, dict[str, Any], tuple[int, int, str]]] = [
    ("ViTImageProcessor", {"size": {"height": 32, "width": 32}}, (32, 32, "bilinear")),
    ("ViTImageProcessor", {"size": {"height": 32, "width": 32}, "do_normalize": False}, (32, 32, "bilinear")),
    ("ViTImageProcessor", {"size": {"height": 32, "width": 32}, "do_rescale": False}, (32, 32, "bilinear")),
    (
        "CLIPImageProcessor",
        {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}},
        (32, 40, "bicubic"),
    ),
    ("BitImageProcessor", {"size": {"shortest_edge": 32}, "crop_size": 32}, (32, 32, "bicubic")),
    ("ConvNextImageProcessor", {"size": {"shortest_edge": 32}, "crop_pct": 0.8}, (32, 40, "bicubic")),
    ("ConvNextImageProcessor", {"size": {"shortest_edge": 384}, "crop_pct": 0.8}, (384, 384, "bicubic")),
    (
        "EfficientNetImageProcessor",
        {"size": {"height": 32, "width": 32}, "rescale_factor": 1 / 127.5, "rescale_offset": True},
        (32, 32, "bicubic"),
    ),
]


@pytest.mark.parametrize(("name", "settings", "wanted"), PROCESSORS)
def test_preprocessing_is_that_of_the_folders_processor(
    name: str, settings: dict[str, Any], wanted: tuple[int, int, str], tmp_path: Path
) -> None:
    """transformers' own processor prepares an image of one color; our size, mean and std give the same numbers."""
    made("ConvNextModel", T.ConvNextConfig(**CONV)).save_pretrained(tmp_path / "m")
    processor = getattr(T, name)(**settings, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.4])
    processor.save_pretrained(tmp_path / "m")
    known = load_encoder(str(tmp_path / "m")).preprocessing
    assert (known.size, known.resize, known.interpolation) == wanted
    assert known.origin == "the folder's preprocessor_config.json"
    color = np.array([200, 30, 120], np.uint8)
    image = Image.fromarray(np.broadcast_to(color, (50, 50, 3)).copy())
    theirs = torch.as_tensor(np.asarray(processor(image, return_tensors="np")["pixel_values"]))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (known.mean, known.std))
    ours = ((torch.tensor(color / 255).float().view(3, 1, 1) - mean) / std).expand(3, known.size, known.size)
    assert theirs.shape == (1, *ours.shape)
    assert float((theirs[0] - ours).abs().max()) <= 2e-5 * float(theirs.abs().max())


def test_what_of_a_processor_is_not_followed_is_said(vit: Path) -> None:
    """Squeezing, other filters, padding; and a missing or senseless file."""
    path = vit / "preprocessor_config.json"

    def loaded(**said: Any) -> Encoder:
        path.write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": 0.5, **said}))
        return load_encoder(str(vit))

    def warned(encoder: Encoder, text: str) -> bool:
        return any(text in warning for warning in encoder.loading.warnings)

    old = loaded(size=32, resample=2)
    assert (old.preprocessing.size, old.preprocessing.std) == (32, (0.5, 0.5, 0.5))
    assert warned(old, "squeezes images that are not square")
    assert warned(loaded(size={"shortest_edge": 32}, resample=1), "Lanczos resampling; bicubic is taken")
    padded = loaded(size={"shortest_edge": 24}, do_center_crop=True, crop_size=32)
    assert padded.preprocessing.resize == 32
    assert warned(padded, "not padded from 24")
    assert not loaded(size={"shortest_edge": 32}, resample=3).loading.warnings
    with pytest.raises(CheckpointError, match="only square inputs"):
        loaded(size={"height": 32, "width": 64})
    with pytest.raises(CheckpointError, match="makes no sense"):
        loaded(size={"longest_edge": 32})
    path.write_text(json.dumps({"size": 32}))
    assert warned(load_encoder(str(vit)), "were assumed")
    path.unlink()
    assert warned(load_encoder(str(vit)), "were assumed")
    assert "no preprocessor_config.json" in load_encoder(str(vit)).preprocessing.origin


# --------------------------------------------------------------------------------------------- timm's folders


def timm_folder(folder: Path, network: nn.Module, config: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


CFG = {"input_size": [3, 64, 64], "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7], "interpolation": "bicubic"}


def test_folders_in_timms_form_are_read_through_timm(tmp_path: Path) -> None:
    """The architecture, its arguments and its preprocessing are the folder's."""
    arguments = {"img_size": 64, "init_values": 0.1}
    network = timm.create_model("test_vit", num_classes=5, **arguments).eval()
    config = {
        "architecture": "test_vit.r160_in1k",
        "model_args": arguments,
        "pretrained_cfg": CFG | {"crop_pct": 0.8},
    }
    folder = timm_folder(tmp_path / "m", network, config)
    encoder = load_encoder(str(folder))
    assert encoder.architecture == "timm:test_vit"
    known = encoder.preprocessing
    assert (known.size, known.resize, known.mean, known.origin) == (
        64,
        80,
        (0.1, 0.2, 0.3),
        "the folder's config.json",
    )
    assert set(encoder.loading.dropped) == {"head.weight", "head.bias"}
    network.reset_classifier(0)
    assert torch.equal(run(encoder.module, images(64)), run(network, images(64)))


def test_timm_folders_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """Arguments of timm that would open or fetch something among them."""
    network = timm.create_model("test_vit", num_classes=5)
    for config, pattern in (
        ({"architecture": "no_such_net"}, "none that the installed timm knows"),
        (
            {"architecture": "test_vit", "model_args": {"checkpoint_path": "x.pt"}},
            "model_args are none of an",
        ),
        ({"architecture": "test_vit", "model_args": {"pretrained": True}}, "model_args are none of an"),
        ({"architecture": "test_vit", "model_args": {"nonsense": 1}}, "timm cannot build test_vit"),
        ({"architecture": "test_vit2"}, r"timm:test_vit2: the folder's weights lack"),
        ({"architecture": "test_vit", "model_args": {"depth": 2}}, "tensors that it has no place for"),
        ({"architecture": "test_vit", "pretrained_cfg": CFG | {"std": [0, 0, 0]}}, "makes no sense"),
    ):
        refused(timm_folder(tmp_path / "m", network, config), CheckpointError, pattern)
