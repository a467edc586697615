"""Who says an answer: piece by piece in a stream, or all at once at the end."""

from typing import Any

from simulator.failures import Failed
from simulator.http import PLAIN_JSON, Reply
from simulator.runner import LogProb, Piece
from simulator.thinking import ThinkingParser
from simulator.tools import ToolParser
from simulator.wording import Final, ReplyPart, Wording


class ReasoningOver(Exception):
    """The model has reasoned and begins to answer."""

    def __init__(self, thinking: str) -> None:
        super().__init__("reasoning over")
        self.thinking = thinking


class Speaker:
    """Sends pieces as they come, or keeps them for one whole reply."""

    def __init__(
        self,
        wording: Wording,
        reply: Reply,
        parser: ThinkingParser | None,
        *,
        stream: bool,
        calls: ToolParser | None = None,
    ) -> None:
        self._stream = stream
        self._wording = wording
        self._reply = reply
        self._parser = parser
        self._call_parser = calls
        self._calls: list[dict[str, Any]] = []
        self._raw: list[str] = []
        self._response: list[str] = []
        self._thinking: list[str] = []
        self._logprobs: list[LogProb] = []

    @property
    def raw(self) -> str:
        """Everything said, before reasoning was split off."""
        return "".join(self._raw)

    @property
    def splits_reasoning(self) -> bool:
        return self._parser is not None

    def reason(self, piece: Piece) -> None:
        """Say a piece of what comes before an answer.

        Raises:
            ReasoningOver: the answer begins with this piece, of which only the reasoning is said.
        """
        thinking, response = self._split(piece)
        over = bool(response) and bool(thinking or any(self._thinking))
        self._tell(thinking, "" if over else response, piece)
        if over:
            raise ReasoningOver("".join(self._thinking))

    def say(self, piece: Piece) -> None:
        self._tell(*self._split(piece), piece)

    def _split(self, piece: Piece) -> tuple[str, str]:
        self._raw.append(piece.text)
        return self._parser.add(piece.text) if self._parser else ("", piece.text)

    def _tell(self, thinking: str, response: str, piece: Piece) -> None:
        self._thinking.append(thinking)
        calls: list[dict[str, Any]] = []
        if self._call_parser is not None and response:
            response, calls = self._call_parser.add(response)
        self._calls += calls
        if self._stream:
            if self._wording.quiet and not (thinking or response or piece.logprobs or calls):
                return
            if not self._reply.started:
                self._reply.start(200, self._wording.stream_type)
            if thinking or response or piece.logprobs or not calls:
                self._reply.chunk(self._wording.chunk(ReplyPart(response, thinking, piece.logprobs)))
            for call in calls:  # each in a chunk of its own
                self._reply.chunk(self._wording.chunk(ReplyPart("", calls=(call,))))
        else:
            self._response.append(response)
            self._logprobs.extend(piece.logprobs)

    def end(self, final: Final | None) -> None:
        """End well; without ``final`` the answer just stops."""
        if not self._stream:
            said = ReplyPart("".join(self._response), "".join(self._thinking), self._logprobs, self._calls)
            self._reply.send(200, self._wording.whole_type, self._wording.whole(said, final))
            return
        if not self._reply.started:
            self._reply.start(200, self._wording.stream_type)
        if final is not None:
            self._reply.chunk(self._wording.last(final))
        self._reply.finish()

    def fail(self, status: int, text: str) -> None:
        """End with an error: in the stream if it has begun.

        Raises:
            Failed: the reply is not streamed; whoever knows the route words it.
        """
        if self._stream and self._reply.started:
            self._reply.chunk(self._wording.error(text, status) + b"\n")
            self._reply.finish()
            return
        if self._stream:
            self._reply.start(status, PLAIN_JSON)
            self._reply.chunk(self._wording.error(text, status))
            self._reply.finish()
            return
        raise Failed(status, text)

    def cut(self) -> None:
        if not self._reply.started:
            self._reply.start(200, self._wording.stream_type if self._stream else self._wording.whole_type)
        self._reply.break_off()
