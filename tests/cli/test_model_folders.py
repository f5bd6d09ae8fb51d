"""Folders of models as Hugging Face has them: shards, GPT-2's configuration, and models that transformers builds."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from cli.model_folders import TransformersModel, told_architecture
from landscape_core import formats
from landscape_core.catalogue.data import DatasetFacts
from landscape_core.errors import InvalidRequest
from landscape_core.reading import read_checkpoint
from landscape_core.reading.shards import join_shards
from tests.app.test_tokens import CONTEXT, VOCABULARY, WIDTH, rows
from tests.cli.running import lossatlas
from tests.core.compute.transformer_files import gpt_file

FACTS = DatasetFacts(id="t", title="Text", splits={"train": 9}, shape=(5,), dtype="int32", classes=VOCABULARY)
GPT2 = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": WIDTH, "n_head": 4}


def gpt2_folder(folder: Path, **config: Any) -> Path:
    """A GPT-2 in two shards, with its configuration."""
    folder.mkdir()
    arrays = gpt_file(WIDTH, blocks=1, vocabulary=VOCABULARY, context=CONTEXT, swapped=True)
    placed = {name: f"model-0000{1 + (index % 2)}-of-00002.safetensors" for index, name in enumerate(arrays)}
    for shard in set(placed.values()):
        save_file({n: np.ascontiguousarray(a) for n, a in arrays.items() if placed[n] == shard}, folder / shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))
    (folder / "config.json").write_text(json.dumps(GPT2 | config))
    return folder


def test_a_sharded_gpt2_is_inspected_and_computed_with_the_heads_of_its_configuration(tmp_path):
    folder = gpt2_folder(tmp_path / "mini")
    np.savez(tmp_path / "text.npz", x=rows(20))
    told = lossatlas("inspect", folder)
    assert told.returncode == 0, told.stderr
    assert "up to 6 tokens, vocabulary of 11" in told.stdout
    assert "names and shapes of GPT-2 in transformers with 1 block of width 8" in told.stdout
    words = ("--dataset", tmp_path / "text.npz", "--grid", "-1:1:3", "--curve", "--out", tmp_path / "out.npz")
    done = lossatlas("compute", folder, *words)
    assert done.returncode == 0, done.stderr
    assert formats.load(tmp_path / "out.npz").request.architecture.options == {"heads": 4}


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"n_embd": 256}, "gpt"),
        ({"n_head": 2, "activation_function": "gelu"}, "gpt:gelu=exact,heads=2"),
        ({"n_head": 2, "tie_word_embeddings": False}, "gpt:head=own,heads=2"),
        ({"activation_function": "relu"}, None),
        ({"layer_norm_epsilon": 1e-6}, None),
        ({"scale_attn_by_inverse_layer_idx": True}, None),
        ({"architectures": ["GPT2ForSequenceClassification"]}, None),
        ({"model_type": "llama"}, None),
    ],
)
def test_a_configuration_tells_the_options_of_gpt_or_is_left_to_the_library(config, text, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(GPT2 | config))
    told = told_architecture(tmp_path)
    assert isinstance(told, TransformersModel) if text is None else str(told) == text


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model_type": 3}'])
def test_a_configuration_of_another_program_tells_nothing(text, tmp_path):
    (tmp_path / "config.json").write_text(text)
    assert told_architecture(tmp_path) is None
    assert told_architecture(tmp_path / "absent") is None


def test_without_the_library_a_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    model = told_architecture(tmp_path)
    assert isinstance(model, TransformersModel)
    with pytest.raises(InvalidRequest, match=r"not installed; install it with pip install 'loss-atlas\[transformers\]'\."):
        model.loaded({}, FACTS)


def llama_folder(folder: Path, **config: Any) -> torch.nn.Module:
    """A tiny Llama with random weights, saved by the library in shards; and the model itself."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
    ends = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
    chosen = {"vocab_size": VOCABULARY, "num_key_value_heads": 2, "max_position_embeddings": 8} | sizes | ends | config
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**chosen)).eval()
    model.save_pretrained(folder, max_shard_size="4KB")
    return model


