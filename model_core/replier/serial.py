"""The slow twin of `runner`: one request after the other, by the `generate` of transformers.

Tests hold the two against each other, benchmarks say what it is worth to generate for many at once.
"""

import torch

from model_core.replier.loading import LanguageModel
from schemas.inference import GenerateRequest, GenerateResult


@torch.inference_mode()
def generate_one(model: LanguageModel, request: GenerateRequest) -> GenerateResult:
    """The reply to one request, greedy."""
    prompt = torch.tensor([model.prompts.encode(request.messages)], device=model.device)
    written: list[int] = model.model.generate(
        input_ids=prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=request.max_tokens, do_sample=False,
        eos_token_id=sorted(model.ends) or None, pad_token_id=model.pad,
    )[0].tolist()  # fmt: skip
    written = written[1 if model.is_encoder_decoder else prompt.shape[1] :]
    complete = bool(written) and written[-1] in model.ends
    tokens = written[:-1] if complete else written
    return GenerateResult(request.id, model.text(tokens), len(tokens), complete)
