# One image for web and workers. It runs as a user without rights, needs no writable file system but /data and /tmp,
# and holds nothing to build with.
#
#   docker compose up                                       see docker-compose.yml
#   docker build --build-arg PIP_ARGS="…" .                 an index of torch builds, say
FROM python:3.11-slim AS build

ARG PIP_ARGS=""
WORKDIR /source
RUN python -m venv /opt/lossatlas
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY landscape_core landscape_core
COPY worker worker
COPY app app
COPY benchmarks benchmarks
COPY cli cli
RUN /opt/lossatlas/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt ${PIP_ARGS} ".[postgres]"

FROM python:3.11-slim

RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin atlas \
    && install --directory --mode 0700 --owner atlas --group atlas /data
COPY --from=build /opt/lossatlas /opt/lossatlas
ENV PATH=/opt/lossatlas/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    LOSSATLAS_DATA=/data
USER 10001:10001
VOLUME /data
EXPOSE 8050
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-I", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8050/api/v1/health', timeout=4)"]
CMD ["lossatlas", "web", "--host", "0.0.0.0", "--port", "8050"]
