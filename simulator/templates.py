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


TOOLS: Final = (
    "{{- if or .System .Tools }}<|system|>{{ .System }}"
    "{{ if .Tools }}Tools: {{ range .Tools }}{{ .Function }}{{ end }}{{ end }}<|end|>{{ end }}"
    '{{- range .Messages }}{{- if eq .Role "user" }}<|user|>{{ .Content }}<|end|>'
    '{{- else if eq .Role "assistant" }}<|assistant|>{{ .Content }}{{ if .ToolCalls }}{{ range .ToolCalls }}'
    '<tool_call>{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}} </tool_call>'
    "{{ end }}{{ end }}<|end|>"
    '{{- else if eq .Role "tool" }}<|user|>tool: {{ .Content }}<|end|>{{- end }}{{- end }}<|assistant|>'
)
"""Its first text behind ``.ToolCalls`` is the tag by which a server finds a call."""


def usual_template(thinking: Thinking, *, tools: bool = False) -> str:
    """The template of a model that was given none."""
    if thinking == "tags":
        return THINKING
    return TOOLS if tools else PLAIN
