"""What a weights file says of itself: the ``model_info`` and ``tensors`` of ``/api/show``."""

from typing import Any

from simulator.settings import Line, Script, SimulatedModel
from simulator.tokens import ROLE_MARKS

HEAD_WIDTH = 64


def model_info(model: SimulatedModel, line: Line) -> dict[str, Any]:
    """Key and value as in the file; long lists are null, as without ``verbose``."""
    family = model.family
    info: dict[str, Any] = {
        "general.architecture": family,
        "general.file_type": 1,
        "general.parameter_count": _parameter_count(model.parameter_size),
    }
    if (model.written_by or line) == "H":
        info["general.quantization_version"] = 2
    return info | {
        f"{family}.attention.head_count": model.embedding_length // HEAD_WIDTH,
        f"{family}.attention.head_count_kv": model.kv_width // HEAD_WIDTH,
        f"{family}.attention.layer_norm_rms_epsilon": 1e-05,
        f"{family}.block_count": model.layers,
        f"{family}.context_length": model.trained_context,
        f"{family}.embedding_length": model.embedding_length,
        f"{family}.feed_forward_length": model.feed_forward_length,
        f"{family}.rope.dimension_count": HEAD_WIDTH,
        f"{family}.vocab_size": model.vocabulary_size,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_space_prefix": False,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.scores": None,
        "tokenizer.ggml.token_type": None,
        "tokenizer.ggml.tokens": None,
        "tokenizer.ggml.unknown_token_id": 0,
    }


def scripted_tokens(script: Script) -> dict[str, Any]:
    """The vocabulary of a scripted model, as ``verbose`` shows it: unknown, start and end, bytes, role marks, pieces."""
    pieces = [text for _, text in sorted(script.pieces.items())]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *ROLE_MARKS.values()]
    kinds = [2, 3, 3, *[6] * 256, *[3] * len(ROLE_MARKS), *[4] * len(pieces)]
    return {
        "tokenizer.ggml.scores": [0] * len(kinds),
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.tokens": tokens + pieces,
    }


def tensors(model: SimulatedModel, line: Line) -> list[dict[str, Any]]:
    """Name, type and shape of each tensor in the order of the file: H sorts them within each part as it writes one."""
    wide, narrow, hidden = model.embedding_length, model.kv_width, model.feed_forward_length
    shapes: dict[str, list[int]] = {
        "token_embd.weight": [wide, model.vocabulary_size],
        "output_norm.weight": [wide],
        "output.weight": [wide, model.vocabulary_size],
    }
    block = {
        "attn_norm.weight": [wide],
        "ffn_norm.weight": [wide],
        "attn_q.weight": [wide, wide],
        "attn_k.weight": [wide, narrow],
        "attn_v.weight": [wide, narrow],
        "attn_output.weight": [wide, wide],
        "ffn_gate.weight": [wide, hidden],
        "ffn_up.weight": [wide, hidden],
        "ffn_down.weight": [hidden, wide],
    }
    if (model.written_by or line) == "H":
        shapes, block = dict(sorted(shapes.items())), dict(sorted(block.items()))
    for number in range(model.layers):
        shapes |= {f"blk.{number}.{name}": shape for name, shape in block.items()}
    return [
        {"name": name, "type": "F32" if len(shape) == 1 else _type(model.quantization), "shape": shape}
        for name, shape in shapes.items()
    ]


def _type(quantization: str) -> str:
    """The type of most tensors: ``Q4_K_M`` is a mix of mainly ``Q4_K``."""
    return quantization.removesuffix("_M").removesuffix("_S")


def _parameter_count(size: str) -> int:
    """The number behind "3.2B" or "16.02M"; 0 for anything else."""
    factor = {"B": 1_000_000_000, "M": 1_000_000, "K": 1_000}.get(size[-1:].upper(), 1)
    try:
        return int(float(size.rstrip("BMKbmk")) * factor)
    except ValueError:
        return 0
