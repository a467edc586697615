"""The prompt templates that simulated models usually have."""

from typing import Final

from simulator.settings import Thinking

DEFAULT: Final = "{{ .Prompt }}"
"""What Ollama uses for a model without a template."""

PLAIN: Final = (
    "{{ if .System }}<|system|>{{ .System }}<|end|>{{ end }}"
    "{{ if .Prompt }}<|user|>{{ .Prompt }}<|end|>{{ end }}<|assistant|>{{ .Response }}"
)

THINKING: Final = (
    "{{- if .System }}<|system|>{{ .System }}<|end|>{{ end }}"
    "{{- range $i, $_ := .Messages }}{{- $last := eq (len (slice $.Messages $i)) 1 }}"
    '{{- if eq .Role "user" }}<|user|>{{ .Content }}<|end|>'
    '{{- else if eq .Role "assistant" }}<|assistant|>'
    "{{- if and $.IsThinkSet .Thinking }}<think>\n{{ .Thinking }}\n</think>\n\n{{ end }}{{ .Content }}<|end|>{{- end }}"
    '{{- if and $last (ne .Role "assistant") }}<|assistant|>'
    "{{- if and $.IsThinkSet (not $.Think) }}<think>\n\n</think>\n\n{{ end }}{{- end }}{{- end }}"
)


def usual_template(thinking: Thinking) -> str:
    """The template of a model that was given none."""
    return THINKING if thinking == "tags" else PLAIN
