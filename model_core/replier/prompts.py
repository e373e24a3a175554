"""How messages become a prompt: text in, tokens out, and nothing that people wrote steers the model."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from jinja2 import TemplateError

from model_core.pretrained import first_line
from model_core.runner import CheckpointError, InvalidInput


class Prompts:
    """Turns messages into tokens, by the tokenizer's chat template or, where it has none, as "role: content" lines.

    What people wrote is text and nothing else: where it holds a control token of the model ("<|im_end|>"), a space
    breaks it.
    """

    def __init__(self, tokenizer: Any, *, is_encoder_decoder: bool) -> None:
        """Raises `CheckpointError` where the chat template cannot be used."""
        self._tokenizer = tokenizer
        self._templated = bool(tokenizer.chat_template)
        self._ended = is_encoder_decoder  # an encoder's input ends as the tokenizer says; a prompt must go on
        control = _control_tokens(tokenizer)
        self._control = frozenset(control.values())
        self._written = re.compile("|".join(map(re.escape, sorted(control, key=len, reverse=True))) or r"(?!)")
        self._takes_system = True
        try:
            self._takes_system = self._renders("system", "user")
            renders = self._takes_system or self._renders("user")
        except (ValueError, TypeError) as error:
            raise CheckpointError(f"the tokenizer's chat template fails ({first_line(error)}); mend it") from error
        if not renders:
            raise CheckpointError("the tokenizer's chat template takes no message of a user; mend or remove it")

    def encode(self, messages: Sequence[tuple[str, str]]) -> list[int]:
        """The tokens of a prompt. Raises `InvalidInput`."""
        if not messages:
            raise InvalidInput("there are no messages")
        ids = self._ids([(role, self._plain(content)) for role, content in messages])
        # a tokenizer may see a control token where the text has none, as after it normalized the text
        neutral = self._ids([(role, "x" if content else "") for role, content in messages])
        if self._count(ids) != self._count(neutral):
            raise InvalidInput("a message holds what the tokenizer takes for control tokens")
        return ids

    def _plain(self, content: str) -> str:
        while self._written.search(content):
            content = self._written.sub(lambda found: found[0][:1] + " " + found[0][1:], content)
        return content

    def _count(self, ids: Iterable[int]) -> int:
        return sum(number in self._control for number in ids)

    def _ids(self, messages: Sequence[tuple[str, str]]) -> list[int]:
        try:
            text = self._render(messages)
        except TemplateError:  # whose message could hold text
            roles = ", ".join(role for role, _ in messages)
            raise InvalidInput(f"the model's chat template does not take messages in these roles: {roles}") from None
        ids: list[int] = self._tokenizer(text, add_special_tokens=not self._templated)["input_ids"]
        if not self._ended:
            while ids and ids[-1] == self._tokenizer.eos_token_id and not self._templated:
                ids.pop()
        return ids

    def _render(self, messages: Sequence[tuple[str, str]]) -> str:
        if not self._templated:
            # further lines are indented, so that none can pass for what somebody else said
            lines = [f"{role}: {content}".replace("\n", "\n  ") for role, content in messages]
            return "\n".join([*lines, "assistant:"])
        if not self._takes_system:
            messages = _without_system(messages)
        rendered: str = self._tokenizer.apply_chat_template(
            [{"role": role, "content": content} for role, content in messages],
            tokenize=False, add_generation_prompt=True, enable_thinking=False,
        )  # fmt: skip
        return rendered

    def _renders(self, *roles: str) -> bool:
        try:
            self._render([(role, "x") for role in roles])
        except TemplateError:
            return False
        return True


def _control_tokens(tokenizer: Any) -> dict[str, int]:
    """What steers the model when it stands in a prompt: special tokens, and others that look like tags ("<think>").

    The token for what is not known is none: text may hold that.
    """
    control = {
        token.content: number
        for number, token in tokenizer.added_tokens_decoder.items()
        if token.special or re.fullmatch(r"<\S+>", token.content)
    }
    steering = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    return {text: number for text, number in control.items()
            if text and (number != tokenizer.unk_token_id or number in steering)}  # fmt: skip


def _without_system(messages: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """For templates that know no such role: what it says goes before what the user says first."""
    told = "\n\n".join(content for role, content in messages if role == "system")
    rest = [(role, content) for role, content in messages if role != "system"]
    for at, (role, content) in enumerate(rest):
        if told and role == "user":
            rest[at] = role, f"{told}\n\n{content}"
            return rest
    return [("user", told), *rest] if told else rest
