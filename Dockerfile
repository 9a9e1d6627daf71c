# The image of gateway and worker: the base install, without torch or vLLM.
#   build:   docker build -t tastestream .
#   gateway: docker run -p 127.0.0.1:8000:8000 -v ./keys:/keys:ro -e TASTESTREAM_API_KEYS_FILE=/keys \
#              -e TASTESTREAM_REDIS_URL=... -e TASTESTREAM_RANKER__URL=... tastestream gateway
#            The gateway listens on all addresses and does not start without API keys, unless it is run as
#            `gateway --insecure`, for closed networks.
#   worker:  docker run -e TASTESTREAM_REDIS_URL=... -e TASTESTREAM_SUMMARIZER__URL=... tastestream worker
# It runs with a read-only root (docker run --read-only --tmpfs /tmp); only /data, for pictures, is written.
# BASE may be any image with Python 3.11 and its venv module.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
COPY deploy/locks/base.txt deploy/locks/build.txt deploy/locks/
RUN python3 -m venv /opt/tastestream \
    && /opt/tastestream/bin/pip install --no-cache-dir --no-deps --require-hashes -r deploy/locks/base.txt \
    && python3 -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --no-deps --require-hashes -r deploy/locks/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY deploy/licences.py deploy/licences.toml deploy/sbom.py deploy/
COPY model_store model_store
COPY service service
COPY workers workers
# Built with the pinned build tools; pip would fetch others without a hash. At runtime nothing needs pip.
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /opt/dist . \
    && /opt/tastestream/bin/pip install --no-cache-dir --no-deps --no-index /opt/dist/*.whl \
    && /opt/tastestream/bin/python deploy/sbom.py base > /opt/tastestream/sbom.cdx.json \
    && /opt/tastestream/bin/pip uninstall --yes setuptools pip

FROM ${BASE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="tastestream" \
      org.opencontainers.image.description="Gateway and worker of an online recommender with a multimodal LLM" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /opt/tastestream /opt/tastestream
COPY deploy/healthcheck.py /opt/healthcheck.py
ENV PATH=/opt/tastestream/bin:$PATH PYTHONUNBUFFERED=1 HOME=/data \
    TASTESTREAM_HOST=0.0.0.0 TASTESTREAM_DATA_DIR=/data \
    TASTESTREAM_WORKER__METRICS_HOST=0.0.0.0 TASTESTREAM_WORKER__METRICS_PORT=9100
# --no-log-init: without it a large user id would fill a sparse log file.
RUN useradd --no-log-init --uid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin tastestream \
    && install --directory --owner=10001 --group=10001 /data
VOLUME /data
WORKDIR /data
USER 10001:10001
EXPOSE 8000 9100
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python3", "/opt/healthcheck.py"]
ENTRYPOINT ["tastestream"]
CMD ["gateway"]
