# syntax=docker/dockerfile:1
# The Faust agents and the commands that need no model: no torch in this image.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/footfall
ENV PATH=/opt/footfall/bin:$PATH
COPY . .
RUN --mount=type=cache,target=/root/.cache/pip pip install -c constraints.txt '.[agents]'

FROM python:3.11-slim-bookworm
COPY --from=build /opt/footfall /opt/footfall
# the root file system may be read-only: what is written goes below /tmp
ENV PATH=/opt/footfall/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 FOOTFALL_HOME=/tmp/footfall
WORKDIR /tmp
USER 10001:10001
ENTRYPOINT ["python", "-m", "agents"]
CMD ["recommend"]
