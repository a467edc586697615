"""What text the runner is given for a request: the template run over system, messages and prompt.

Source: ``server/routes.go GenerateHandler``, ``server/prompt.go chatPrompt``, ``template/template.go Execute``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from simulator.template import Template


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation."""

    role: str
    content: str
    thinking: str = ""
    images: int = 0
    calls: tuple[Mapping[str, Any], ...] = ()
    """As a template sees them."""
    tool_name: str = ""

    def values(self) -> dict[str, Any]:
        return {
            "Role": self.role,
            "Content": self.content,
            "Thinking": self.thinking,
            "ToolCalls": list(self.calls),
            "ToolName": self.tool_name,
            "Images": [],
        }


@dataclass(frozen=True, slots=True)
class Think:
    """What a template may know of thinking. ``explicit`` is false where neither client nor server set it."""

    on: bool
    explicit: bool
    level: str = ""

    def values(self) -> dict[str, Any]:
        return {"Think": self.on, "ThinkLevel": self.level, "IsThinkSet": self.explicit}


def rendered_fill_in(template: Template, prompt: str, suffix: str, think: Think) -> str:
    """A prompt with a suffix: the model fills in between."""
    return template.render({"Prompt": prompt, "Suffix": suffix, "Response": "", **think.values()})


def rendered(
    template: Template,
    messages: Sequence[Message],
    think: Think,
    tools: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Run a template over messages, the way its age calls for.

    Templates that range over messages get them all. Older ones know one system, prompt and response: they are run
    once a turn, and the last time only up to the response.

    Raises:
        TemplateError: the template fails.
    """
    system, merged = _merged(messages)
    if "messages" in template.identifiers:
        values = {
            "System": system,
            "Messages": [one.values() for one in merged],
            "Tools": list(tools) or None,
            "Response": "",
        }
        return template.render({**values, **think.values()})
    turns: list[str] = []
    turn = {"System": "", "Prompt": "", "Response": ""}

    def finish() -> None:
        turns.append(template.render({**turn, **think.values()}))
        turn.update(System="", Prompt="", Response="")

    for message in merged:
        match message.role:
            case "system":
                if turn["Prompt"] or turn["Response"]:
                    finish()
                turn["System"] = message.content
            case "user":
                if turn["Response"]:
                    finish()
                turn["Prompt"] = message.content
            case "assistant":
                turn["Response"] = message.content
            case _:
                pass
    turns.append(template.render({**turn, **think.values()}, up_to_response=True))
    return "".join(turns)


def fitting(
    template: Template,
    messages: Sequence[Message],
    think: Think,
    *,
    fits: Callable[[str], bool],
    tools: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The prompt of as many of the latest messages as fit; system messages and the last one always stay."""
    for start in range(len(messages)):
        kept = [message for message in messages[:start] if message.role == "system"] + list(messages[start:])
        text = rendered(template, kept, think, tools)
        if start == len(messages) - 1 or fits(text):
            return text
    return rendered(template, messages, think, tools)


def with_image_marks(messages: Sequence[Message]) -> list[Message]:
    """Put ``[img-N]`` where images are. A model without a projector gets that as text."""
    marked: list[Message] = []
    number = 0
    for message in messages:
        marks = "".join(f"[img-{number + place}]" for place in range(message.images))
        number += message.images
        marked.append(replace(message, content=marks + message.content) if marks else message)
    return marked


def _merged(messages: Sequence[Message]) -> tuple[str, list[Message]]:
    """All system texts, and the messages with consecutive ones of a role made one."""
    merged: list[Message] = []
    for message in messages:
        if merged and merged[-1].role == message.role and message.role != "tool" and not message.calls:
            merged[-1] = replace(merged[-1], content=f"{merged[-1].content}\n\n{message.content}")
        else:
            merged.append(message)
    return "\n\n".join(one.content for one in messages if one.role == "system"), merged
