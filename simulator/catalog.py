"""Models to try things with: three that look like what people run, and one for embeddings."""

from simulator.settings import SimulatedModel


def demo_models() -> tuple[SimulatedModel, ...]:
    """A small one, a middling one, and one that reasons before it answers."""
    return (
        SimulatedModel(
            "llama3.2:3b",
            size_bytes=2_019_393_189,
            parameter_size="3.2B",
            capabilities=("completion", "tools"),
            load_seconds=2.5,
            tokens_per_second=95.0,
            prompt_tokens_per_second=3_000.0,
        ),
        SimulatedModel(
            "qwen2.5:7b",
            size_bytes=4_683_087_332,
            family="qwen2",
            parameter_size="7.6B",
            embedding_length=3_584,
            kv_width=512,
            trained_context=32_768,
            vocabulary_size=152_064,
            capabilities=("completion", "tools"),
            load_seconds=4.5,
            tokens_per_second=52.0,
            prompt_tokens_per_second=1_800.0,
        ),
        SimulatedModel(
            "deepseek-r1:8b",
            size_bytes=5_225_376_047,
            family="qwen3",
            parameter_size="8.2B",
            layers=36,
            embedding_length=4_096,
            vocabulary_size=151_936,
            thinking="tags",
            load_seconds=5.5,
            tokens_per_second=45.0,
            prompt_tokens_per_second=1_500.0,
        ),
    )


def seeing_model(name: str = "llava:7b") -> SimulatedModel:
    """One that reads images."""
    return SimulatedModel(
        name,
        size_bytes=4_733_363_377,
        parameter_size="7B",
        quantization="Q4_0",
        layers=32,
        embedding_length=4_096,
        trained_context=32_768,
        capabilities=("completion", "vision"),
        load_seconds=4.0,
        tokens_per_second=55.0,
        prompt_tokens_per_second=1_500.0,
    )


def embedding_model(name: str = "nomic-embed-text") -> SimulatedModel:
    """One that makes vectors, and answers nothing."""
    return SimulatedModel(
        name,
        size_bytes=274_302_450,
        family="nomic-bert",
        parameter_size="137M",
        quantization="F16",
        layers=12,
        embedding_length=768,
        feed_forward_length=3_072,
        kv_width=768,
        vocabulary_size=30_522,
        trained_context=2_048,
        untemplated=True,
        capabilities=("embedding",),
        load_seconds=0.6,
        prompt_tokens_per_second=20_000.0,
    )
