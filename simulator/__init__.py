"""A simulated Ollama host: the same words, the same errors, the same waits as a real one, from scripted data.

>>> with running(HostSettings("gpu-1", demo_models(), time_scale=0)) as (host,):  # doctest: +SKIP
...     requests.post(f"{host.url}/api/generate", json={"model": "llama3.2:3b", "prompt": "Hi"})
"""

from simulator.catalog import demo_models, embedding_model, seeing_model
from simulator.faults import Fault
from simulator.fleet import RunningHost, running
from simulator.settings import HostSettings, Line, Script, SimulatedModel

__all__ = [
    "Fault",
    "HostSettings",
    "Line",
    "RunningHost",
    "Script",
    "SimulatedModel",
    "demo_models",
    "embedding_model",
    "running",
    "seeing_model",
]
