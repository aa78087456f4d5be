# syntax=docker/dockerfile:1
# The server with the shipped student and both of its engines: no torch, no compiler, not root. `docker build --build-arg ONNXRUNTIME=gpu` for CUDA.
FROM python:3.12-slim AS build
ARG ONNXRUNTIME=cpu
WORKDIR /src
RUN python -m venv /opt/disco
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY bundle bundle
COPY server server
COPY train/__init__.py train/__init__.py
COPY export/__init__.py export/__init__.py
COPY loadtest/__init__.py loadtest/__init__.py
COPY students students
RUN /opt/disco/bin/pip install --no-cache-dir --no-compile --constraint constraints.txt ".[${ONNXRUNTIME},server]"
RUN apt-get update && apt-get install --yes --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
COPY native native
RUN /opt/disco/bin/pip install --no-cache-dir --no-compile --constraint constraints.txt ./native

FROM python:3.12-slim
# The first process of a container has to reap what others leave behind, and takes no signal that it does not handle.
RUN apt-get update && apt-get install --yes --no-install-recommends tini && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --no-create-home disco
COPY --from=build /opt/disco /opt/disco
ENV PATH=/opt/disco/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DISCO_HOST=0.0.0.0 \
    DISCO_PORT=8080
USER 10001
EXPOSE 8080
# SIGTERM drains: /ready turns 503, accepted work finishes, then the process exits.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=2s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"DISCO_PORT\"]}/health', timeout=2)"]
ENTRYPOINT ["tini", "--", "python", "-m", "server"]