def test_a_model_of_the_library_gives_its_own_loss(tmp_path):
    model = llama_folder(tmp_path / "llama")
    assert (tmp_path / "llama" / "model.safetensors.index.json").is_file()
    np.savez(tmp_path / "text.npz", x=rows(20))
    words = ("--dataset", tmp_path / "text.npz", "--grid", "-1:1:3x-1:1:3", "--out", tmp_path / "out.npz")
    done = lossatlas("compute", tmp_path / "llama", *words)
    assert done.returncode == 0, done.stderr
    ids = torch.from_numpy(rows(20).astype(np.int64))
    with torch.inference_mode():
        expected = float(model(ids, labels=ids).loss)
    surface = formats.load(tmp_path / "out.npz")
    assert surface.loss[1, 1] == pytest.approx(expected, rel=1e-5)
    assert surface.provenance["code"] == "transformers:llama"
    assert surface.request.architecture.name == "transformers:llama"
    assert len(set(surface.loss.ravel().tolist())) == 9


def test_what_the_library_s_model_does_not_take_is_refused(tmp_path):
    llama_folder(tmp_path / "llama")
    model = told_architecture(tmp_path / "llama")
    assert isinstance(model, TransformersModel)
    for facts, says in (
        ({"classes": 12}, "Text has tokens up to the id 11, but llama has a vocabulary of 11"),
        ({"shape": (9,)}, "Text has sequences of 9 tokens, but llama has a context of 8"),
        ({"dtype": "uint8", "shape": (3, 4, 4)}, "llama takes sequences of token ids, which Text does not hold"),
    ):
        with pytest.raises(InvalidRequest, match=says):
            model.loaded({}, FACTS.model_copy(update=facts))
    with pytest.raises(
        InvalidRequest, match=r"does not fit llama's config.json: it lacks lm_head.weight, model.embed_tokens.weight"
    ):
        model.loaded({}, FACTS)
    with pytest.raises(InvalidRequest, match="it has too much: extra"):
        model.loaded({"extra": np.zeros(2, np.float32)}, FACTS)
    config = tmp_path / "llama" / "config.json"
    for change, says in (
        ({"architectures": ["LlamaForQuestionAnswering"]}, "llama is a LlamaForQuestionAnswering; expected a language model"),
        ({"quantization_config": {"quant_method": "gptq"}}, "llama is quantised, which is not read"),
        ({"model_type": "nothing-known", "auto_map": {"AutoConfig": "evil.Config"}}, "transformers cannot read .*config.json"),
    ):
        config.write_text(json.dumps(json.loads(config.read_text()) | change))
        with pytest.raises(InvalidRequest, match=says):
            model.loaded({}, FACTS)
    (tmp_path / "llama" / "evil.py").write_text("raise SystemExit('ran')")


def test_tied_weights_stay_tied(tmp_path):
    model = llama_folder(tmp_path / "llama", tie_word_embeddings=True, dtype="bfloat16")
    told = told_architecture(tmp_path / "llama")
    assert isinstance(told, TransformersModel)
    join_shards(tmp_path / "llama" / "model.safetensors.index.json", tmp_path / "joined.safetensors")
    tensors = read_checkpoint(tmp_path / "joined.safetensors").tensors
    assert "embed_tokens.weight" in tensors  # our reader has taken "model." off every name
    own = told.loaded(tensors, FACTS)
    assert own.model.lm_head.weight is own.model.model.embed_tokens.weight
    assert own.model.lm_head.weight.dtype == torch.float32
    ids = torch.arange(6)[None]
    with torch.inference_mode():
        torch.testing.assert_close(own(ids), model(ids).logits.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="transformers is not installed")
def test_a_classifier_of_images_gives_its_own_logits(tmp_path):
    import transformers

    torch.manual_seed(0)
    sizes = {"hidden_size": 12, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.ViTConfig(image_size=8, patch_size=4, num_channels=3, num_labels=5, **sizes)
    model = transformers.ViTForImageClassification(config).eval()
    model.save_pretrained(tmp_path / "vit")
    told = told_architecture(tmp_path / "vit")
    assert isinstance(told, TransformersModel)
    facts = DatasetFacts(id="i", title="Images", splits={"train": 9}, shape=(3, 8, 8), classes=5)
    tensors = read_checkpoint(tmp_path / "vit" / "model.safetensors").tensors
    images = torch.rand(4, 3, 8, 8)
    with torch.inference_mode():
        torch.testing.assert_close(told.loaded(tensors, facts)(images), model(images).logits)
